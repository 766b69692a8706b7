//! What people read when something went wrong, on standard error: `loam: `thing` went wrong: cause`, and a hint.

use std::io::Write;

use anstyle::{AnsiColor, Style};
use clap::CommandFactory;
use loam_model::{Failure, escaped};
use loam_sys::without_error_numbers;

use crate::arguments::Arguments;
use crate::exit::Exit;
use crate::mistake::{self, Said};
use crate::output;

const LABEL: Style = AnsiColor::Red.on_default().bold();
const WARNING: Style = AnsiColor::Yellow.on_default().bold();
const HINT: Style = AnsiColor::Cyan.on_default();

/// How clap ends what it says; our hint takes its place.
const POINTER: &str = "For more information, try '--help'.";

/// What the standard library says of a text that is no number, and what people understand.
const NUMBERS: [(&str, &str); 4] = [
    ("invalid digit found in string", "it is not a whole number"),
    ("cannot parse integer from empty string", "it is not a whole number"),
    ("number too large to fit in target type", "the number is too large"),
    ("number too small to fit in target type", "the number is too small"),
];

/// The flags that the environment may give, as clap shows them in a usage line.
fn from_environment() -> Vec<String> {
    let command = Arguments::command();
    let given = command.get_arguments().filter(|argument| argument.get_env().is_some());
    given
        .filter_map(|argument| {
            Some(format!(" --{} <{}>", argument.get_long()?, argument.get_value_names()?.first()?))
        })
        .collect()
}

/// Says what went wrong, and gives the exit code for it.
pub(crate) fn failure(failure: &Failure) -> Exit {
    if output::is_closed(failure) {
        return Exit::SUCCESS;
    }
    say(&format!("{LABEL}loam:{LABEL:#} {}", escaped(&failure.chain())));
    if let Some(text) = failure.hint_text() {
        hint(text);
    }
    Exit::of_failure(failure.kind())
}

/// Says that arguments make no sense, or prints the help that they ask for.
pub(crate) fn usage(error: &clap::Error) -> Exit {
    if !error.use_stderr() {
        // Help or the version: when nobody reads it, nobody misses it.
        drop(error.print());
        return Exit::SUCCESS;
    }
    if error.kind() == clap::error::ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        // As much as can be done for somebody who said nothing.
        drop(error.print());
        return Exit::ENGINE;
    }
    if let Some(help) = mistake::help(error) {
        // The same, where flags were given, or the environment gives some.
        say(&help);
        return Exit::ENGINE;
    }
    if let Some(Said { sentence, hint: next }) = mistake::not_there(error) {
        say(&format!("{LABEL}loam:{LABEL:#} {sentence}"));
        next.into_iter().for_each(hint);
        return Exit::ENGINE;
    }
    say(&format!("{LABEL}loam:{LABEL:#} {}", usage_text(error)));
    hint(mistake::meant(error).as_deref().unwrap_or("`--help` says more"));
    Exit::ENGINE
}

/// Says what can be done next.
pub(crate) fn hint(sentence: &str) {
    say(&format!("{HINT}hint:{HINT:#} {}", escaped(sentence)));
}

/// What clap says, without its own label and hint, without tips that are far-fetched, and without the flags that the
/// environment gave.
fn usage_text(error: &clap::Error) -> String {
    let text = error.render().to_string();
    let text = text.strip_prefix("error: ").unwrap_or(&text);
    let text = text.trim_end().trim_end_matches(POINTER).trim_end();
    let text = &NUMBERS.iter().fold(text.to_owned(), |text, (theirs, ours)| text.replace(theirs, ours));
    let unknown = quoted(text).unwrap_or_default();
    let mut said: Vec<String> = Vec::new();
    for line in text.lines() {
        let tip = line.trim_start().strip_prefix("tip: ");
        // Of commands there is a hint, which knows the hidden ones.
        let ours = error.kind() == clap::error::ErrorKind::InvalidSubcommand;
        let far_fetched =
            tip.is_some_and(|tip| ours || !quoted(tip).is_some_and(|known| is_typo(unknown, known)));
        let doubled = line.is_empty() && said.last().is_none_or(String::is_empty);
        if far_fetched || doubled {
            continue;
        }
        let usage = line.starts_with("Usage: ");
        let flags = if usage { from_environment() } else { Vec::new() };
        said.push(
            flags.iter().fold(escaped(line).into_owned(), |line, flag| line.replace(flag.as_str(), "")),
        );
    }
    said.join("\n").trim_end().to_owned()
}

/// The first text between single quotes.
fn quoted(text: &str) -> Option<&str> {
    text.split('\'').nth(1)
}

