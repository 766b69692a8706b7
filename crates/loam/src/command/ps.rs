//! `loam ps`.

mod ports;

use clap::Args;
use jiff::Timestamp;
use loam_engine::{ContainerState, ContainerSummary, Engine, signal_name};
use loam_model::{Digest, ErrorKind, ExitStatus, Failure};

use super::{FormatFlag, Outcome};
use crate::exit::Exit;
use crate::flags::Filter;
use crate::table::{Table, cut};
use crate::wiring::Wiring;
use crate::{human, output};
use ports::ports;

/// The flags of `ps`.
#[derive(Args, Debug)]
pub(crate) struct Ps {
    /// List those that do not run, too
    #[arg(short, long)]
    all: bool,
    /// List the COUNT newest, also those that do not run
    #[arg(short = 'n', long, value_name = "COUNT", conflicts_with = "latest", allow_negative_numbers = true)]
    last: Option<usize>,
    /// List the newest, also when it does not run
    #[arg(short, long)]
    latest: bool,
    /// Print ids only
    #[arg(short, long)]
    quiet: bool,
    /// Print ids and commands in full
    #[arg(long)]
    no_trunc: bool,
    /// Only those with name=TEXT, id=DIGITS, label=KEY[=VALUE], status=STATE or ancestor=IMAGE
    #[arg(short, long = "filter", value_name = "KEY=VALUE")]
    filters: Vec<Filter>,
    #[command(flatten)]
    format: FormatFlag,
}

impl Ps {
    pub(super) fn run(mut self, wiring: &Wiring) -> Outcome {
        let last = self.last.or(self.latest.then_some(1));
        let all = self.all || last.is_some() || self.filters.iter().any(Filter::wants_stopped);
        let engine = wiring.engine()?;
        for filter in &mut self.filters {
            filter.look_up(|name| image_id(engine, name))?;
        }
        let mut containers = engine.list(all)?;
        containers.retain(|container| self.filters.iter().all(|filter| filter.accepts(container)));
        containers.truncate(last.unwrap_or(usize::MAX));
        if self.format.is_json() {
            output::print_json(&containers)?;
        } else if self.quiet {
            let line = |container: &ContainerSummary| id(container, self.no_trunc) + "\n";
            output::print(&containers.iter().map(line).collect::<String>())?;
        } else {
            output::print(&table(&containers, Timestamp::now(), self.no_trunc))?;
        }
        Ok(Exit::SUCCESS)
    }
}

/// The image that a name stands for. Containers outlive the names of their images, and name places, too.
fn image_id(engine: &Engine, name: &str) -> Result<Option<Digest>, Failure> {
    match engine.images().resolve(name) {
        Ok(image) => Ok(Some(image.id)),
        Err(failure) if matches!(failure.kind(), ErrorKind::NotFound | ErrorKind::Invalid) => Ok(None),
        Err(failure) => Err(failure),
    }
}

fn id(container: &ContainerSummary, full: bool) -> String {
    if full { container.id.to_string() } else { container.id.short().to_owned() }
}

fn table(containers: &[ContainerSummary], now: Timestamp, full: bool) -> String {
    let mut table = Table::new(&["CONTAINER ID", "IMAGE", "COMMAND", "CREATED", "STATUS", "PORTS", "NAME"]);
    for container in containers {
        let command = container.command.join(" ");
        table.row([
            id(container, full),
            container.image.clone(),
            if full { command } else { cut(&command, 24) },
            human::ago(&container.created, now),
            status(container, now),
            ports(&container.ports),
            container.name.to_string(),
        ]);
    }
    table.render()
}

