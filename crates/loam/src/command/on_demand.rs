//! Flags that are only described when their command was asked for.
//!
//! Describing every flag of every command takes longer than all else that a short command does before it begins.
//! Whoever has named one command needs only its own; whoever asks for help, or made a mistake before the command's
//! name, gets all of them.

use std::ffi::OsString;
use std::sync::OnceLock;

use clap::error::Error;
use clap::{ArgMatches, Args, Command, FromArgMatches, Subcommand};

static ASKED_FOR: OnceLock<String> = OnceLock::new();

/// The flags that every command has; each takes a value.
const GLOBAL_FLAGS: [&str; 6] =
    ["--root", "--run", "--config", "--cgroup-driver", "--cgroup-slice", "--log-level"];

/// Notes which command these arguments, the program's name first, ask for, when that is plain: it is the first word after the
/// flags that every command has.
pub(crate) fn ask_for(arguments: impl IntoIterator<Item = OsString>) {
    if let Some(name) = first_word(arguments).filter(|name| super::NAMES.contains(&name.as_str())) {
        ASKED_FOR.get_or_init(|| name);
    }
}

fn first_word(arguments: impl IntoIterator<Item = OsString>) -> Option<String> {
    let mut arguments = arguments.into_iter().skip(1);
    loop {
        let word = arguments.next()?.into_string().ok()?;
        let (flag, value) =
            word.split_once('=').map_or((word.as_str(), None), |(flag, value)| (flag, Some(value)));
        if !GLOBAL_FLAGS.contains(&flag) {
            return Some(word);
        }
        if value.is_none() {
            arguments.next()?;
        }
    }
}

fn is_needed(command: &Command) -> bool {
    ASKED_FOR.get().is_none_or(|name| name == command.get_name())
}

/// The flags of a command, or its own commands.
#[derive(Clone, Debug)]
pub(crate) struct OnDemand<T>(pub(crate) T);

impl<T: FromArgMatches> FromArgMatches for OnDemand<T> {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, Error> {
        T::from_arg_matches(matches).map(Self)
    }

    fn from_arg_matches_mut(matches: &mut ArgMatches) -> Result<Self, Error> {
        T::from_arg_matches_mut(matches).map(Self)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), Error> {
        self.0.update_from_arg_matches(matches)
    }
}

impl<T: Args> Args for OnDemand<T> {
    fn augment_args(command: Command) -> Command {
        if is_needed(&command) { T::augment_args(command) } else { command }
    }

    fn augment_args_for_update(command: Command) -> Command {
        T::augment_args_for_update(command)
    }
}

impl<T: Subcommand> Subcommand for OnDemand<T> {
    fn augment_subcommands(command: Command) -> Command {
        if is_needed(&command) { T::augment_subcommands(command) } else { command }
    }

    fn augment_subcommands_for_update(command: Command) -> Command {
        T::augment_subcommands_for_update(command)
    }

    fn has_subcommand(name: &str) -> bool {
        T::has_subcommand(name)
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::super::NAMES;
    use super::{GLOBAL_FLAGS, first_word};
    use crate::arguments::{Arguments, Global};

    #[test]
    fn all_commands_are_named() {
        let command = Arguments::command();
        let found: Vec<&str> = command.get_subcommands().map(clap::Command::get_name).collect();
        assert_eq!(found, NAMES);
    }

    #[test]
    fn the_flags_before_a_command_are_those_of_all_commands() {
        let command = <Global as clap::Args>::augment_args(clap::Command::new("loam"));
        let flags: Vec<String> =
            command.get_arguments().filter_map(|a| a.get_long().map(|l| format!("--{l}"))).collect();
        assert_eq!(flags, GLOBAL_FLAGS);
        assert!(command.get_arguments().all(|argument| argument.get_action().takes_values()));
    }

    #[test]
    fn the_command_is_found_behind_them() {
        let word = |words: &[&str]| first_word(words.iter().map(std::ffi::OsString::from));
        assert_eq!(word(&["loam", "run", "image"]).as_deref(), Some("run"));
        assert_eq!(word(&["loam", "--root", "/run", "--log-level=info", "ps"]).as_deref(), Some("ps"));
        assert_eq!(word(&["loam", "--root", "ps", "--help"]).as_deref(), Some("--help"));
        assert_eq!(word(&["loam", "--root"]), None);
        assert_eq!(word(&["loam"]), None);
    }
}
