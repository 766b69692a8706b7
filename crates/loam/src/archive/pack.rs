//! Making a tar stream from files of the host.

use std::collections::HashMap;
use std::fs::{self, File, Metadata};
use std::io::{self, Read, Write};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use tar::{Builder, EntryType, Header};

use crate::render;

/// Writes files into a tar stream.
pub(super) struct Packer<W: Write> {
    builder: Builder<W>,
    keep_owners: bool,
    /// Files with several names, by device and inode, and the name that they got first.
    linked: HashMap<(u64, u64), PathBuf>,
}

impl<W: Write> Packer<W> {
    pub(super) fn new(writer: W, keep_owners: bool) -> Self {
        Self { builder: Builder::new(writer), keep_owners, linked: HashMap::new() }
    }

    /// Writes a file, or a directory with everything below it, under this name.
    pub(super) fn tree(&mut self, path: &Path, name: &Path, follow_link: bool) -> io::Result<()> {
        let metadata = if follow_link { path.metadata()? } else { path.symlink_metadata()? };
        self.entry(path, name, &metadata)?;
        if metadata.is_dir() { self.contents(path, name) } else { Ok(()) }
    }

    /// Writes everything below a directory.
    pub(super) fn contents(&mut self, directory: &Path, name: &Path) -> io::Result<()> {
        let mut names = fs::read_dir(directory)?
            .map(|entry| entry.map(|entry| entry.file_name()))
            .collect::<io::Result<Vec<_>>>()?;
        names.sort();
        for child in names {
            self.tree(&directory.join(&child), &name.join(&child), false)?;
        }
        Ok(())
    }

    /// Ends the stream.
    pub(super) fn finish(self) -> io::Result<()> {
        self.builder.into_inner()?.flush()
    }

    fn entry(&mut self, path: &Path, name: &Path, metadata: &Metadata) -> io::Result<()> {
        let mut header = self.header(metadata);
        let kind = metadata.file_type();
        if kind.is_dir() {
            header.set_entry_type(EntryType::Directory);
            return self.builder.append_data(&mut header, name, io::empty());
        }
        if kind.is_symlink() {
            header.set_entry_type(EntryType::Symlink);
            return self.builder.append_link(&mut header, name, fs::read_link(path)?);
        }
        if metadata.nlink() > 1 {
            let first =
                self.linked.entry((metadata.dev(), metadata.ino())).or_insert_with(|| name.to_owned());
            if first != name {
                header.set_entry_type(EntryType::Link);
                return self.builder.append_link(&mut header, name, first);
            }
        }
        if kind.is_file() {
            header.set_entry_type(EntryType::Regular);
            header.set_size(metadata.len());
            // A file that shrinks meanwhile is filled up, one that grows is cut: the header has gone out already.
            let content = File::open(path)?.chain(io::repeat(0)).take(metadata.len());
            return self.builder.append_data(&mut header, name, content);
        }
        if kind.is_socket() {
            // Without the program that listens, it is nothing.
            return Ok(());
        }
        if kind.is_char_device() || kind.is_block_device() {
            render::warning(&format!("`{}` was left out: it is a device", path.display()));
            return Ok(());
        }
        header.set_entry_type(EntryType::Fifo);
        self.builder.append_data(&mut header, name, io::empty())
    }

    fn header(&self, metadata: &Metadata) -> Header {
        let mut header = Header::new_gnu();
        header.set_mode(metadata.mode() & 0o7777);
        header.set_mtime(u64::try_from(metadata.mtime()).unwrap_or(0));
        header.set_size(0);
        let (user, group) = if self.keep_owners { (metadata.uid(), metadata.gid()) } else { (0, 0) };
        header.set_uid(user.into());
        header.set_gid(group.into());
        header
    }
}
