//! What somebody may have meant whose words clap does not understand.

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{CommandFactory, Error};

use crate::arguments::Arguments;
use crate::not_there::{self, Missing};

/// How many commands are named at most to somebody who may have meant one of them.
const MOST_SUGGESTIONS: usize = 3;

/// A sentence, and what can be done next.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Said {
    pub(crate) sentence: String,
    pub(crate) hint: Option<&'static str>,
}

/// What is said of a flag or command that other engines have and this one does not have yet.
pub(crate) fn not_there(error: &Error) -> Option<Said> {
    let path = path(error)?;
    let (missing, shown) = match error.kind() {
        ErrorKind::UnknownArgument => {
            let missing = not_there::flag(path.first()?, text(error, ContextKind::InvalidArg)?)?;
            (missing, missing.name.to_owned())
        }
        ErrorKind::InvalidSubcommand if path.is_empty() => {
            let missing = not_there::command(text(error, ContextKind::InvalidSubcommand)?)?;
            (missing, format!("loam {}", missing.name))
        }
        _ => return None,
    };
    let Missing { name, hint, is_elsewhere } = missing;
    let sentence = match is_elsewhere {
        true => format!("there is no command `{name}`"),
        false => format!("`{shown}` is not there yet"),
    };
    Some(Said { sentence, hint: Some(hint).filter(|hint| !hint.is_empty()) })
}

/// The commands, as a hint, that somebody may have meant who wrote one that there is not.
pub(crate) fn meant(error: &Error) -> Option<String> {
    if error.kind() != ErrorKind::InvalidSubcommand {
        return None;
    }
    let (path, word) = (path(error)?, text(error, ContextKind::InvalidSubcommand)?);
    let whole = Arguments::command();
    let command = path.iter().try_fold(&whole, |command, name| command.find_subcommand(name))?;
    let names = command.get_subcommands().filter(|command| !command.is_hide_set()).map(|one| one.get_name());
    let near: Vec<(usize, &str)> = names
        .map(|name| (strsim::osa_distance(word, name), name))
        .filter(|(far, _)| *far <= farthest(word))
        .collect();
    let least = near.iter().map(|(far, _)| *far).min()?;
    let before: String = path.iter().map(|name| format!("{name} ")).collect();
    let nearest = near.iter().filter(|(far, _)| *far == least).take(MOST_SUGGESTIONS);
    let nearest: Vec<String> = nearest.map(|(_, name)| format!("`loam {before}{name}`")).collect();
    Some(format!("perhaps {} is meant", nearest.join(" or ")))
}

/// The help of the command that was given without one of its own commands.
pub(crate) fn help(error: &Error) -> Option<String> {
    let parent = text(error, ContextKind::InvalidSubcommand)
        .filter(|_| error.kind() == ErrorKind::MissingSubcommand)?;
    let mut command = Arguments::command();
    command.build();
    let at =
        parent.split(' ').skip(1).try_fold(&mut command, |command, name| command.find_subcommand_mut(name));
    Some(at?.render_help().ansi().to_string().trim_end().to_owned())
}

fn text(error: &Error, kind: ContextKind) -> Option<&str> {
    match error.get(kind)? {
        ContextValue::String(text) => Some(text),
        _ => None,
    }
}

/// The names of the command that the error is about, without the program's own: what the usage line begins with.
fn path(error: &Error) -> Option<Vec<String>> {
    let Some(ContextValue::StyledStr(usage)) = error.get(ContextKind::Usage) else { return None };
    let usage = usage.to_string();
    let words = usage.strip_prefix("Usage: ")?.split_whitespace().skip(1);
    let is_name = |word: &&str| word.starts_with(|first: char| first.is_ascii_lowercase());
    Some(words.take_while(is_name).map(str::to_owned).collect())
}

/// How many mistakes a word may have and still be taken for another one.
fn farthest(word: &str) -> usize {
    if word.chars().count() <= 4 { 1 } else { 2 }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    fn error(line: &str) -> Error {
        Arguments::try_parse_from(line.split(' ')).expect_err("makes no sense")
    }

    #[test]
    fn what_other_engines_have_is_not_taken_for_something_else() {
        let said = |line: &str| {
            let said = not_there(&error(line)).unwrap_or_else(|| panic!("nothing is said of `{line}`"));
            format!("{}; {}", said.sentence, said.hint.unwrap_or("-"))
        };
        insta::assert_snapshot!(said("loam run --privileged hello"), @"`--privileged` is not there yet; `--cap-add`, `--security-opt` and `--userns host` give single rights");
        insta::assert_snapshot!(said("loam --root /x create --ipc=host hello"), @"`--ipc` is not there yet; -");
        insta::assert_snapshot!(said("loam update -m 1g web"), @"`-m` is not there yet; `loam update` changes the disk limit alone, by `--storage-opt`");
        insta::assert_snapshot!(said("loam restart web"), @"`loam restart` is not there yet; `loam stop` and then `loam start` do it");
        insta::assert_snapshot!(said("loam save -o x.tar hello"), @"there is no command `save`; `loam image save` does it");
        for line in
            ["loam ps --privileged", "loam image restart", "loam frob", "loam rm", "loam run --frob x"]
        {
            assert_eq!(not_there(&error(line)), None, "{line}");
        }
    }

    #[test]
    fn a_mistyped_command_has_a_suggestion() {
        let meant = |line: &str| meant(&error(line));
        assert_eq!(meant("loam rnu hello").as_deref(), Some("perhaps `loam run` is meant"));
        assert_eq!(meant("loam imags").as_deref(), Some("perhaps `loam images` or `loam image` is meant"));
        assert_eq!(meant("loam image histroy x").as_deref(), Some("perhaps `loam image history` is meant"));
        assert_eq!(meant("loam setle"), None, "a hidden command");
        assert_eq!((meant("loam frobnicate"), meant("loam rm")), (None, None));
    }

    #[test]
    fn a_command_alone_has_its_help_whatever_else_is_given() {
        let help = help(&error("loam --root /x")).expect("help");
        let help = anstream::adapter::strip_str(&help).to_string();
        assert!(help.contains("loam [OPTIONS] <COMMAND>") && help.contains("unpause"), "{help}");
        assert!(!help.contains("settle"), "{help}");
    }
}
