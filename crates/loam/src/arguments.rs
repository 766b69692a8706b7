//! The command line as a whole.

use std::path::PathBuf;

use clap::{Args, Parser};
use loam_model::{CgroupDriver, Slice};
use serde::Deserialize;

use crate::command::Command;

/// The command line.
#[derive(Debug, Parser)]
#[command(
    name = "loam",
    version,
    about = "Runs containers, without a daemon",
    propagate_version = false,
    subcommand_required = true,
    arg_required_else_help = true,
    max_term_width = 100,
    after_help = "`loam COMMAND --help` says more about a command"
)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// The flags that every command has. What they leave open the configuration file says ([`crate::config`]).
#[derive(Args, Clone, Debug)]
pub(crate) struct Global {
    /// The state directory: images, containers, the database [default: /var/lib/loam]
    #[arg(
        long,
        global = true,
        env = "LOAM_ROOT",
        value_name = "DIR",
        hide_env = true,
        help_heading = "Global options"
    )]
    pub(crate) root: Option<PathBuf>,
    /// The run directory, emptied when the machine starts [default: /run/loam]
    #[arg(
        long,
        global = true,
        env = "LOAM_RUN",
        value_name = "DIR",
        hide_env = true,
        help_heading = "Global options"
    )]
    pub(crate) run: Option<PathBuf>,
    /// The configuration file [default: /etc/loam/config.toml]
    #[arg(
        long,
        global = true,
        env = "LOAM_CONFIG",
        value_name = "FILE",
        hide_env = true,
        help_heading = "Global options"
    )]
    pub(crate) config: Option<PathBuf>,
    /// Who makes cgroups: cgroupfs, systemd, or auto for what suits the host [default: auto]
    #[arg(
        long,
        global = true,
        env = "LOAM_CGROUP_DRIVER",
        value_name = "DRIVER",
        hide_env = true,
        hide_possible_values = true,
        help_heading = "Global options"
    )]
    pub(crate) cgroup_driver: Option<DriverChoice>,
    /// The slice that systemd's scopes go into [default: machine.slice]
    #[arg(
        long,
        global = true,
        env = "LOAM_CGROUP_SLICE",
        value_name = "SLICE",
        hide_env = true,
        help_heading = "Global options"
    )]
    pub(crate) cgroup_slice: Option<Slice>,
    /// Log what happens inside to standard error: error, warn, info, debug or trace
    #[arg(
        long,
        global = true,
        env = "LOAM_LOG",
        value_name = "LEVEL",
        hide_env = true,
        hide_possible_values = true,
        help_heading = "Global options"
    )]
    pub(crate) log_level: Option<LogLevel>,
}

/// Who makes the cgroups of new containers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum DriverChoice {
    /// systemd where it can, else the file system.
    #[default]
    Auto,
    /// The file system.
    Cgroupfs,
    /// systemd.
    Systemd,
}

impl DriverChoice {
    /// The driver, unless it is to be found out.
    pub(crate) fn driver(self) -> Option<CgroupDriver> {
        match self {
            Self::Auto => None,
            Self::Cgroupfs => Some(CgroupDriver::Cgroupfs),
            Self::Systemd => Some(CgroupDriver::Systemd),
        }
    }
}

/// How much is logged.
#[derive(Clone, Copy, Debug, clap::ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum LogLevel {
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

