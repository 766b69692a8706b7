//! The directory of networks, read as libcni reads it.
//!
//! `*.conflist` come first, then `*.conf` and `*.json`, which are single plugins, each kind in the order of names. The
//! first file that has a network's name describes it. Plugins in `NETWORK/*.conf` come after those in the list.

use std::fs::{self, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;

use super::{ConflistError, MAX_BYTES, NetworkList, PluginObject, invalid, plugin};

/// What a directory has.
#[derive(Debug, Default)]
pub(crate) struct Loaded {
    /// The networks with their files.
    pub(crate) lists: Vec<(PathBuf, NetworkList)>,
    /// Files that can't be used, and why.
    pub(crate) problems: Vec<(PathBuf, ConflistError)>,
}

/// Finds a network by name: the file of that name first, then all in libcni's order. A file that is not valid is only
/// an error when it is the one of that name and no other describes the network.
pub(crate) fn find(directory: &Path, name: &str) -> Result<Option<(PathBuf, NetworkList)>, ConflistError> {
    let direct = directory.join(format!("{name}.conflist"));
    let broken = match read(&direct) {
        Ok(Some(list)) if list.name == name => return Ok(Some((direct, list))),
        Ok(_) => None,
        Err(error) => Some(error),
    };
    let found = load(directory)?.lists.into_iter().find(|(_, list)| list.name == name);
    match (found, broken) {
        (None, Some(error)) => Err(error),
        (found, _) => Ok(found),
    }
}

/// Reads all networks of a directory. What is not valid is left out, and told in the log.
pub(crate) fn all(directory: &Path) -> Result<Vec<NetworkList>, ConflistError> {
    let loaded = load(directory)?;
    for (path, error) in &loaded.problems {
        tracing::warn!(path = %path.display(), %error, "network left out");
    }
    Ok(loaded.lists.into_iter().map(|(_, list)| list).collect())
}

/// Reads all networks of a directory, and notes what can't be used.
pub(crate) fn load(directory: &Path) -> Result<Loaded, ConflistError> {
    let mut loaded = Loaded::default();
    let lists = files(directory, &["conflist"])?;
    let singles = files(directory, &["conf", "json"])?;
    for path in lists.into_iter().chain(singles) {
        match read(&path) {
            Ok(Some(list)) => loaded.take(path, list),
            Ok(None) => {}
            Err(error) => loaded.problems.push((path, error)),
        }
    }
    Ok(loaded)
}

impl Loaded {
    fn take(&mut self, path: PathBuf, list: NetworkList) {
        match self.lists.iter().find(|(_, other)| other.name == list.name) {
            Some((first, _)) => {
                let twice = ConflistError::Twice(list.name, first.clone());
                self.problems.push((path, twice));
            }
            None => self.lists.push((path, list)),
        }
    }
}

/// The files of a directory that end so, in the order of their names; none when there is no directory.
fn files(directory: &Path, extensions: &[&str]) -> Result<Vec<PathBuf>, ConflistError> {
    let failed = |cause| ConflistError::Read(directory.to_owned(), cause);
    let entries = match fs::read_dir(directory) {
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(failed)?,
    };
    let mut paths = Vec::new();
    for entry in entries {
        let path = entry.map_err(failed)?.path();
        let ending = path.extension().and_then(|extension| extension.to_str());
        if ending.is_some_and(|ending| extensions.contains(&ending)) {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

/// Reads the file of a network; `None` when there is none.
fn read(path: &Path) -> Result<Option<NetworkList>, ConflistError> {
    let Some(text) = read_text(path)? else { return Ok(None) };
    if path.extension().is_some_and(|extension| extension != "conflist") {
        return NetworkList::parse_single(&text).map(Some);
    }
    let folder = path.parent().unwrap_or(Path::new("/"));
    NetworkList::parse_with(text, |name| drop_ins(&folder.join(name))).map(Some)
}

/// The plugins in a network's folder.
fn drop_ins(folder: &Path) -> Result<Vec<PluginObject>, ConflistError> {
    let one = |path: &PathBuf| {
        let text = read_text(path)?.unwrap_or_default();
        plugin(&serde_json::from_str(&text).map_err(|cause| invalid(cause.to_string()))?)
    };
    let read = |path: PathBuf| one(&path).map_err(|cause| ConflistError::DropIn(path, Box::new(cause)));
    files(folder, &["conf"])?.into_iter().map(read).collect()
}

/// Reads a text of bounded length from a regular file. A pipe is not waited for.
fn read_text(path: &Path) -> Result<Option<String>, ConflistError> {
    let failed = |cause| ConflistError::Read(path.to_owned(), cause);
    let flags = OFlags::NONBLOCK.bits().cast_signed();
    let file = match OpenOptions::new().read(true).custom_flags(flags).open(path) {
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file.map_err(failed)?,
    };
    if !file.metadata().map_err(failed)?.is_file() {
        return Err(ConflistError::NotAFile(path.to_owned()));
    }
    let mut text = String::new();
    file.take(MAX_BYTES + 1).read_to_string(&mut text).map_err(failed)?;
    if text.len() as u64 > MAX_BYTES {
        return Err(ConflistError::TooLong(path.to_owned()));
    }
    Ok(Some(text))
}
