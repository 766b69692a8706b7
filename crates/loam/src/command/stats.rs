//! `loam stats`.

use std::io::IsTerminal;
use std::thread;
use std::time::{Duration, Instant};

use clap::Args;
use loam_engine::{ContainerSummary, Engine};
use loam_model::{ErrorKind, Failure, Pressure, Stats as Figures};
use serde::Serialize;

use super::{FormatFlag, Outcome};
use crate::exit::Exit;
use crate::table::Table;
use crate::wiring::Wiring;
use crate::{human, output};

/// How often the table is shown anew.
const PERIOD: Duration = Duration::from_secs(1);

/// Over how long the processor's use is measured for a table that is shown once.
const SAMPLE: Duration = Duration::from_millis(250);

/// Goes to the top left of the terminal, and clears from there on.
const HOME: &str = "\u{1b}[H\u{1b}[J";

/// The flags of `stats`.
#[derive(Args, Debug)]
pub(crate) struct Stats {
    /// Show the table once
    #[arg(long)]
    no_stream: bool,
    /// Print ids in full
    #[arg(long)]
    no_trunc: bool,
    #[command(flatten)]
    format: FormatFlag,
    /// Names or ids; all that run when there are none
    #[arg(value_name = "CONTAINER")]
    containers: Vec<String>,
}

/// The figures of one container.
#[derive(Debug, Serialize)]
struct Line {
    id: String,
    name: String,
    /// Use of processors, in hundredths of one, since the look before.
    cpu_percent: Option<f64>,
    #[serde(flatten)]
    figures: Figures,
}

/// A look at all containers.
struct Look {
    time: Instant,
    lines: Vec<Line>,
}

impl Stats {
    pub(super) fn run(self, wiring: &Wiring) -> Outcome {
        let engine = wiring.engine()?;
        // One that was named and does not run is a mistake; one that ends later is not.
        for name in &self.containers {
            engine.stats(name)?;
        }
        let mut before = look(engine, &self.containers)?;
        thread::sleep(SAMPLE);
        loop {
            let mut now = look(engine, &self.containers)?;
            measure(&before, &mut now);
            self.show(&now.lines)?;
            if self.no_stream {
                return Ok(Exit::SUCCESS);
            }
            before = now;
            thread::sleep(PERIOD);
        }
    }

    fn show(&self, lines: &[Line]) -> Result<(), Failure> {
        if self.format.is_json() {
            return output::print_json(&lines);
        }
        let home = if !self.no_stream && std::io::stdout().is_terminal() { HOME } else { "" };
        output::print(&format!("{home}{}", table(lines, self.no_trunc)))
    }
}

/// Looks at the named containers, or at all that run. One that ends meanwhile is left out.
fn look(engine: &Engine, names: &[String]) -> Result<Look, Failure> {
    let running = engine.list(false)?;
    let wanted: Vec<ContainerSummary> = match names.is_empty() {
        true => running,
        false => {
            let ids = names.iter().map(|name| engine.resolve(name)).collect::<Result<Vec<_>, _>>()?;
            running.into_iter().filter(|container| ids.contains(&container.id)).collect()
        }
    };
    let mut look = Look { time: Instant::now(), lines: Vec::new() };
    for container in wanted {
        match engine.stats(container.id.as_str()) {
            Ok(figures) => look.lines.push(Line {
                id: container.id.to_string(),
                name: container.name.to_string(),
                cpu_percent: None,
                figures,
            }),
            Err(failure) if matches!(failure.kind(), ErrorKind::Conflict | ErrorKind::NotFound) => {}
            Err(failure) => return Err(failure),
        }
    }
    Ok(look)
}

/// Works out the processor's use between two looks.
fn measure(before: &Look, now: &mut Look) {
    let elapsed = now.time.duration_since(before.time).as_secs_f64();
    for line in &mut now.lines {
        let earlier = before.lines.iter().find(|other| other.id == line.id);
        line.cpu_percent = earlier.map(|earlier| {
            let used = line.figures.cpu_usage_ns.saturating_sub(earlier.figures.cpu_usage_ns);
            percent(Duration::from_nanos(used).as_secs_f64(), elapsed)
        });
    }
}

