//! The cpio archive that a kernel unpacks as its first root (kernel documentation, "initramfs buffer format").

/// Bits of `st_mode`.
const DIRECTORY: u32 = 0o040_755;
const PROGRAM: u32 = 0o100_755;
const FILE: u32 = 0o100_644;
const LINK: u32 = 0o120_777;

/// An archive that grows.
#[derive(Default)]
pub(super) struct Archive {
    bytes: Vec<u8>,
    entries: u32,
}

impl Archive {
    /// Adds a directory, whose parents were added before.
    pub(super) fn directory(&mut self, name: &str) {
        self.add(name, DIRECTORY, b"");
    }

    /// Adds a file that can be executed.
    pub(super) fn program(&mut self, name: &str, contents: &[u8]) {
        self.add(name, PROGRAM, contents);
    }

    /// Adds a symbolic link.
    pub(super) fn link(&mut self, name: &str, target: &str) {
        self.add(name, LINK, target.as_bytes());
    }

    /// Adds a file and the directories above it.
    pub(super) fn file(&mut self, path: &str, contents: &[u8]) {
        for (end, _) in path.match_indices('/') {
            self.directory(&path[..end]);
        }
        self.add(path, FILE, contents);
    }

    /// Ends it. An archive after it adds to it, and the later one of two files with the same name wins.
    pub(super) fn finish(mut self) -> Vec<u8> {
        self.add("TRAILER!!!", 0, b"");
        self.bytes
    }

    fn add(&mut self, name: &str, mode: u32, contents: &[u8]) {
        self.entries += 1;
        let length = |bytes: usize| u32::try_from(bytes).expect("a first root is small");
        // Inode, mode, uid, gid, links, time, size, four device numbers, length of the name, checksum.
        let fields =
            [self.entries, mode, 0, 0, 1, 0, length(contents.len()), 0, 0, 0, 0, length(name.len() + 1), 0];
        self.bytes.extend_from_slice(b"070701");
        for field in fields {
            self.bytes.extend_from_slice(format!("{field:08X}").as_bytes());
        }
        self.bytes.extend_from_slice(name.as_bytes());
        self.bytes.push(0);
        self.pad();
        self.bytes.extend_from_slice(contents);
        self.pad();
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_and_contents_are_aligned() {
        let mut archive = Archive::default();
        archive.directory("bin");
        archive.program("bin/sh", b"12345");
        let bytes = archive.finish();
        assert_eq!(bytes.len() % 4, 0);
        assert!(bytes.starts_with(b"07070100000001000041ED"));
        let second = 110 + "bin\0".len() + 2;
        assert_eq!(&bytes[second..second + 6], b"070701");
        let contents = second + 110 + "bin/sh\0".len() + 3;
        assert_eq!(&bytes[contents..contents + 8], b"12345\0\0\0");
    }
}
