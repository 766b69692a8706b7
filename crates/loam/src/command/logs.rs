//! `loam logs`.

use std::io::{self, BufWriter, Write};

use clap::Args;
use jiff::Timestamp;
use loam_engine::{LogLine, LogOptions, LogStream};
use loam_model::{ErrorKind, Failure};

use super::Outcome;
use crate::exit::Exit;
use crate::flags::parse_since;
use crate::output;
use crate::wiring::Wiring;

/// The flags of `logs`.
#[derive(Args, Debug)]
pub(crate) struct Logs {
    /// Go on with what is written later, until the container ends
    #[arg(short, long)]
    follow: bool,
    /// Only the last so many lines, or all
    #[arg(short = 'n', long, value_name = "LINES", default_value = "all", value_parser = tail,
        allow_negative_numbers = true)]
    tail: Tail,
    /// Only what was written since a time, or so long ago: 2026-01-31T12:00:00Z, 2026-01-31 (UTC), 10m
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Print when each line was written
    #[arg(short, long)]
    timestamps: bool,
    /// A name or id
    container: String,
}

/// How many lines; clap takes an `Option` as a sign of an optional flag.
#[derive(Clone, Copy, Debug)]
struct Tail(Option<u64>);

fn tail(text: &str) -> Result<Tail, String> {
    match text {
        "all" | "-1" => Ok(Tail(None)),
        text => text.parse().map(|lines| Tail(Some(lines))).map_err(|_| "it is a number, or all".to_owned()),
    }
}

impl Logs {
    pub(super) fn run(self, wiring: &Wiring) -> Outcome {
        let since = self.since.as_deref().map(|text| parse_since(text, Timestamp::now())).transpose();
        let since = since.map_err(|sentence| Failure::new(ErrorKind::Invalid, sentence))?;
        let options = LogOptions { follow: self.follow, since, tail: self.tail.0 };
        let lines = wiring.engine()?.logs(&self.container, options)?;
        let mut printer = Printer {
            out: BufWriter::new(io::stdout().lock()),
            err: BufWriter::new(io::stderr().lock()),
            timestamps: self.timestamps,
            begun: [false; 2],
        };
        for line in lines {
            printer.print(&line?).map_err(output::failure)?;
            if self.follow {
                printer.flush().map_err(output::failure)?;
            }
        }
        printer.flush().map_err(output::failure)?;
        Ok(Exit::SUCCESS)
    }
}

/// Prints lines where they were written to.
struct Printer<O: Write, E: Write> {
    out: O,
    err: E,
    timestamps: bool,
    /// Whether a partial line of the stream was printed last.
    begun: [bool; 2],
}

impl<O: Write, E: Write> Printer<O, E> {
    fn print(&mut self, line: &LogLine) -> io::Result<()> {
        // What goes to one stream must not overtake what went to the other where both end in the same place.
        let (stream, begun): (&mut dyn Write, &mut bool) = match line.stream {
            LogStream::Stdout => {
                self.err.flush()?;
                (&mut self.out, &mut self.begun[0])
            }
            LogStream::Stderr => {
                self.out.flush()?;
                (&mut self.err, &mut self.begun[1])
            }
        };
        if self.timestamps && !*begun {
            write!(stream, "{} ", line.time)?;
        }
        stream.write_all(&line.data)?;
        *begun = line.partial;
        if line.partial { Ok(()) } else { stream.write_all(b"\n") }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()?;
        self.err.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_a_line_are_joined_and_stamped_once() {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let mut printer = Printer { out: &mut out, err: &mut err, timestamps: true, begun: [false; 2] };
        let time: Timestamp = "2026-01-31T12:00:00Z".parse().expect("a time");
        for (stream, partial, data) in [
            (LogStream::Stdout, true, "a"),
            (LogStream::Stderr, false, "e"),
            (LogStream::Stdout, false, "b"),
            (LogStream::Stdout, false, ""),
        ] {
            let line = LogLine { time, stream, partial, data: data.as_bytes().to_vec() };
            printer.print(&line).expect("vectors take all");
        }
        let out = String::from_utf8(out).expect("UTF-8");
        assert_eq!(out, "2026-01-31T12:00:00Z ab\n2026-01-31T12:00:00Z \n");
        assert_eq!(err, b"2026-01-31T12:00:00Z e\n");
    }
}