/// Starts logging, when it is asked for.
pub(crate) fn start_logging(level: Option<LogLevel>) {
    let Some(level) = level else { return };
    let level = match level {
        LogLevel::Error => tracing::Level::ERROR,
        LogLevel::Warn => tracing::Level::WARN,
        LogLevel::Info => tracing::Level::INFO,
        LogLevel::Debug => tracing::Level::DEBUG,
        LogLevel::Trace => tracing::Level::TRACE,
    };
    tracing_subscriber::fmt().with_max_level(level).with_writer(std::io::stderr).init();
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn help(words: &[&str]) -> String {
        let command = Arguments::command().term_width(100);
        let error = command.try_get_matches_from([&["loam"], words].concat()).expect_err("help is asked for");
        assert_eq!(error.kind(), clap::error::ErrorKind::DisplayHelp, "{error}");
        let text = error.to_string();
        text.lines().map(|line| format!("{}\n", line.trim_end())).collect()
    }

    #[test]
    fn help_is_a_command_and_what_one_gets_without_any() {
        for (line, kind) in [
            (&["loam", "help"][..], clap::error::ErrorKind::DisplayHelp),
            (&["loam", "help", "run"], clap::error::ErrorKind::DisplayHelp),
            (&["loam"], clap::error::ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand),
        ] {
            let error = Arguments::try_parse_from(line).expect_err("help is asked for");
            assert_eq!(error.kind(), kind, "{line:?}: {error}");
        }
    }

    #[test]
    fn the_definition_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn global_flags_may_stand_anywhere_before_a_containers_words() {
        for line in [&["loam", "--root", "/x", "ps"][..], &["loam", "ps", "--root", "/x"]] {
            let root = Arguments::try_parse_from(line).expect("parses").global.root;
            assert_eq!(root, Some(PathBuf::from("/x")));
        }
        let line = ["loam", "run", "image", "--root", "/x"];
        assert_eq!(Arguments::try_parse_from(line).expect("parses").global.root, None);
    }

    #[test]
    fn help_lists_the_commands() {
        insta::assert_snapshot!(help(&["--help"]), @r"
        Runs containers, without a daemon

        Usage: loam [OPTIONS] <COMMAND>

        Commands:
          run             Run a command in a new container
          create          Make a container without starting it
          start           Start containers that were made or have stopped
          ps              List containers
          exec            Run a further process in a running container
          logs            Print what a container has written
          attach          Connect the terminal to a running container
          stop            Ask containers to end, and kill them when they don't
          kill            Send a signal to containers
          pause           Stop all processes of containers where they stand
          unpause         Let paused containers go on
          update          Change the disk limit of containers, running or not
          wait            Wait until containers have ended, and print their exit codes
          rm              Remove containers
          inspect         Print everything that is known of containers or images, as JSON
          stats           Show what running containers use
          cp              Copy files between a container and the host
          diff            Show what a container has changed in its image's files: A added, C changed, D
                          deleted
          pull            Fetch an image
          push            Put an image into a registry, and print its digest there
          images          List images
          rmi             Remove images
          image           Work with images
          network         Work with networks
          system          Look after images and containers together
          import          Make an image from a root file system, a directory or a tar
          tag             Give an image a further name
          login           Log in to a registry, and keep the login
          logout          Forget the login for a registry
          garden-network  Attach Garden's containers to networks, as Guardian's external networker
          grootfs         Keep root file systems for Garden, with the commands and flags of GrootFS
          info            Show what this host can do, and where things are
          version         Show the version
          help            Print this message or the help of the given subcommand(s)

        Options:
          -h, --help     Print help
          -V, --version  Print version

        Global options:
              --root <DIR>              The state directory: images, containers, the database [default:
                                        /var/lib/loam]
              --run <DIR>               The run directory, emptied when the machine starts [default:
                                        /run/loam]
              --config <FILE>           The configuration file [default: /etc/loam/config.toml]
              --cgroup-driver <DRIVER>  Who makes cgroups: cgroupfs, systemd, or auto for what suits the
                                        host [default: auto]
              --cgroup-slice <SLICE>    The slice that systemd's scopes go into [default: machine.slice]
              --log-level <LEVEL>       Log what happens inside to standard error: error, warn, info, debug
                                        or trace

        `loam COMMAND --help` says more about a command
        ");
    }

    #[test]
    fn help_of_run() {
        insta::assert_snapshot!(help(&["run", "--help"]), @r"
        Run a command in a new container

        Usage: loam run [OPTIONS] IMAGE [COMMAND]...

        Options:
          -d, --detach
                  Let the container run in the background and print its id
              --detach-keys <KEYS>
                  The keys that let a container with a terminal go on alone [default: ctrl-p,ctrl-q]
              --sig-proxy[=<BOOL>]
                  Send signals that come here to the process [default: true] [possible values: true, false]
          -i, --interactive
                  Keep standard input open
          -t, --tty
                  Give the process a terminal
              --rm
                  Remove the container when its process has ended
              --name <NAME>
                  The container's name
          -e, --env <KEY[=VALUE]>
                  Set an environment variable; without a value it is taken from here
              --env-file <FILE>
                  Read environment variables from a file, one a line
          -v, --volume <SOURCE:TARGET[:OPTIONS]>
                  Mount a file or directory of the host; options: ro, rslave, rshared, noidmap, noexec, dev,
                  suid. Files that root makes there in the container are root's on the host, too,
                  set-user-id bit included: mount only directories that other users of the host can't reach
              --mount <OPTIONS>
                  Mount something: type=bind,src=PATH,dst=PATH[,…] or type=tmpfs,dst=PATH[,…]
              --tmpfs <TARGET[:OPTIONS]>
                  Mount a file system in memory; options: size, mode, exec, ro
          -w, --workdir <PATH>
                  The working directory
          -u, --user <USER[:GROUP]>
                  The user and group, by name or number
          -h, --hostname <NAME>
                  The host name
              --entrypoint <PROGRAM>
                  Run this in place of the image's entrypoint
              --init
                  Run loam-init as process 1: it reaps orphans and forwards signals
              --read-only
                  Mount the root file system read-only
          -l, --label <KEY[=VALUE]>
                  Set a label
              --label-file <FILE>
                  Read labels from a file, one a line
              --runtime <PROGRAM>
                  Use this OCI runtime, by name or path, in place of the embedded one
              --stop-signal <SIGNAL>
                  The signal that asks the process to end
              --stop-timeout <SECONDS>
                  How many seconds `stop` waits before it kills
              --cidfile <FILE>
                  Write the container's id to this file, which must not exist
          -q, --quiet
                  Show no progress while the image is fetched
              --help
                  Print help

        Limits:
          -m, --memory <SIZE>
                  Limit memory; -1 for no limit
              --memory-swap <SIZE>
                  Limit memory and swap together; -1 for no limit
              --memory-reservation <SIZE>
                  Take memory beyond this first when the host has none left
              --memory-swappiness <NUMBER>
                  How readily memory is swapped out, 0 to 100; on cgroup version 1
              --cpus <NUMBER>
                  Limit processor time to so many processors
              --cpu-period <MICROSECONDS>
                  The period of the processor limit, in microseconds
              --cpu-quota <MICROSECONDS>
                  Processor time in each period, in microseconds; -1 for no limit
              --cpu-shares <NUMBER>
                  The share of processor time relative to others; 1024 is the usual one
              --cpuset-cpus <LIST>
                  Run on these processors only
              --cpuset-mems <LIST>
                  Use memory of these nodes only
              --blkio-weight <WEIGHT>
                  The share of input and output on block devices, 10 to 1000
              --blkio-weight-device <DEVICE:WEIGHT>
                  The same on one device
              --device-read-bps <DEVICE:SIZE>
                  Limit the bytes read from a block device in a second
              --device-write-bps <DEVICE:SIZE>
                  Limit the bytes written to a block device in a second
              --device-read-iops <DEVICE:NUMBER>
                  Limit the reads from a block device in a second
              --device-write-iops <DEVICE:NUMBER>
                  Limit the writes to a block device in a second
              --hugepage-limit <PAGE=SIZE>
                  Limit memory in huge pages of one size, such as 2MB=64m
              --pids-limit <NUMBER>
                  Limit processes and threads; -1 for no limit
              --shm-size <SIZE>
                  The size of /dev/shm
              --ulimit <NAME=SOFT[:HARD]>
                  Set a resource limit of the process
              --storage-opt <OPTION>
                  size=SIZE: limit what is written to the root file system
              --oom-score-adj <SCORE>
                  Shift the choice of the out-of-memory killer

        Security:
              --cap-add <NAME>         Give a capability, or ALL
              --cap-drop <NAME>        Take a capability away, or ALL
              --security-opt <OPTION>  seccomp=unconfined|FILE, no-new-privileges[:false],
                                       apparmor=unconfined|PROFILE, label=disable|PART:VALUE,
                                       unmask=ALL|PATH
              --userns <MODE>          The user namespace: auto for one of its own, host for none

        Network:
          -p, --publish <[[ADDRESS:]HOST:]CONTAINER[/PROTOCOL]>
                  Publish a port of the container on the host
          -P, --publish-all
                  Publish every port that the image exposes on a free port of the host
              --network <NAME[:OPTIONS]>
                  Attach to this network, may be repeated; options: ip, ip6, mac, alias, interface_name,
                  default_route, subnet; none for loopback alone, host for the host's own [alias: --net]
              --ip <ADDRESS>
                  The IPv4 address on the network
              --ip6 <ADDRESS>
                  The IPv6 address on the network
              --mac-address <MAC>
                  The hardware address on the network
              --network-alias <NAME>
                  A further name that others on the network find the container by

        Image:
              --pull <WHEN>                   When to fetch the image: always, missing or never [default:
                                              missing]
              --platform <OS/ARCH[/VARIANT]>  The image's platform, when it has several

        Global options:
              --root <DIR>              The state directory: images, containers, the database [default:
                                        /var/lib/loam]
              --run <DIR>               The run directory, emptied when the machine starts [default:
                                        /run/loam]
              --config <FILE>           The configuration file [default: /etc/loam/config.toml]
              --cgroup-driver <DRIVER>  Who makes cgroups: cgroupfs, systemd, or auto for what suits the
                                        host [default: auto]
              --cgroup-slice <SLICE>    The slice that systemd's scopes go into [default: machine.slice]
              --log-level <LEVEL>       Log what happens inside to standard error: error, warn, info, debug
                                        or trace
        ");
    }

    #[test]
    fn help_of_ps() {
        insta::assert_snapshot!(help(&["ps", "--help"]), @r"
        List containers

        Usage: loam ps [OPTIONS]

        Options:
          -a, --all                 List those that do not run, too
          -n, --last <COUNT>        List the COUNT newest, also those that do not run
          -l, --latest              List the newest, also when it does not run
          -q, --quiet               Print ids only
              --no-trunc            Print ids and commands in full
          -f, --filter <KEY=VALUE>  Only those with name=TEXT, id=DIGITS, label=KEY[=VALUE], status=STATE or
                                    ancestor=IMAGE
          -o, --output <FORMAT>     Print a table, or json [default: table] [alias: --format]
          -h, --help                Print help

        Global options:
              --root <DIR>              The state directory: images, containers, the database [default:
                                        /var/lib/loam]
              --run <DIR>               The run directory, emptied when the machine starts [default:
                                        /run/loam]
              --config <FILE>           The configuration file [default: /etc/loam/config.toml]
              --cgroup-driver <DRIVER>  Who makes cgroups: cgroupfs, systemd, or auto for what suits the
                                        host [default: auto]
              --cgroup-slice <SLICE>    The slice that systemd's scopes go into [default: machine.slice]
              --log-level <LEVEL>       Log what happens inside to standard error: error, warn, info, debug
                                        or trace
        ");
    }

    #[test]
    fn help_of_exec() {
        insta::assert_snapshot!(help(&["exec", "--help"]), @r"
        Run a further process in a running container

        Usage: loam exec [OPTIONS] CONTAINER PROGRAM [ARGUMENT]...

        Options:
          -d, --detach               Let the process run in the background
              --detach-keys <KEYS>   The keys that let a container with a terminal go on alone [default:
                                     ctrl-p,ctrl-q]
              --sig-proxy[=<BOOL>]   Send signals that come here to the process [default: true] [possible
                                     values: true, false]
          -i, --interactive          Keep standard input open
          -t, --tty                  Give the process a terminal
          -e, --env <KEY[=VALUE]>    Set an environment variable; without a value it is taken from here
              --env-file <FILE>      Read environment variables from a file, one a line
          -w, --workdir <PATH>       The working directory
          -u, --user <USER[:GROUP]>  The user and group, by name or number
              --privileged           Give the process all capabilities
          -h, --help                 Print help

        Global options:
              --root <DIR>              The state directory: images, containers, the database [default:
                                        /var/lib/loam]
              --run <DIR>               The run directory, emptied when the machine starts [default:
                                        /run/loam]
              --config <FILE>           The configuration file [default: /etc/loam/config.toml]
              --cgroup-driver <DRIVER>  Who makes cgroups: cgroupfs, systemd, or auto for what suits the
                                        host [default: auto]
              --cgroup-slice <SLICE>    The slice that systemd's scopes go into [default: machine.slice]
              --log-level <LEVEL>       Log what happens inside to standard error: error, warn, info, debug
                                        or trace
        ");
    }
}
