//! The flags of `run` and `create`, and the wish that they make.

use std::env;
use std::path::{Path, PathBuf};

use clap::{ArgAction, Args, ValueEnum};
use loam_model::{
    CapabilityChange, ContainerName, ContainerSpec, ErrorKind, Failure, ImageConfig, Limits, MountSpec,
    PortMapping, RuntimeChoice, SeccompChoice, Security, UserNamespace,
};

use super::environment::{EnvironmentFlags, labels};
use super::security::{SecurityOption, capability, security_option};
use super::words::{entrypoint, oom_score, processor_set, read_text, signal_text};
use super::{mount, network, ports, quantity};

/// When an image is fetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum PullPolicy {
    /// Always: what the source has now
    Always,
    /// When the store has no such image
    Missing,
    /// Never
    Never,
}

/// The flags that describe a container.
#[derive(Args, Clone, Debug)]
pub(crate) struct ContainerFlags {
    /// Keep standard input open
    #[arg(short, long)]
    pub(crate) interactive: bool,
    /// Give the process a terminal
    #[arg(short, long)]
    pub(crate) tty: bool,
    /// Remove the container when its process has ended
    #[arg(long)]
    pub(crate) rm: bool,
    /// The container's name
    #[arg(long, value_name = "NAME")]
    name: Option<ContainerName>,
    #[command(flatten)]
    environment: EnvironmentFlags,
    /// Mount a file or directory of the host; options: ro, rslave, rshared, noidmap, noexec, dev, suid. Files that root
    /// makes there in the container are root's on the host, too, set-user-id bit included: mount only directories that
    /// other users of the host can't reach
    #[arg(short, long = "volume", value_name = "SOURCE:TARGET[:OPTIONS]")]
    volumes: Vec<String>,
    /// Mount something: type=bind,src=PATH,dst=PATH[,…] or type=tmpfs,dst=PATH[,…]
    #[arg(long = "mount", value_name = "OPTIONS")]
    mounts: Vec<String>,
    /// Mount a file system in memory; options: size, mode, exec, ro
    #[arg(long, value_name = "TARGET[:OPTIONS]", value_parser = mount::tmpfs)]
    tmpfs: Vec<MountSpec>,
    /// The working directory
    #[arg(short, long, value_name = "PATH")]
    workdir: Option<String>,
    /// The user and group, by name or number
    #[arg(short, long, value_name = "USER[:GROUP]")]
    user: Option<String>,
    /// The host name
    #[arg(short = 'h', long, value_name = "NAME")]
    hostname: Option<String>,
    /// Run this in place of the image's entrypoint
    #[arg(long, value_name = "PROGRAM", value_parser = EntrypointParser)]
    entrypoint: Option<Entrypoint>,
    /// Run loam-init as process 1: it reaps orphans and forwards signals
    #[arg(long)]
    init: bool,
    /// Mount the root file system read-only
    #[arg(long)]
    read_only: bool,
    /// Limit memory
    #[arg(short, long, value_name = "SIZE", value_parser = quantity::size, help_heading = "Limits")]
    memory: Option<u64>,
    /// Limit memory and swap together; -1 for no limit
    #[arg(long, value_name = "SIZE", value_parser = quantity::swap, allow_hyphen_values = true, help_heading = "Limits")]
    memory_swap: Option<i64>,
    /// Limit processor time to so many processors
    #[arg(long, value_name = "NUMBER", value_parser = quantity::processors, help_heading = "Limits")]
    cpus: Option<u64>,
    /// The share of processor time relative to others; 1024 is the usual one
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u64).range(2..=262_144), help_heading = "Limits")]
    cpu_shares: Option<u64>,
    /// Run on these processors only
    #[arg(long, value_name = "LIST", value_parser = processor_set, help_heading = "Limits")]
    cpuset_cpus: Option<String>,
    /// Limit processes and threads; -1 for no limit
    #[arg(long, value_name = "NUMBER", allow_hyphen_values = true, help_heading = "Limits")]
    pids_limit: Option<i64>,
    /// The size of /dev/shm
    #[arg(long, value_name = "SIZE", value_parser = quantity::size, help_heading = "Limits")]
    shm_size: Option<u64>,
    /// Set a resource limit of the process
    #[arg(long, value_name = "NAME=SOFT[:HARD]", value_parser = quantity::ulimit, help_heading = "Limits")]
    ulimit: Vec<(String, (u64, u64))>,
    /// Shift the choice of the out-of-memory killer
    #[arg(long, value_name = "SCORE", value_parser = oom_score, allow_hyphen_values = true, help_heading = "Limits")]
    oom_score_adj: Option<i32>,
    /// Give a capability, or ALL
    #[arg(long, value_name = "NAME", value_parser = capability, help_heading = "Security")]
    cap_add: Vec<String>,
    /// Take a capability away, or ALL
    #[arg(long, value_name = "NAME", value_parser = capability, help_heading = "Security")]
    cap_drop: Vec<String>,
    /// seccomp=unconfined|FILE, no-new-privileges[:false], apparmor=PROFILE, label=LABEL, unmask=ALL|PATH
    #[arg(long, value_name = "OPTION", value_parser = security_option, help_heading = "Security")]
    security_opt: Vec<SecurityOption>,
    /// The user namespace: auto for one of its own, host for none
    #[arg(long, value_name = "MODE", value_parser = network::user_namespace, help_heading = "Security")]
    userns: Option<UserNamespace>,
    /// Publish a port of the container on the host
    #[arg(short, long, value_name = "[[ADDRESS:]HOST:]CONTAINER[/PROTOCOL]", value_parser = ports::publish,
        action = ArgAction::Append, help_heading = "Network")]
    publish: Vec<Vec<PortMapping>>,
    /// Publish every port that the image exposes on a free port of the host
    #[arg(short = 'P', long, help_heading = "Network")]
    publish_all: bool,
    /// Attach to this network; none for loopback alone, host for the host's own
    #[arg(long, visible_alias = "net", value_name = "NAME", help_heading = "Network")]
    network: Vec<String>,
    /// Set a label
    #[arg(short, long = "label", value_name = "KEY[=VALUE]")]
    labels: Vec<String>,
    /// Read labels from a file, one a line
    #[arg(long, value_name = "FILE")]
    label_file: Vec<PathBuf>,
    /// Use this OCI runtime, by name or path, in place of the embedded one
    #[arg(long, value_name = "PROGRAM")]
    runtime: Option<PathBuf>,
    /// The signal that asks the process to end
    #[arg(long, value_name = "SIGNAL", value_parser = signal_text)]
    stop_signal: Option<String>,
    /// How many seconds `stop` waits before it kills
    #[arg(long, value_name = "SECONDS")]
    stop_timeout: Option<u32>,
    /// Write the container's id to this file, which must not exist
    #[arg(long, value_name = "FILE")]
    pub(crate) cidfile: Option<PathBuf>,
    /// When to fetch the image: always, missing or never
    #[arg(
        long,
        value_name = "WHEN",
        default_value = "missing",
        hide_possible_values = true,
        help_heading = "Image"
    )]
    pub(crate) pull: PullPolicy,
    /// The image's platform, when it has several
    #[arg(long, value_name = "OS/ARCH[/VARIANT]", help_heading = "Image")]
    pub(crate) platform: Option<String>,
    /// Print help
    #[arg(long, action = ArgAction::Help)]
    help: Option<bool>,
    /// The image, and the command to run in place of the image's own
    #[arg(required = true, num_args = 1.., trailing_var_arg = true, value_name = "IMAGE", hide = true)]
    words: Vec<String>,
}