/// How a container is, in words.
fn status(container: &ContainerSummary, now: Timestamp) -> String {
    let length = |time: &Option<String>| {
        let length = time.as_deref().and_then(|time| human::since(time, now));
        length.map_or_else(|| "unknown".to_owned(), human::duration)
    };
    match container.state {
        ContainerState::Running => format!("up {}", length(&container.started)),
        ContainerState::Paused => format!("up {} (paused)", length(&container.started)),
        ContainerState::Stopped => {
            let how = container.exit.as_ref().map_or_else(
                || "stopped".to_owned(),
                |record| match record.status {
                    ExitStatus::Exited(code) if record.out_of_memory && code != 0 => {
                        format!("exited ({code}, out of memory)")
                    }
                    ExitStatus::Exited(code) => format!("exited ({code})"),
                    ExitStatus::Signaled(9) if record.out_of_memory => "killed (out of memory)".to_owned(),
                    ExitStatus::Signaled(signal) => {
                        let name = signal_name(signal).unwrap_or_else(|| format!("signal {signal}"));
                        format!("killed ({name})")
                    }
                },
            );
            format!("{how} {} ago", length(&container.finished))
        }
        state => state.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use loam_model::{ExitRecord, NetworkMode, PortMapping, Protocol};

    use super::*;

    fn container(digit: &str, name: &str, state: ContainerState) -> ContainerSummary {
        ContainerSummary {
            id: digit.repeat(64).parse().expect("an id"),
            name: name.parse().expect("a name"),
            image: "debian".to_owned(),
            image_id: format!("sha256:{}", "0".repeat(64)).parse().expect("a digest"),
            command: vec!["sh".to_owned(), "-c".to_owned(), "echo \u{1b}[2J; sleep 1000; true".to_owned()],
            state,
            created: "2026-01-31T11:00:00Z".to_owned(),
            started: Some("2026-01-31T11:57:00Z".to_owned()),
            finished: None,
            exit: None,
            failure: None,
            pid: None,
            network: NetworkMode::None,
            interfaces: Vec::new(),
            ports: Vec::new(),
            labels: [("tier".to_owned(), "web".to_owned())].into(),
        }
    }

    fn ended(mut container: ContainerSummary, status: ExitStatus, out_of_memory: bool) -> ContainerSummary {
        let finished_at = "2026-01-31T11:59:00Z".to_owned();
        container.finished = Some(finished_at.clone());
        container.exit = Some(ExitRecord { status, out_of_memory, finished_at });
        container
    }

    fn examples() -> Vec<ContainerSummary> {
        let port = |host_address: Option<&str>, host_port, container_port, protocol| PortMapping {
            host_address: host_address.map(|address| address.parse().expect("an address")),
            host_port,
            container_port,
            protocol,
        };
        let mut web = container("1", "web", ContainerState::Running);
        web.ports = vec![
            port(None, 8080, 80, Protocol::Tcp),
            port(Some("::1"), 5353, 53, Protocol::Udp),
            port(None, 0, 1, Protocol::Tcp),
        ];
        vec![
            web,
            container("2", "still", ContainerState::Paused),
            container("3", "new", ContainerState::Created),
            ended(container("4", "done", ContainerState::Stopped), ExitStatus::Exited(3), false),
            ended(container("5", "shot", ContainerState::Stopped), ExitStatus::Signaled(15), false),
            ended(container("6", "fat", ContainerState::Stopped), ExitStatus::Signaled(9), true),
        ]
    }

    #[test]
    fn the_table_says_how_containers_are() {
        let now = "2026-01-31T12:00:00Z".parse().expect("a time");
        insta::assert_snapshot!(table(&examples(), now, false), @r"
        CONTAINER ID  IMAGE   COMMAND                        CREATED     STATUS                               PORTS                                       NAME
        111111111111  debian  sh -c echo \u{1b}[2J; sleep …  1 hour ago  up 3 minutes                         8080->80/tcp, [::1]:5353->53/udp, ?->1/tcp  web
        222222222222  debian  sh -c echo \u{1b}[2J; sleep …  1 hour ago  up 3 minutes (paused)                                                            still
        333333333333  debian  sh -c echo \u{1b}[2J; sleep …  1 hour ago  created                                                                          new
        444444444444  debian  sh -c echo \u{1b}[2J; sleep …  1 hour ago  exited (3) 1 minute ago                                                          done
        555555555555  debian  sh -c echo \u{1b}[2J; sleep …  1 hour ago  killed (SIGTERM) 1 minute ago                                                    shot
        666666666666  debian  sh -c echo \u{1b}[2J; sleep …  1 hour ago  killed (out of memory) 1 minute ago                                              fat
        ");
    }

    #[test]
    fn filters_choose() {
        for (filter, names) in [
            ("name=e", &["web", "new", "done"][..]),
            ("id=44", &["done"]),
            ("status=paused", &["still"]),
            ("status=exited", &["done", "shot", "fat"]),
            ("label=tier=db", &[]),
            ("label=tier", &["web", "still", "new", "done", "shot", "fat"]),
            ("ancestor=debian", &["web", "still", "new", "done", "shot", "fat"]),
        ] {
            let filter: Filter = filter.parse().expect("a filter");
            let found: Vec<_> =
                examples().into_iter().filter(|container| filter.accepts(container)).collect();
            let found: Vec<_> = found.iter().map(|container| container.name.as_str()).collect();
            assert_eq!(found, names, "{filter:?}");
        }
    }
}
