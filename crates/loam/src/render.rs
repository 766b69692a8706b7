//! What people read when something went wrong, on standard error: `loam: `thing` went wrong: cause`, and a hint.

use std::io::Write;

use anstyle::{AnsiColor, Style};
use loam_model::{Failure, escaped};

use crate::exit::Exit;
use crate::output;

const LABEL: Style = AnsiColor::Red.on_default().bold();
const WARNING: Style = AnsiColor::Yellow.on_default().bold();
const HINT: Style = AnsiColor::Cyan.on_default();

/// How clap ends what it says; our hint takes its place.
const POINTER: &str = "For more information, try '--help'.";

/// Says what went wrong, and gives the exit code for it.
pub(crate) fn failure(failure: &Failure) -> Exit {
    if output::is_closed(failure) {
        return Exit::SUCCESS;
    }
    say(&format!("{LABEL}loam:{LABEL:#} {}", escaped(&failure.chain())));
    if let Some(hint) = failure.hint_text() {
        say(&format!("{HINT}hint:{HINT:#} {}", escaped(hint)));
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
    say(&format!("{LABEL}loam:{LABEL:#} {}", usage_text(error)));
    say(&format!("{HINT}hint:{HINT:#} `--help` says more"));
    Exit::ENGINE
}

/// What clap says, without its own label and hint.
fn usage_text(error: &clap::Error) -> String {
    let text = error.render().to_string();
    let text = text.strip_prefix("error: ").unwrap_or(&text);
    let text = text.trim_end().trim_end_matches(POINTER).trim_end();
    text.lines().map(escaped).collect::<Vec<_>>().join("\n")
}

/// Says a sentence that is no failure.
pub(crate) fn warning(sentence: &str) {
    say(&format!("{WARNING}warning:{WARNING:#} {}", escaped(sentence)));
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
    fn wrong_arguments_are_named_in_a_sentence() {
        use clap::Parser;
        let said = |line: &[&str]| {
            usage_text(&crate::arguments::Arguments::try_parse_from(line).expect_err("makes no sense"))
        };
        insta::assert_snapshot!(said(&["loam", "run", "-m", "5x", "hello"]), @r"
        invalid value '5x' for '--memory <SIZE>': the unit must be one of b, k, m, g, t, p
        ");
        insta::assert_snapshot!(said(&["loam", "run", "-p", "80:80/sctp", "hello"]), @r"
        invalid value '80:80/sctp' for '--publish <[[ADDRESS:]HOST:]CONTAINER[/PROTOCOL]>': the protocol `sctp` can't be published, only tcp and udp
        ");
        insta::assert_snapshot!(said(&["loam", "frob\u{1b}[2J"]), @r"
        unrecognized subcommand 'frob'

        Usage: loam [OPTIONS] <COMMAND>
        ");
    }
}
