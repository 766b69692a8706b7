//! Archives made of few names and all kinds of entries, so that entries meet: the same name twice, links to what is made
//! later, entries behind links, whiteouts of what there is. Bytes are read as a program, a few for each entry.

use loam_testkit::archives::Tar;

/// Parts of names, few so that they recur.
const PARTS: [&str; 16] = [
    "a",
    "b",
    "c",
    "d",
    "a",
    "b",
    "..",
    ".",
    "",
    ".wh.a",
    ".wh.b",
    ".wh..wh..opq",
    ".wh.",
    ".wh..wh.x",
    "e",
    "a",
];

/// The bytes of the program that are left.
struct Program<'a>(&'a [u8]);

impl Program<'_> {
    fn next(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    /// A name of one to three parts, seldom an absolute one; or one that leads to `outside`.
    fn name(&mut self, outside: &str) -> Option<String> {
        let how = self.next()?;
        if how >= 0xf8 {
            return Some(format!("{outside}/file"));
        }
        let mut parts = Vec::new();
        for _ in 0..=how % 3 {
            parts.push(PARTS[usize::from(self.next()? % 16)]);
        }
        let name = parts.join("/");
        Some(if how & 0x70 == 0x70 { format!("/{name}") } else { name })
    }
}

/// The most entries of an archive, so that no input takes long.
const MOST: usize = 300;

/// The archive of a program; `outside` is a directory that an entry must not reach.
pub(crate) fn archive(program: &[u8], outside: &str) -> Vec<u8> {
    let mut program = Program(program);
    let entries = std::iter::from_fn(|| entry(&mut program, outside));
    Tar(entries.take(MOST).flat_map(|entry| entry.0).collect()).end()
}

/// The next entry, with its extension headers.
fn entry(program: &mut Program<'_>, outside: &str) -> Option<Tar> {
    let (kind, tar) = (program.next()?, Tar::default());
    let name = program.name(outside)?;
    Some(match kind % 16 {
        0..=3 => {
            let (length, fill) = (usize::from(program.next()?) * 7, program.next()?);
            tar.file(&name, &vec![fill; length])
        }
        4 | 5 => tar.directory(&name, 0o700 | u32::from(program.next()?)),
        6..=8 => {
            let target = match program.next()? {
                0xf0..=0xff => outside.to_owned(),
                _ => program.name(outside)?,
            };
            tar.symlink(&name, &target)
        }
        9 | 10 => {
            let target = program.name(outside)?;
            tar.link(&name, &target)
        }
        11 => tar.raw(b'6', name.as_bytes(), b"", b"", |_| {}),
        12 => {
            let (kind, major, minor) = (program.next()?, program.next()?, program.next()?);
            tar.raw(if kind & 1 == 0 { b'3' } else { b'4' }, name.as_bytes(), b"", b"", |header| {
                let _gnu = header.set_device_major(u32::from(major % 4));
                let _gnu = header.set_device_minor(u32::from(minor % 4));
            })
        }
        13 => sparse(&name, program)?,
        14 => {
            let (attribute, id) = (program.next()?, program.next()?);
            let keys = ["user.a", "user.overlay.x", "trusted.overlay.opaque", "security.capability"];
            let key = format!("SCHILY.xattr.{}", keys[usize::from(attribute % 4)]);
            let id = (u64::from(id) << 25).to_string();
            tar.pax(&[("path", name.as_bytes()), (&key, b"value"), ("uid", id.as_bytes())]).file("", b"x")
        }
        _ => tar.raw(b'L', b"././@LongLink", b"", format!("{}{name}\0", "b/".repeat(3)).as_bytes(), |_| {}),
    })
}

/// A sparse file of up to three parts.
fn sparse(name: &str, program: &mut Program<'_>) -> Option<Tar> {
    let (mut map, mut end, mut data) = (Vec::new(), 0, 0);
    for _ in 0..program.next()? % 4 {
        let (gap, length) = (u64::from(program.next()?) << 6, u64::from(program.next()?));
        map.push(format!("{},{length}", end + gap));
        end += gap + length;
        data += usize::from(u8::try_from(length).unwrap_or(u8::MAX));
    }
    let (map, length) = (map.join(","), (end + u64::from(program.next()?)).to_string());
    let records = [
        ("GNU.sparse.size", length.as_bytes()),
        ("GNU.sparse.map", map.as_bytes()),
        ("path", name.as_bytes()),
    ];
    Some(Tar::default().pax(&records).file("", &vec![b'x'; data]))
}
