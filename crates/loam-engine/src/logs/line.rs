//! One line of the CRI log format: `TIME STREAM TAGS CONTENT`.

/// Which stream a line came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LogStream {
    /// Standard output; with a terminal, everything.
    Stdout,
    /// Standard error.
    Stderr,
}

/// One line of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLine {
    /// When it was written.
    pub time: jiff::Timestamp,
    /// Where it came from.
    pub stream: LogStream,
    /// Whether the program's line goes on in the next of the same stream; if not, a line feed follows the data.
    pub partial: bool,
    /// What the program wrote, without the line feed.
    pub data: Vec<u8>,
}

/// Reads a line; `None` when it is not one.
pub(super) fn parse(line: &[u8]) -> Option<LogLine> {
    let mut fields = line.splitn(4, |byte| *byte == b' ');
    let time = std::str::from_utf8(fields.next()?).ok()?.parse().ok()?;
    let stream = match fields.next()? {
        b"stdout" => LogStream::Stdout,
        b"stderr" => LogStream::Stderr,
        _ => return None,
    };
    // More tags may come, after colons.
    let partial = match fields.next()?.split(|byte| *byte == b':').next()? {
        b"F" => false,
        b"P" => true,
        _ => return None,
    };
    Some(LogLine { time, stream, partial, data: fields.next().unwrap_or_default().to_vec() })
}

/// Whether the line that begins so ends a line of the program. Reads no more than the first three fields.
pub(super) fn ends_line(beginning: &[u8]) -> bool {
    let tag = beginning.splitn(4, |byte| *byte == b' ').nth(2);
    tag.is_none_or(|tag| !tag.starts_with(b"P"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn lines_are_told_apart() {
        let line = parse(b"2026-11-26T21:00:00.123456789Z stderr P a b  c").expect("a line");
        assert_eq!(
            (line.stream, line.partial, line.data.as_slice()),
            (LogStream::Stderr, true, &b"a b  c"[..])
        );
        assert_eq!(line.time.to_string(), "2026-11-26T21:00:00.123456789Z");
        let empty = parse(b"2026-11-26T21:00:00+01:00 stdout F:X ").expect("a line");
        assert_eq!((empty.partial, empty.data.len()), (false, 0));
        for bad in [
            &b""[..],
            b"2026-11-26T21:00:00Z",
            b"2026-11-26T21:00:00Z stdout",
            b"2026-11-26T21:00:00Z stdlog F x",
            b"2026-11-26T21:00:00Z stdout Q x",
            b"yesterday stdout F x",
            b"\xff stdout F x",
        ] {
            assert_eq!(parse(bad), None, "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn nothing_makes_the_parser_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            parse(&bytes);
            ends_line(&bytes);
        }
    }
}
