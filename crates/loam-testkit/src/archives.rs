//! Tar archives of any shape, also of those that no program writes.

use tar::EntryType;

/// A tar being written, without any regard for sense.
#[derive(Clone, Debug, Default)]
pub struct Tar(
    /// The bytes so far.
    pub Vec<u8>,
);

impl Tar {
    /// An entry of this kind (the type flag); `change` has the last word on its header, but for the checksum.
    #[must_use]
    pub fn raw(
        mut self,
        kind: u8,
        path: &[u8],
        link: &[u8],
        data: &[u8],
        change: impl Fn(&mut tar::Header),
    ) -> Self {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(EntryType::new(kind));
        header.set_mode(if kind == b'5' { 0o755 } else { 0o644 });
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(1_000_000_000);
        header.set_size(data.len() as u64);
        let bytes = header.as_mut_bytes();
        bytes[..path.len().min(100)].copy_from_slice(&path[..path.len().min(100)]);
        bytes[157..157 + link.len().min(100)].copy_from_slice(&link[..link.len().min(100)]);
        change(&mut header);
        header.set_cksum();
        self.0.extend_from_slice(header.as_bytes());
        self.pad(data)
    }

    /// Bytes as they are, and zeros up to a whole record.
    #[must_use]
    pub fn pad(mut self, data: &[u8]) -> Self {
        self.0.extend_from_slice(data);
        let length = self.0.len().next_multiple_of(512);
        self.0.resize(length, 0);
        self
    }

    /// A regular file.
    #[must_use]
    pub fn file(self, path: &str, data: &[u8]) -> Self {
        self.raw(b'0', path.as_bytes(), b"", data, |_| {})
    }

    /// A directory with this mode.
    #[must_use]
    pub fn directory(self, path: &str, mode: u32) -> Self {
        self.raw(b'5', path.as_bytes(), b"", b"", |header| header.set_mode(mode))
    }

    /// A symbolic link.
    #[must_use]
    pub fn symlink(self, path: &str, target: &str) -> Self {
        self.raw(b'2', path.as_bytes(), target.as_bytes(), b"", |_| {})
    }

    /// A hard link.
    #[must_use]
    pub fn link(self, path: &str, target: &str) -> Self {
        self.raw(b'1', path.as_bytes(), target.as_bytes(), b"", |_| {})
    }

    /// PAX records for the entry that comes next.
    #[must_use]
    pub fn pax(self, records: &[(&str, &[u8])]) -> Self {
        let mut body = Vec::new();
        for (key, value) in records {
            let rest = key.len() + value.len() + 3;
            let mut length = rest + 1;
            while length != rest + length.to_string().len() {
                length = rest + length.to_string().len();
            }
            body.extend([length.to_string().as_bytes(), b" ", key.as_bytes(), b"=", value, b"\n"].concat());
        }
        self.raw(b'x', b"PaxHeaders/x", b"", &body, |_| {})
    }

    /// The mark of the end, and all the bytes.
    #[must_use]
    pub fn end(mut self) -> Vec<u8> {
        self.0.extend_from_slice(&[0; 1024]);
        self.0
    }
}