/// Words in place of the image's entrypoint.
#[derive(Clone, Debug)]
struct Entrypoint(Vec<String>);

/// clap takes a `Vec` as a sign of a repeated flag, therefore the type of its own.
#[derive(Clone)]
struct EntrypointParser;

impl clap::builder::TypedValueParser for EntrypointParser {
    type Value = Entrypoint;

    fn parse_ref(
        &self,
        command: &clap::Command,
        argument: Option<&clap::Arg>,
        value: &std::ffi::OsStr,
    ) -> Result<Entrypoint, clap::Error> {
        let parser = |text: &str| entrypoint(text).map(Entrypoint);
        clap::builder::TypedValueParser::parse_ref(&parser, command, argument, value)
    }
}

impl ContainerFlags {
    /// The image as it was named.
    pub(crate) fn image(&self) -> &str {
        self.words.first().map_or("", String::as_str)
    }

    /// The wish, but for what depends on the image.
    pub(crate) fn wish(&self) -> Result<ContainerSpec, Failure> {
        let command = self.words.get(1..).unwrap_or_default();
        Ok(ContainerSpec {
            image: self.image().to_owned(),
            name: self.name.clone(),
            entrypoint: self.entrypoint.as_ref().map(|words| words.0.clone()),
            command: (!command.is_empty()).then(|| command.to_vec()),
            environment: self.environment.collect()?,
            working_directory: self.workdir.clone(),
            user: self.user.clone(),
            hostname: self.hostname.clone(),
            terminal: self.tty,
            open_stdin: self.interactive,
            init: self.init,
            read_only: self.read_only,
            auto_remove: self.rm,
            mounts: self.all_mounts()?,
            limits: self.limits(),
            security: self.security()?,
            user_namespace: self.userns.unwrap_or_default(),
            network: network::network(&self.network).map_err(|sentence| invalid(&sentence))?,
            ports: self.publish.concat(),
            labels: labels(&self.label_file, &self.labels)?,
            runtime: self.runtime.clone().map_or(RuntimeChoice::Embedded, RuntimeChoice::Program),
            stop_signal: self.stop_signal.clone(),
            stop_timeout: self.stop_timeout,
        })
    }

