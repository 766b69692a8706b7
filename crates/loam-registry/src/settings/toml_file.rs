//! TOML files of others, read with bounds and with errors that name file, line and key.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;

use crate::error::{RegistryError, printable};

/// The longest file that is read, in bytes.
const LONGEST: u64 = 1024 * 1024;

/// Reads a file; `None` when there is none.
pub(super) fn read<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, RegistryError> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if is_missing(&error) => return Ok(None),
        Err(error) => return Err(unreadable(path, &error)),
    };
    let mut text = String::new();
    file.take(LONGEST + 1).read_to_string(&mut text).map_err(|error| unreadable(path, &error))?;
    if text.len() as u64 > LONGEST {
        return Err(bad(path, "it is longer than 1 MiB"));
    }
    parse(&text, path).map(Some)
}

/// Reads the text of a file.
pub(super) fn parse<T: DeserializeOwned>(text: &str, path: &Path) -> Result<T, RegistryError> {
    toml::from_str(text).map_err(|error| bad(path, explain(text, &error)))
}

/// The files of a directory with this extension, in the order of their names. No directory is no files.
pub(super) fn named(directory: &Path, extension: &str) -> Result<Vec<PathBuf>, RegistryError> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if is_missing(&error) => return Ok(Vec::new()),
        Err(error) => return Err(unreadable(directory, &error)),
    };
    let mut paths = Vec::new();
    for entry in entries {
        let path = entry.map_err(|error| unreadable(directory, &error))?.path();
        if path.extension().is_some_and(|found| found == extension) {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

/// The error for a file that says something which makes no sense.
pub(super) fn bad(path: &Path, reason: impl Into<String>) -> RegistryError {
    RegistryError::Settings { path: path.to_owned(), reason: reason.into() }
}

fn unreadable(path: &Path, error: &io::Error) -> RegistryError {
    bad(path, error.to_string())
}

fn is_missing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

/// The line, its key and what is wrong there. Values are left out: a header may hold a secret.
fn explain(text: &str, error: &toml::de::Error) -> String {
    let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
    let number = before.matches('\n').count();
    let key = text.lines().nth(number).and_then(|line| line.split_once('=')).map(|(key, _)| key.trim());
    let message = error.message().trim_end().replace('\n', ", ");
    let message = printable(&message, 200);
    match key.filter(|key| !key.is_empty()) {
        Some(key) => format!("line {}, `{}`: {message}", number + 1, printable(key, 80)),
        None => format!("line {}: {message}", number + 1),
    }
}
