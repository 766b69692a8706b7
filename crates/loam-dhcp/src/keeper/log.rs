//! What a keeper tells of its work: to standard error, or to a file of limited length when nobody is there.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::PathBuf;

use loam_sys::without_error_numbers;

/// The length from which a file is put aside.
const LONG: u64 = 64 << 10;

/// Where lines go. One that can't be written is lost: leases are kept all the same.
pub(super) enum Log<'a> {
    /// To the one who called.
    Caller(&'a mut dyn Write),
    /// To a file, whose predecessor is kept as `PATH.old`.
    File(PathBuf),
}

impl Log<'_> {
    /// Writes a line.
    pub(super) fn line(&mut self, text: &str) {
        let text = without_error_numbers(text);
        let text: String = text.split_inclusive(['\'', '"']).map(shown).collect();
        match self {
            Log::Caller(writer) => drop(writeln!(writer, "{text}")),
            Log::File(path) => {
                if fs::metadata(&*path).is_ok_and(|found| found.len() > LONG) {
                    drop(fs::rename(&*path, path.with_extension("old")));
                }
                let seconds = super::run::now().as_secs();
                let file: Result<File, _> = OpenOptions::new().create(true).append(true).open(&*path);
                drop(file.and_then(|mut file| writeln!(file, "[{seconds}] {text}")));
            }
        }
    }
}

/// A part of a line, with what would act on a terminal escaped, and the quotation mark at its end as it is.
fn shown(part: &str) -> String {
    let quoted = part.strip_suffix(['\'', '"']).unwrap_or(part);
    format!("{}{}", quoted.escape_debug(), &part[quoted.len()..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_does_not_grow_without_end() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("log");
        let mut log = Log::File(path.clone());
        for _ in 0..5000 {
            log.line("a line of some length, as they are, and then \u{1b}");
        }
        log.line("it's here");
        let length = |path: PathBuf| fs::metadata(path).expect("there").len();
        assert!(length(path.clone()) <= LONG + 100 && length(path.with_extension("old")) <= LONG + 100);
        let text = fs::read_to_string(path).expect("text");
        assert!(!text.contains('\u{1b}') && text.ends_with("] it's here\n"));
    }
}