/// Whether somebody may have meant `known` by `unknown`: it begins like it and is about as long.
fn is_typo(unknown: &str, known: &str) -> bool {
    let name = |text: &str| text.trim_start_matches('-').split(' ').next().unwrap_or_default().to_owned();
    let (unknown, known) = (name(unknown), name(known));
    let same_begin = unknown.chars().next() == known.chars().next();
    same_begin && unknown != known && unknown.chars().count().abs_diff(known.chars().count()) <= 1
}

/// Says a sentence that is no failure.
pub(crate) fn warning(sentence: &str) {
    say(&format!("{WARNING}warning:{WARNING:#} {}", escaped(&without_error_numbers(sentence))));
}

/// Says what happens meanwhile, such as why it takes long.
pub(crate) fn notice(sentence: &str) {
    say(&notice_line(sentence));
}

/// The line of [`notice`], for those who have the terminal themselves.
pub(crate) fn notice_line(sentence: &str) -> String {
    format!("{HINT}note:{HINT:#} {}", escaped(&without_error_numbers(sentence)))
}

/// Says something that is neither data nor a failure.
pub(crate) fn note(sentence: &str) {
    say(&escaped(sentence));
}

fn say(line: &str) {
    // Nothing can be done when even this can't be said.
    drop(writeln!(anstream::stderr().lock(), "{line}"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_happens_meanwhile_is_told_from_everything_else() {
        let said = format!("`r\u{1b}:5000` can't be reached: {}", std::io::Error::from_raw_os_error(111));
        let line = anstream::adapter::strip_str(&notice_line(&said)).to_string();
        assert_eq!(line, "note: `r\\u{1b}:5000` can't be reached: Connection refused");
    }

    #[test]
    fn wrong_arguments_are_named_in_a_sentence() {
        use clap::Parser;
        let said = |line: &[&str]| {
            usage_text(&crate::arguments::Arguments::try_parse_from(line).expect_err("makes no sense"))
        };
        insta::assert_snapshot!(said(&["loam", "run", "-m", "5x", "hello"]), @r"
        invalid value '5x' for '--memory <SIZE>': the unit must be one of b, k, m, g, t, p
        ");
        insta::assert_snapshot!(said(&["loam", "run", "-m", "1k", "hello"]), @r"
        invalid value '1k' for '--memory <SIZE>': it is less than 6 MiB, with which no program starts
        ");
        insta::assert_snapshot!(said(&["loam", "run", "--storage-opt", "size=1", "hello"]), @r"
        invalid value 'size=1' for '--storage-opt <OPTION>': the least is 1 MiB
        ");
        insta::assert_snapshot!(said(&["loam", "run", "--pids-limit", "x", "hello"]), @r"
        invalid value 'x' for '--pids-limit <NUMBER>': it is neither a number of processes nor -1 for no limit
        ");
        insta::assert_snapshot!(said(&["loam", "run", "--stop-timeout", "soon", "hello"]), @r"
        invalid value 'soon' for '--stop-timeout <SECONDS>': it is not a whole number
        ");
        insta::assert_snapshot!(said(&["loam", "exec"]), @r"
        the following required arguments were not provided:
          <CONTAINER> <PROGRAM>...

        Usage: loam exec [OPTIONS] CONTAINER PROGRAM [ARGUMENT]...
        ");
        insta::assert_snapshot!(said(&["loam", "run", "-p", "80:80/sctp", "hello"]), @r"
        invalid value '80:80/sctp' for '--publish <[[ADDRESS:]HOST:]CONTAINER[/PROTOCOL]>': the protocol `sctp` can't be published, only tcp and udp
        ");
        insta::assert_snapshot!(said(&["loam", "--root", "/x", "rm"]), @r"
        the following required arguments were not provided:
          <CONTAINER>...

        Usage: loam rm <CONTAINER>...
        ");
        insta::assert_snapshot!(said(&["loam", "run", "--frob", "hello"]), @r"
        unexpected argument '--frob' found

        Usage: loam run [OPTIONS] IMAGE [COMMAND]...
        ");
        insta::assert_snapshot!(said(&["loam", "run", "--naem", "x", "hello"]), @r"
        unexpected argument '--naem' found

          tip: a similar argument exists: '--name'

        Usage: loam run [OPTIONS] IMAGE [COMMAND]...
        ");
        insta::assert_snapshot!(said(&["loam", "frob\u{1b}[2J"]), @r"
        unrecognized subcommand 'frob'

        Usage: loam [OPTIONS] <COMMAND>
        ");
    }
}
