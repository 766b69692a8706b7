//! Flags and commands that other engines have and this one does not have yet, or has under another name. Who types them
//! reads that, and not that a flag which looks like it exists. The README lists them all.

/// Something that is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Missing {
    /// The flag or the command.
    pub(crate) name: &'static str,
    /// What does it, or something like it; empty when nothing does.
    pub(crate) hint: &'static str,
    /// Whether the hint names what does exactly this.
    pub(crate) is_elsewhere: bool,
}

const fn missing(name: &'static str, hint: &'static str) -> Missing {
    Missing { name, hint, is_elsewhere: false }
}

const fn elsewhere(name: &'static str, hint: &'static str) -> Missing {
    Missing { name, hint, is_elsewhere: true }
}

/// Flags of `run` and `create`.
const CONTAINER_FLAGS: [Missing; 26] = [
    missing("--privileged", "`--cap-add`, `--security-opt` and `--userns host` give single rights"),
    missing("--device", ""),
    missing("--gpus", ""),
    missing("--group-add", "`--user USER:GROUP` chooses the one group"),
    missing("--ipc", ""),
    missing("--pid", ""),
    missing("--uts", ""),
    missing("--cgroupns", ""),
    missing("--cgroup-parent", ""),
    missing("--sysctl", ""),
    missing("--dns", ""),
    missing("--dns-search", ""),
    missing("--dns-option", ""),
    missing("--add-host", ""),
    missing("--domainname", ""),
    missing("--expose", "`--publish` publishes ports, whether the image exposes them or not"),
    missing("--restart", ""),
    missing("--replace", "`loam rm -f NAME` removes the container that has the name"),
    missing("--volumes-from", "`--volume` mounts the same directories"),
    missing("--log-driver", ""),
    missing("--log-opt", ""),
    missing("--health-cmd", ""),
    missing("--annotation", "`--label` keeps words with a container"),
    missing("--umask", ""),
    missing("--secret", "`--volume` mounts a file"),
    missing("--oom-kill-disable", ""),
];

/// Flags of `update`.
const UPDATE_FLAGS: [Missing; 5] = [
    missing("--memory", DISK_ALONE),
    missing("-m", DISK_ALONE),
    missing("--cpus", DISK_ALONE),
    missing("--cpu-shares", DISK_ALONE),
    missing("--pids-limit", DISK_ALONE),
];
const DISK_ALONE: &str = "`loam update` changes the disk limit alone, by `--storage-opt`";

/// Flags of `inspect`.
const INSPECT_FLAGS: [Missing; 2] = [missing("--format", AS_JSON), missing("-f", AS_JSON)];
const AS_JSON: &str = "what it prints is JSON, which `jq` picks from";

/// Commands.
const COMMANDS: [Missing; 14] = [
    missing("restart", "`loam stop` and then `loam start` do it"),
    missing("rename", ""),
    missing("port", "`loam ps` shows published ports"),
    missing("events", ""),
    missing("top", "`loam exec CONTAINER ps` shows processes where the image has `ps`"),
    missing("commit", ""),
    missing("export", ""),
    missing("search", ""),
    missing("volume", "`--volume` and `--mount` of `loam run` mount directories of the host"),
    missing("container", "its commands are Loam's own: `loam ps`, `loam inspect`, `loam rm` and the like"),
    elsewhere("load", "`loam image load` does it"),
    elsewhere("save", "`loam image save` does it"),
    elsewhere("history", "`loam image history` does it"),
    elsewhere("untag", "`loam rmi NAME` takes a name away, and the image with its last one"),
];

/// A flag of a command.
pub(crate) fn flag(command: &str, name: &str) -> Option<Missing> {
    let flags: &[Missing] = match command {
        "run" | "create" => &CONTAINER_FLAGS,
        "update" => &UPDATE_FLAGS,
        "inspect" => &INSPECT_FLAGS,
        _ => &[],
    };
    flags.iter().copied().find(|missing| missing.name == name)
}

/// A command.
pub(crate) fn command(name: &str) -> Option<Missing> {
    COMMANDS.iter().copied().find(|missing| missing.name == name)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;
    use crate::arguments::Arguments;

    #[test]
    fn what_is_missing_is_missing_and_in_the_readme() {
        let readme = include_str!("../../../README.md");
        let whole = Arguments::command();
        for missing in COMMANDS {
            let is_there = whole.get_subcommands().any(|command| command.get_name() == missing.name);
            assert!(!is_there, "`{}` is there", missing.name);
            assert!(
                readme.contains(&format!("`{}`", missing.name)),
                "`{}` is not in README.md",
                missing.name
            );
        }
        for (name, flags) in
            [("run", &CONTAINER_FLAGS[..]), ("update", &UPDATE_FLAGS), ("inspect", &INSPECT_FLAGS)]
        {
            let command = whole.find_subcommand(name).expect("a command");
            for missing in flags {
                let word = missing.name.trim_start_matches('-');
                let long = command.get_arguments().any(|argument| argument.get_long() == Some(word));
                let short = command
                    .get_arguments()
                    .any(|argument| argument.get_short().is_some_and(|short| word == short.to_string()));
                let is_there = if missing.name.starts_with("--") { long } else { short };
                assert!(!is_there, "`{name} {}` is there", missing.name);
                let said = name != "run" || readme.contains(&format!("`{}`", missing.name));
                assert!(said, "`{}` is not in README.md", missing.name);
            }
        }
    }
}
