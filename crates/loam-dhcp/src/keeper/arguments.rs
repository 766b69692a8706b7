//! The command line, with the words of the reference plugin's daemon: `-name value`, `-name=value`, with one or two dashes
//! (Go's package `flag`), durations as `1m30s`.

use std::path::PathBuf;
use std::time::Duration;

use crate::client::Patience;
use crate::place::View;

/// What there is to say about it.
pub(super) const HELP: &str = "\
Usage: loam-cni dhcp daemon [OPTIONS]

Keeps the DHCP leases of containers for the dhcp plugin. The plugin starts one by itself when nobody listens.

  -socketpath PATH         where to listen (/run/cni/dhcp.sock), unless systemd hands a socket over
  -pidfile PATH            an absolute path to write the process id to
  -hostprefix PATH         what is put before paths of the host
  -broadcast               ask servers to answer to all
  -timeout DURATION        how long a server may take to confirm what it offered (10s)
  -resendmax DURATION      the longest pause between two tries (62s)
  -resendtimeout DURATION  how long a server is waited for (100s at most)
";

/// The arguments of a keeper.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Arguments {
    pub(super) socket: PathBuf,
    pub(super) pid_file: Option<PathBuf>,
    pub(super) host_prefix: Option<PathBuf>,
    pub(super) broadcast: bool,
    pub(super) patience: Patience,
}

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Wish {
    Help,
    /// In the foreground, for as long as nobody ends it.
    Daemon(Arguments),
    /// In the background, with the last lease as its end.
    Keep(Arguments),
    /// The process in the background itself.
    Background(Arguments),
}

impl Default for Arguments {
    fn default() -> Self {
        Self {
            socket: "/run/cni/dhcp.sock".into(),
            pid_file: None,
            host_prefix: None,
            broadcast: false,
            patience: Patience {
                answer: Duration::from_secs(10),
                between: Duration::from_secs(62),
                lease: Duration::from_secs(208),
            },
        }
    }
}

impl Arguments {
    /// Reads the words after the plugin's name.
    pub(super) fn parse(words: &[String]) -> Result<Wish, String> {
        let Some((command, words)) = words.split_first() else { return Ok(Wish::Help) };
        let mut arguments = Self::default();
        let mut words = words.iter();
        while let Some(word) = words.next() {
            let shown = word.escape_default();
            let name = word.strip_prefix("--").or_else(|| word.strip_prefix('-'));
            let name = name.ok_or_else(|| format!("argument `{shown}` is not expected"))?;
            let (name, given) = match name.split_once('=') {
                Some((name, value)) => (name, Some(value.to_owned())),
                None => (name, None),
            };
            if matches!(name, "h" | "help") {
                return Ok(Wish::Help);
            }
            if name == "broadcast" {
                arguments.broadcast = truth(given.as_deref().unwrap_or("true"))
                    .ok_or_else(|| format!("`{shown}` is neither true nor false"))?;
                continue;
            }
            if !["pidfile", "hostprefix", "socketpath", "timeout", "resendmax", "resendtimeout"]
                .contains(&name)
            {
                return Err(format!("option `{shown}` is not known"));
            }
            let value = given.or_else(|| words.next().cloned());
            let value = value.ok_or_else(|| format!("option `{shown}` needs a value"))?;
            arguments.set(name, value)?;
        }
        arguments.socket = View::beneath(arguments.host_prefix.as_deref(), &arguments.socket);
        if !arguments.socket.is_absolute() {
            return Err(format!("`-socketpath` `{}` is not an absolute path", arguments.socket.display()));
        }
        Ok(match command.as_str() {
            "keep" => Wish::Keep(arguments),
            "background" => Wish::Background(arguments),
            _ => Wish::Daemon(arguments),
        })
    }

