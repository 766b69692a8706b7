//! The files of a log: in which order they are read, and where the last lines begin.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::{self, Seek, SeekFrom};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;

use loam_model::Result;

use super::line::ends_line;
use super::open;
use crate::directories::failure;

/// How much is read at once from the end.
const CHUNK: usize = 64 * 1024;

/// As much of a line as holds its first three fields.
const BEGINNING: usize = 64;

/// One file of a log, open where reading shall go on.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) file: File,
}

/// How a rotated file is named after the dot: numbers grow with age, times with youth.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Age {
    Time(String),
    Number(std::cmp::Reverse<u64>),
}

/// Opens all files of the log, the oldest first.
pub(super) fn parts(log: &Path) -> Result<VecDeque<Part>> {
    let mut rotated = Vec::new();
    let name = log.file_name().unwrap_or_default().to_string_lossy();
    let directory = log.parent().unwrap_or(Path::new("."));
    let entries = match fs::read_dir(directory) {
        Ok(entries) => Some(entries),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(failure(directory, "can't be read", error)),
    };
    for entry in entries.into_iter().flatten().flatten() {
        let file = entry.file_name();
        if let Some(suffix) =
            file.to_string_lossy().strip_prefix(&*name).and_then(|rest| rest.strip_prefix('.'))
            && let Some(age) = age(suffix)
        {
            rotated.push((age, entry.path()));
        }
    }
    rotated.sort();
    let mut parts = VecDeque::new();
    for path in rotated.iter().map(|(_, path)| path.as_path()).chain([log]) {
        parts.extend(open(path)?.map(|file| Part { file }));
    }
    Ok(parts)
}

fn age(suffix: &str) -> Option<Age> {
    if let Ok(number) = suffix.parse() {
        return Some(Age::Number(std::cmp::Reverse(number)));
    }
    // Kubelet's are like 20261126-210000; compressed ones, which end in a word, are not read.
    let is_time =
        !suffix.is_empty() && suffix.bytes().all(|byte| byte.is_ascii_digit() || b"-TZ:.".contains(&byte));
    is_time.then(|| Age::Time(suffix.to_owned()))
}

/// Opens the log anew when the file of this name is no longer the current one.
pub(super) fn replacement(log: &Path, current: Option<&Part>) -> Result<Option<Part>> {
    let Some(file) = open(log)? else { return Ok(None) };
    let identity = |file: &File| file.metadata().map(|metadata| (metadata.dev(), metadata.ino()));
    let failed = |error| failure(log, "can't be examined", error);
    let is_same = match current {
        Some(part) => identity(&part.file).map_err(failed)? == identity(&file).map_err(failed)?,
        None => false,
    };
    Ok((!is_same).then_some(Part { file }))
}

/// Drops what comes before the last `wanted` lines of the program.
pub(super) fn skip_to_tail(parts: &mut VecDeque<Part>, wanted: u64) -> io::Result<()> {
    let mut missing = wanted;
    for index in (0..parts.len()).rev() {
        let (found, offset) = tail_of(&parts[index].file, missing)?;
        missing -= found;
        if missing == 0 {
            parts[index].file.seek(SeekFrom::Start(offset))?;
            parts.drain(..index);
            return Ok(());
        }
    }
    Ok(())
}

/// How many of the last `wanted` lines of the program this file has, and where the first of them begins.
fn tail_of(file: &File, wanted: u64) -> io::Result<(u64, u64)> {
    let end = file.metadata()?.len();
    if wanted == 0 {
        return Ok((0, end));
    }
    let mut found = 0;
    // Where the earliest line that belongs to the tail begins, and where the line after what is looked at begins.
    let mut begin = end;
    let mut next = end;
    let mut position = end;
    let mut chunk = vec![0; CHUNK];
    loop {
        let length = usize::try_from(position).map_or(CHUNK, |position| position.min(CHUNK));
        position -= length as u64;
        file.read_exact_at(&mut chunk[..length], position)?;
        // The bytes before which a line begins: every line feed, and the beginning of the file.
        let feeds = chunk[..length].iter().enumerate().rev().filter(|(_, byte)| **byte == b'\n');
        let mut starts: Vec<u64> = feeds.map(|(index, _)| position + index as u64 + 1).collect();
        if position == 0 {
            starts.push(0);
        }
        for start in starts {
            if start == next {
                continue;
            }
            if ends_line(&beginning(file, start, next)?) {
                if found == wanted {
                    return Ok((found, begin));
                }
                found += 1;
            }
            // Beginnings of the same program's line come before its end.
            begin = start;
            next = start;
        }
        if position == 0 {
            return Ok((found, begin));
        }
    }
}

fn beginning(file: &File, start: u64, end: u64) -> io::Result<Vec<u8>> {
    let length = usize::try_from(end - start).map_or(BEGINNING, |length| length.min(BEGINNING));
    let mut bytes = vec![0; length];
    file.read_exact_at(&mut bytes, start)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    fn log_of(lines: &[&str]) -> (tempfile::TempDir, std::path::PathBuf) {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("log");
        let text: String =
            lines.iter().map(|line| format!("2026-11-26T21:00:00.000000000Z stdout {line}\n")).collect();
        fs::write(&path, text).expect("written");
        (directory, path)
    }

    fn rest(parts: &mut VecDeque<Part>) -> String {
        let mut text = String::new();
        for part in parts {
            part.file.read_to_string(&mut text).expect("read");
        }
        text.lines().map(|line| line.rsplit(' ').next().unwrap_or_default()).collect::<Vec<_>>().join(",")
    }

    #[test]
    fn the_tail_counts_the_lines_of_the_program() {
        let (_directory, path) = log_of(&["F a", "P b1", "P b2", "F b3", "F c"]);
        for (wanted, expected) in
            [(0, ""), (1, "c"), (2, "b1,b2,b3,c"), (3, "a,b1,b2,b3,c"), (9, "a,b1,b2,b3,c")]
        {
            let mut parts = parts(&path).expect("opened");
            skip_to_tail(&mut parts, wanted).expect("skipped");
            assert_eq!(rest(&mut parts), expected, "{wanted}");
        }
    }

    #[test]
    fn the_tail_reaches_over_chunks() {
        let long = format!("F {}", "x".repeat(40_000));
        let (_directory, path) = log_of(&["F a", &long, "F b", &long, "F c"]);
        let mut parts = parts(&path).expect("opened");
        skip_to_tail(&mut parts, 3).expect("skipped");
        assert!(rest(&mut parts).starts_with("b,x"));
    }

    #[test]
    fn rotated_files_come_first_the_oldest_before() {
        let (directory, path) = log_of(&["F now"]);
        let line = |word: &str| format!("2026-11-26T21:00:00Z stdout F {word}\n");
        for (name, word) in [
            ("log.1", "young"),
            ("log.2", "older"),
            ("log.10", "oldest"),
            ("log.3.gz", "packed"),
            ("logs", "other"),
            ("lock", "lock"),
        ] {
            fs::write(directory.path().join(name), line(word)).expect("written");
        }
        let mut all = parts(&path).expect("opened");
        assert_eq!(rest(&mut all), "oldest,older,young,now");
        let mut tail = parts(&path).expect("opened");
        skip_to_tail(&mut tail, 2).expect("skipped");
        assert_eq!(rest(&mut tail), "young,now");
    }

    #[test]
    fn a_log_that_was_never_written_is_empty() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        assert!(parts(&directory.path().join("none/log")).expect("no failure").is_empty());
    }
}
