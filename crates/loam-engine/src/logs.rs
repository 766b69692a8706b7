//! Reading containers' logs: files in the CRI log format, written by shims.
//!
//! ```text
//! containers/ID/log      what is written to now
//! containers/ID/log.1    rotated away; log.2 is older, and log.TIME, as kubelet names them, older than a later TIME
//! ```
//!
//! A shim may be writing while this reads, and may have been killed while writing: a last line without its end is
//! waited for when following, and else given as far as it goes.

mod files;
mod follow;
mod line;

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read};
use std::path::PathBuf;

use loam_model::Result;

use self::files::Part;
use self::follow::Follow;
pub use self::line::{LogLine, LogStream};
use crate::Engine;
use crate::directories::failure;

/// How much is read at once.
const CHUNK: usize = 64 * 1024;

/// No shim writes longer lines; what is longer is dropped.
const LINE_LIMIT: usize = 1024 * 1024;

/// Which part of a log is wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogOptions {
    /// Whether to go on, as long as the container runs, when all that is there has been read.
    pub follow: bool,
    /// Only what was written at or after this time.
    pub since: Option<jiff::Timestamp>,
    /// Only the last so many lines of what is there.
    pub tail: Option<u64>,
}

/// Gives the lines of a log, the oldest first. With `follow` it blocks until there are more, and ends when the
/// container has.
#[derive(Debug)]
pub struct LogReader {
    path: PathBuf,
    parts: VecDeque<Part>,
    current: Option<Part>,
    buffer: Vec<u8>,
    /// Where the first line that was not given yet begins in the buffer.
    consumed: usize,
    since: Option<jiff::Timestamp>,
    follow: Option<Follow>,
}

impl Engine {
    /// Reads what a container wrote to its standard output and standard error.
    pub fn logs(&self, name: &str, options: LogOptions) -> Result<LogReader> {
        let record = self.find(name)?;
        let path = self.log_path(&record.id);
        // Watched before it is read, so that nothing is missed in between.
        let follow = match options.follow && record.state.is_live() {
            true => Some(Follow::begin(self, &record, &path)?),
            false => None,
        };
        let mut parts = files::parts(&path)?;
        if let Some(lines) = options.tail {
            files::skip_to_tail(&mut parts, lines).map_err(|error| failure(&path, "can't be read", error))?;
        }
        Ok(LogReader {
            path,
            parts,
            current: None,
            buffer: Vec::new(),
            consumed: 0,
            since: options.since,
            follow,
        })
    }
}

impl LogReader {
    fn next_line(&mut self) -> Result<Option<LogLine>> {
        loop {
            while let Some(line) = self.buffered_line() {
                if self.is_wanted(&line) {
                    return Ok(Some(line));
                }
            }
            if self.read_more().map_err(|error| failure(&self.path, "can't be read", error))? {
                continue;
            }
            // The end of this file: a line that begins here has no end, or not yet.
            if self.parts.is_empty() && self.await_more()? {
                continue;
            }
            if let Some(line) = self.unfinished_line()
                && self.is_wanted(&line)
            {
                return Ok(Some(line));
            }
            self.current = self.parts.pop_front();
            if self.current.is_none() {
                return Ok(None);
            }
        }
    }

    fn is_wanted(&self, line: &LogLine) -> bool {
        self.since.is_none_or(|since| line.time >= since)
    }

    /// The next whole line in the buffer that makes sense.
    fn buffered_line(&mut self) -> Option<LogLine> {
        loop {
            let rest = &self.buffer[self.consumed..];
            let end = rest.iter().position(|byte| *byte == b'\n')?;
            let line = line::parse(&rest[..end]);
            self.consumed += end + 1;
            if line.is_some() {
                return line;
            }
        }
    }

    /// What is there of a line whose end was never written.
    fn unfinished_line(&mut self) -> Option<LogLine> {
        let line = line::parse(&self.buffer[self.consumed..]);
        self.buffer.clear();
        self.consumed = 0;
        line.map(|line| LogLine { partial: true, ..line })
    }

    /// Reads on in the current file; `false` at its end.
    fn read_more(&mut self) -> io::Result<bool> {
        let Some(part) = &mut self.current else { return Ok(false) };
        self.buffer.drain(..self.consumed);
        self.consumed = 0;
        if self.buffer.len() > LINE_LIMIT {
            self.buffer.clear();
        }
        let filled = self.buffer.len();
        self.buffer.resize(filled + CHUNK, 0);
        let read = part.file.read(&mut self.buffer[filled..]);
        self.buffer.truncate(filled + *read.as_ref().unwrap_or(&0));
        Ok(read? > 0)
    }

    /// When following, waits until there may be more to read; `false` when nothing more will come.
    fn await_more(&mut self) -> Result<bool> {
        let Some(follow) = &mut self.follow else { return Ok(false) };
        if let Some(part) = files::replacement(&self.path, self.current.as_ref())? {
            // The old file has been read to its end after the new one was there.
            self.parts.push_back(part);
            return Ok(self.current.is_some()
                && self.read_more().map_err(|e| failure(&self.path, "can't be read", e))?);
        }
        follow.wait()
    }
}

impl Iterator for LogReader {
    type Item = Result<LogLine>;

    fn next(&mut self) -> Option<Result<LogLine>> {
        let result = self.next_line();
        if result.is_err() {
            self.current = None;
            self.parts.clear();
            self.follow = None;
        }
        result.transpose()
    }
}

/// Opens a file of a log; `None` when it is not there (any more).
fn open(path: &std::path::Path) -> Result<Option<File>> {
    match File::open(path) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failure(path, "can't be opened", error)),
    }
}