    /// Adds to the wish what depends on the image: with `--publish-all`, its exposed ports that are not published yet.
    pub(crate) fn complete(&self, wish: &mut ContainerSpec, image: &ImageConfig) -> Result<(), Failure> {
        if !self.publish_all {
            return Ok(());
        }
        for text in &image.exposed_ports {
            for port in ports::exposed(text).map_err(|sentence| invalid(&sentence))? {
                let same = |other: &PortMapping| {
                    (other.container_port, other.protocol) == (port.container_port, port.protocol)
                };
                if !wish.ports.iter().any(same) {
                    wish.ports.push(port);
                }
            }
        }
        Ok(())
    }

    fn all_mounts(&self) -> Result<Vec<MountSpec>, Failure> {
        let relative = |text: &String| !text.starts_with('/');
        // Only a relative source needs it.
        let here = match self.volumes.iter().any(relative) || !self.mounts.is_empty() {
            true => env::current_dir().map_err(|error| {
                Failure::new(ErrorKind::Internal, "the working directory is not known").caused_by(error)
            })?,
            false => PathBuf::from("/"),
        };
        let refuse = |flag: &str, text: &str, sentence: String| {
            invalid(&format!("`{flag} {}` can't be used: {sentence}", text.escape_default()))
        };
        let parse = |flag, texts: &[String], parser: fn(&str, &Path) -> super::Parsed<MountSpec>| {
            let one = |text: &String| parser(text, &here).map_err(|sentence| refuse(flag, text, sentence));
            texts.iter().map(one).collect::<Result<Vec<_>, _>>()
        };
        let mut mounts = parse("--volume", &self.volumes, mount::volume)?;
        mounts.extend(parse("--mount", &self.mounts, mount::mount)?);
        mounts.extend(self.tmpfs.iter().cloned());
        Ok(mounts)
    }

    fn limits(&self) -> Limits {
        Limits {
            memory: self.memory,
            memory_swap: self.memory_swap,
            cpu_millis: self.cpus,
            cpu_shares: self.cpu_shares,
            cpuset_cpus: self.cpuset_cpus.clone(),
            pids: self.pids_limit,
            shm_size: self.shm_size,
            rlimits: self.ulimit.iter().cloned().collect(),
            oom_score_adjust: self.oom_score_adj,
        }
    }

    fn security(&self) -> Result<Security, Failure> {
        // As Docker has it: what is added counts after `ALL` was dropped, whatever the order of the flags.
        let drop = self.cap_drop.iter().cloned().map(CapabilityChange::Drop);
        let add = self.cap_add.iter().cloned().map(CapabilityChange::Add);
        let drops_all = self.cap_drop.iter().any(|name| name == "ALL");
        let mut security = Security {
            capabilities: if drops_all { drop.chain(add).collect() } else { add.chain(drop).collect() },
            ..Security::default()
        };
        for option in &self.security_opt {
            match option {
                SecurityOption::SeccompDefault => security.seccomp = SeccompChoice::Default,
                SecurityOption::SeccompUnconfined => security.seccomp = SeccompChoice::Unconfined,
                SecurityOption::SeccompFile(path) => {
                    security.seccomp = SeccompChoice::Profile(read_text("seccomp profile", path)?);
                }
                SecurityOption::NoNewPrivileges(on) => security.allow_new_privileges = !on,
                SecurityOption::AppArmor(profile) => security.apparmor = Some(profile.clone()),
                SecurityOption::Label(label) => security.selinux_label = Some(label.clone()),
                SecurityOption::Unmask(paths) => security.unmask.extend(paths.iter().cloned()),
            }
        }
        Ok(security)
    }
}

