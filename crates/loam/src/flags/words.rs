//! Words and small texts: signals, host names, command lines, files that are read whole.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use loam_model::{ErrorKind, Failure, shown};

use super::Parsed;

/// More than any file of settings holds, in bytes.
const FILE_LIMIT: u64 = 4 << 20;

/// Parses a signal: `TERM`, `SIGTERM` or `15`.
pub(crate) fn signal(text: &str) -> Parsed<i32> {
    loam_engine::signal_number(text).ok_or_else(|| "there is no such signal".to_owned())
}

/// Checks that a text is a signal.
pub(super) fn signal_text(text: &str) -> Parsed<String> {
    signal(text).map(|_| text.to_owned())
}

/// Parses `--entrypoint`: a program, or a JSON list of words; empty drops the image's.
pub(crate) fn entrypoint(text: &str) -> Parsed<Vec<String>> {
    if text.is_empty() {
        return Ok(Vec::new());
    }
    if text.starts_with('[') {
        return serde_json::from_str(text)
            .map_err(|_| format!("`{}` is no list of words in JSON, such as [\"sh\",\"-c\"]", shown(text)));
    }
    Ok(vec![text.to_owned()])
}

/// Parses `--oom-score-adj`.
pub(super) fn oom_score(text: &str) -> Parsed<i32> {
    let score = text.parse().ok().filter(|score| (-1000..=1000).contains(score));
    score.ok_or_else(|| "a score is a number from -1000 to 1000".to_owned())
}

/// Reads a file that holds text, of 4 MiB at most.
pub(crate) fn read_text(what: &str, path: &Path) -> Result<String, Failure> {
    let failed = |kind| Failure::new(kind, format!("the {what} `{}` can't be read", path.display()));
    let mut text = String::new();
    let read = File::open(path).and_then(|file| file.take(FILE_LIMIT + 1).read_to_string(&mut text));
    match read {
        Ok(length) if length as u64 > FILE_LIMIT => {
            Err(failed(ErrorKind::Invalid).caused_by(format!("it is larger than {} MiB", FILE_LIMIT >> 20)))
        }
        Ok(_) => Ok(text),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            Err(failed(ErrorKind::NotFound).caused_by(error))
        }
        Err(error) => Err(failed(ErrorKind::Invalid).caused_by(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entrypoint_is_a_program_or_a_list() {
        for (text, expected) in
            [("", &[][..]), ("sh -c", &["sh -c"][..]), ("[\"sh\", \"-c\"]", &["sh", "-c"][..])]
        {
            assert_eq!(entrypoint(text).expect("valid"), expected, "{text}");
        }
        assert!(entrypoint("[sh]").is_err());
    }

    #[test]
    fn a_file_is_text_that_is_not_too_large() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("file");
        let refused = || read_text("file", &path).expect_err("refused");
        assert_eq!(refused().kind(), ErrorKind::NotFound);
        std::fs::write(&path, "text").expect("written");
        assert_eq!(read_text("file", &path).expect("read"), "text");
        std::fs::File::create(&path).and_then(|file| file.set_len(FILE_LIMIT + 1)).expect("made");
        assert!(refused().chain().ends_with("can't be read: it is larger than 4 MiB"));
        std::fs::write(&path, b"\xff").expect("written");
        assert_eq!(refused().kind(), ErrorKind::Invalid);
    }
}