fn percent(part: f64, whole: f64) -> f64 {
    if whole > 0.0 { part / whole * 100.0 } else { 0.0 }
}

/// The table. Where the kernel counts the time lost waiting, the last column has its share of the last ten seconds.
fn table(lines: &[Line], full: bool) -> String {
    let mut headings = vec![
        "CONTAINER ID",
        "NAME",
        "CPU %",
        "MEMORY",
        "LIMIT",
        "NETWORK IN / OUT",
        "DISK",
        "LIMIT",
        "DISK READ / WRITE",
        "PROCESSES",
    ];
    let counts = lines.iter().any(|line| line.figures.cpu_pressure.is_some());
    if counts {
        headings.push("WAITED % CPU / MEMORY / DISK");
    }
    let mut table = Table::new(&headings);
    for line in lines {
        let figures = &line.figures;
        let mut row = vec![
            if full { line.id.clone() } else { line.id.chars().take(12).collect() },
            line.name.clone(),
            line.cpu_percent.map_or_else(|| "-".to_owned(), |percent| format!("{percent:.2}")),
            human::bytes(figures.memory_usage),
            figures.memory_limit.map_or_else(|| "none".to_owned(), human::bytes),
            pair(figures.network_received, figures.network_sent),
            figures.disk_used.map_or_else(|| "-".to_owned(), human::bytes),
            figures.disk_limit.map_or_else(|| "none".to_owned(), human::bytes),
            pair(figures.block_read, figures.block_write),
            match figures.pids_limit {
                Some(limit) => format!("{} of {limit}", figures.pids),
                None => figures.pids.to_string(),
            },
        ];
        if counts {
            row.push(waited(figures));
        }
        table.row(row);
    }
    table.render()
}

fn waited(figures: &Figures) -> String {
    let share = |pressure: &Option<Pressure>| match pressure {
        Some(pressure) => format!("{:.2}", pressure.some.avg10),
        None => "-".to_owned(),
    };
    let pressures = [&figures.cpu_pressure, &figures.memory_pressure, &figures.io_pressure];
    pressures.map(share).join(" / ")
}

fn pair(one: Option<u64>, two: Option<u64>) -> String {
    match (one, two) {
        (Some(one), Some(two)) => format!("{} / {}", human::bytes(one), human::bytes(two)),
        _ => "-".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn use_is_measured_between_two_looks() {
        let line = |cpu_usage_ns| Line {
            id: "1".repeat(64),
            name: "web".to_owned(),
            cpu_percent: None,
            figures: Figures {
                cpu_usage_ns,
                memory_usage: 5 << 20,
                memory_limit: Some(64 << 20),
                pids: 3,
                pids_limit: Some(4096),
                network_received: Some(2048),
                network_sent: Some(0),
                disk_used: Some(3 << 20),
                disk_limit: Some(1 << 30),
                ..Figures::default()
            },
        };
        let time = Instant::now();
        let before = Look { time, lines: vec![line(1_000_000_000)] };
        let mut now = Look { time: time + Duration::from_secs(2), lines: vec![line(2_000_000_000)] };
        measure(&before, &mut now);
        insta::assert_snapshot!(table(&now.lines, false), @r"
        CONTAINER ID  NAME  CPU %  MEMORY   LIMIT     NETWORK IN / OUT  DISK     LIMIT    DISK READ / WRITE  PROCESSES
        111111111111  web   50.00  5.0 MiB  64.0 MiB  2.0 KiB / 0 B     3.0 MiB  1.0 GiB  -                  3 of 4096
        ");
        now.lines[0].figures.cpu_pressure = Some(Pressure::default());
        assert!(
            table(&now.lines, false).lines().next().is_some_and(|line| line.ends_with("CPU / MEMORY / DISK"))
        );
        assert!(table(&now.lines, false).trim_end().ends_with("0.00 / - / -"));
    }
}