    fn set(&mut self, name: &str, value: String) -> Result<(), String> {
        let time = |value: &str| {
            duration(value).ok_or_else(|| {
                format!("`-{name}` `{}` is no duration such as 10s or 1m30s", value.escape_default())
            })
        };
        let path = |value: String| (!value.is_empty()).then(|| PathBuf::from(value));
        match name {
            "pidfile" => {
                self.pid_file = path(value);
                if let Some(path) = self.pid_file.as_ref().filter(|path| !path.is_absolute()) {
                    return Err(format!("Error writing pidfile `{}`: path not absolute", path.display()));
                }
            }
            "hostprefix" => self.host_prefix = path(value),
            "socketpath" => self.socket = path(value).unwrap_or_else(|| Self::default().socket),
            "timeout" => self.patience.answer = time(&value)?,
            "resendmax" => self.patience.between = time(&value)?,
            _ => self.patience.lease = time(&value)?,
        }
        Ok(())
    }
}

/// As Go's `strconv.ParseBool` reads it.
fn truth(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

/// As Go's `time.ParseDuration` reads it, in whole parts: `90s`, `1m30s`, `500ms`, `0`.
fn duration(text: &str) -> Option<Duration> {
    if text == "0" {
        return Some(Duration::ZERO);
    }
    let mut rest = text;
    let mut whole = Duration::ZERO;
    while !rest.is_empty() {
        let digits = rest.find(|character: char| !character.is_ascii_digit())?;
        let (number, after) = rest.split_at(digits);
        let number: u32 = number.parse().ok()?;
        let end = after.find(|character: char| character.is_ascii_digit()).unwrap_or(after.len());
        let (unit, after) = after.split_at(end);
        let unit = match unit {
            "ms" => Duration::from_millis(1),
            "s" => Duration::from_secs(1),
            "m" => Duration::from_secs(60),
            "h" => Duration::from_secs(3600),
            _ => return None,
        };
        whole = whole.checked_add(unit.checked_mul(number)?)?;
        rest = after;
    }
    // More than a year is a slip, and moments are counted in sums of these.
    (!text.is_empty() && whole < Duration::from_secs(366 * 24 * 3600)).then_some(whole)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Wish, String> {
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        Arguments::parse(&words)
    }

    #[test]
    fn the_words_are_those_of_the_reference() {
        assert_eq!(parse("daemon"), Ok(Wish::Daemon(Arguments::default())));
        let wanted = Arguments {
            socket: "/host/x/d.sock".into(),
            pid_file: Some("/run/p".into()),
            host_prefix: Some("/host".into()),
            broadcast: true,
            patience: Patience {
                answer: Duration::from_secs(3),
                between: Duration::from_millis(90_500),
                lease: Duration::ZERO,
            },
        };
        let line = "daemon -pidfile /run/p --hostprefix=/host -socketpath /x/d.sock -broadcast -timeout 3s \
                    -resendmax=1m30s500ms -resendtimeout 0";
        assert_eq!(parse(line), Ok(Wish::Daemon(wanted)));
        assert_eq!(parse("daemon -broadcast=false"), Ok(Wish::Daemon(Arguments::default())));
        assert_eq!(parse("daemon -h"), Ok(Wish::Help));
        assert!(matches!(parse("keep -socketpath /x"), Ok(Wish::Keep(_))));
    }

    #[test]
    fn wrong_words_are_named() {
        for (line, named) in [
            ("daemon now", "now"),
            ("daemon -colour red", "-colour"),
            ("daemon -pidfile", "-pidfile"),
            ("daemon -pidfile run/p", "path not absolute"),
            ("daemon -socketpath d.sock", "d.sock"),
            ("daemon -timeout 10", "`10`"),
            ("daemon -timeout 1w", "`1w`"),
            ("daemon -timeout -1s", "`-1s`"),
            ("daemon -resendmax 9999999h", "9999999h"),
            ("daemon -broadcast=maybe", "maybe"),
        ] {
            let told = parse(line).expect_err("refused");
            assert!(told.contains(named), "{line}: {told}");
        }
    }
}
