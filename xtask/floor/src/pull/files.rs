//! The files of a layer, by the system calls that make them and no others.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use rustix::fs::{
    AtFlags, CWD, FileType, Gid, Mode, OFlags, Timespec, Timestamps, Uid, XattrFlags, chownat, fsetxattr,
    futimens, linkat, makedev, mknodat, openat, symlinkat, utimensat,
};
use rustix::io::Errno;
use tar::{Archive, Entry, EntryType};

/// What PAX records of extended attributes begin with.
const XATTR: &str = "SCHILY.xattr.";
/// What names of whiteouts begin with: they are no files of the layer.
const WHITEOUT: &[u8] = b".wh.";

/// Makes all that a tar has, below a directory.
pub(super) fn make(tar: &mut dyn Read, target: &Path) -> Result<()> {
    fs::create_dir_all(target)?;
    let target = openat(CWD, target, OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    let mut directories = Vec::new();
    let mut archive = Archive::new(tar);
    for entry in archive.entries()? {
        let mut entry = entry?;
        let path = entry.path()?.into_owned();
        if path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(WHITEOUT)) {
            continue;
        }
        let made = one(&mut entry, &target, &path).with_context(|| format!("`{}`", path.display()))?;
        directories.extend(made.map(|times| (path, times)));
    }
    // What is made in a directory changes its time.
    for (path, times) in directories.iter().rev() {
        utimensat(&target, path, times, AtFlags::empty())?;
    }
    Ok(())
}

/// Makes one entry; gives the times of a directory, which are set at the end.
fn one<R: Read>(entry: &mut Entry<'_, R>, target: impl AsFd, path: &Path) -> Result<Option<Timestamps>> {
    let header = entry.header();
    let kind = header.entry_type();
    let mode = Mode::from_raw_mode(header.mode()?);
    let seconds = i64::try_from(header.mtime()?)?;
    let time = Timespec { tv_sec: seconds, tv_nsec: 0 };
    let times = Timestamps { last_access: time, last_modification: time };
    let owner = (u32::try_from(header.uid()?)?, u32::try_from(header.gid()?)?);
    let numbers = (header.device_major()?.unwrap_or(0), header.device_minor()?.unwrap_or(0));
    let link = entry.link_name()?.map(|name| name.into_owned());
    let to = || link.clone().context("a link has a target");
    match kind {
        EntryType::Link => return Ok(linkat(&target, to()?, &target, path, AtFlags::empty()).map(|()| None)?),
        EntryType::Symlink => symlinkat(to()?, &target, path)?,
        EntryType::Directory => match rustix::fs::mkdirat(&target, path, mode) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(error) => return Err(error.into()),
        },
        EntryType::Char | EntryType::Block | EntryType::Fifo => {
            let kind = match kind {
                EntryType::Char => FileType::CharacterDevice,
                EntryType::Block => FileType::BlockDevice,
                _ => FileType::Fifo,
            };
            mknodat(&target, path, kind, mode, makedev(numbers.0, numbers.1))?;
        }
        _ => {
            regular(entry, target, path, mode, owner, &times)?;
            return Ok(None);
        }
    }
    if owner != (0, 0) {
        chownat(
            &target,
            path,
            Some(Uid::from_raw(owner.0)),
            Some(Gid::from_raw(owner.1)),
            AtFlags::SYMLINK_NOFOLLOW,
        )?;
    }
    if kind == EntryType::Directory {
        return Ok(Some(times));
    }
    utimensat(&target, path, &times, AtFlags::SYMLINK_NOFOLLOW)?;
    Ok(None)
}

fn regular<R: Read>(
    entry: &mut Entry<'_, R>,
    target: impl AsFd,
    path: &Path,
    mode: Mode,
    owner: (u32, u32),
    times: &Timestamps,
) -> Result<()> {
    let attributes = attributes(entry)?;
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::CLOEXEC;
    let mut file = File::from(openat(target, path, flags, mode)?);
    io::copy(entry, &mut file)?;
    if owner != (0, 0) {
        rustix::fs::fchown(&file, Some(Uid::from_raw(owner.0)), Some(Gid::from_raw(owner.1)))?;
        // The change of owner has taken some of it away.
        file.set_permissions(fs::Permissions::from_mode(mode.as_raw_mode()))?;
    }
    for (name, value) in attributes {
        fsetxattr(&file, name, &value, XattrFlags::empty())?;
    }
    Ok(futimens(&file, times)?)
}

fn attributes<R: Read>(entry: &mut Entry<'_, R>) -> Result<Vec<(PathBuf, Vec<u8>)>> {
    let Some(records) = entry.pax_extensions()? else { return Ok(Vec::new()) };
    let mut attributes = Vec::new();
    // The library takes a newline in a value for the end of the record; what comes then is none, and no attribute.
    for record in records.filter_map(Result::ok) {
        if let Some(name) = record.key().ok().and_then(|key| key.strip_prefix(XATTR)) {
            attributes.push((PathBuf::from(name), record.value_bytes().to_vec()));
        }
    }
    Ok(attributes)
}