fn invalid(sentence: &str) -> Failure {
    Failure::new(ErrorKind::Invalid, sentence)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    #[command(disable_help_flag = true)]
    struct Line {
        #[command(flatten)]
        flags: ContainerFlags,
    }

    fn wish(line: &[&str]) -> ContainerSpec {
        let line = Line::try_parse_from([&["run"], line].concat()).expect("parses");
        line.flags.wish().expect("makes sense")
    }

    #[test]
    fn flags_after_the_image_belong_to_the_command() {
        let wish = wish(&["-it", "--rm", "debian", "ls", "-l", "--rm", "-h"]);
        assert_eq!(wish.image, "debian");
        assert_eq!(wish.command, Some(["ls", "-l", "--rm", "-h"].map(str::to_owned).to_vec()));
        assert!(wish.terminal && wish.open_stdin && wish.auto_remove);
        let wish = self::wish(&["hello", "--flag"]);
        assert_eq!(wish.command, Some(vec!["--flag".to_owned()]));
        assert_eq!(self::wish(&["hello"]).command, None);
    }

    #[test]
    fn flags_make_a_wish() {
        let wish = wish(&[
            "-h",
            "box",
            "-m",
            "64m",
            "--cpus",
            "1.5",
            "--pids-limit=-1",
            "--memory-swap",
            "-1",
            "-p",
            "8080:80",
            "-p",
            "90-91",
            "-l",
            "a=b",
            "--ulimit",
            "nofile=1:2",
            "--oom-score-adj",
            "-5",
            "--entrypoint",
            "",
            "--userns",
            "host",
            "--net",
            "none",
            "--security-opt",
            "no-new-privileges:false",
            "--init",
            "x",
        ]);
        assert_eq!(wish.hostname.as_deref(), Some("box"));
        assert_eq!((wish.limits.memory, wish.limits.memory_swap), (Some(64 << 20), Some(-1)));
        assert_eq!((wish.limits.cpu_millis, wish.limits.pids), (Some(1500), Some(-1)));
        assert_eq!(wish.limits.oom_score_adjust, Some(-5));
        assert_eq!(wish.limits.rlimits["nofile"], (1, 2));
        assert_eq!(wish.ports.iter().map(|port| port.container_port).collect::<Vec<_>>(), [80, 90, 91]);
        assert_eq!(wish.labels["a"], "b");
        assert_eq!(wish.entrypoint, Some(vec![]));
        assert_eq!(wish.user_namespace, UserNamespace::Host);
        assert_eq!(wish.network, loam_model::NetworkMode::None);
        assert!(wish.init && wish.security.allow_new_privileges);
    }

    #[test]
    fn capabilities_are_dropped_before_they_are_added_when_all_are_dropped() {
        use CapabilityChange::{Add, Drop};
        let changes = |line: &[&str]| wish(&[line, &["x"]].concat()).security.capabilities;
        let (all, chown) = ("ALL".to_owned(), "CHOWN".to_owned());
        let line = ["--cap-add", "chown", "--cap-drop", "all"];
        assert_eq!(changes(&line), [Drop(all.clone()), Add(chown.clone())]);
        assert_eq!(changes(&["--cap-drop", "chown", "--cap-add", "all"]), [Add(all), Drop(chown)]);
    }

    #[test]
    fn exposed_ports_are_published_once() {
        let line = Line::try_parse_from(["run", "-P", "-p", "8080:80", "x"]).expect("parses");
        let mut wish = line.flags.wish().expect("makes sense");
        let exposed_ports = ["80/tcp", "53/udp"].map(str::to_owned).to_vec();
        let image = ImageConfig { exposed_ports, ..ImageConfig::default() };
        line.flags.complete(&mut wish, &image).expect("valid ports");
        let ports: Vec<_> = wish.ports.iter().map(|port| (port.host_port, port.container_port)).collect();
        assert_eq!(ports, [(8080, 80), (0, 53)]);
    }

    #[test]
    fn a_bad_volume_is_named() {
        let line = Line::try_parse_from(["run", "-v", "data:/x", "x"]).expect("parses");
        let failure = line.flags.wish().expect_err("no named volumes");
        assert!(
            failure.to_string().starts_with("`--volume data:/x` can't be used: the source `data`"),
            "{failure}"
        );
    }
}
