//! Reading the texts of `/proc` (proc(5)).

use core::fmt;

/// The value of a `Name:` line of `/proc/self/status`.
pub fn field<'a>(status: &'a [u8], name: &str) -> Option<&'a [u8]> {
    status.split(|byte| *byte == b'\n').find_map(|line| {
        let value = line.strip_prefix(name.as_bytes())?.strip_prefix(b":")?;
        Some(value.trim_ascii())
    })
}

/// Reads a number in hexadecimal.
pub fn hexadecimal(text: &[u8]) -> Option<u64> {
    let text = core::str::from_utf8(text).ok()?;
    u64::from_str_radix(text, 16).ok()
}

/// The words of a line.
pub fn words(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty())
}

/// What a line of `/proc/self/mountinfo` says.
#[derive(Debug, PartialEq, Eq)]
pub struct MountLine<'a> {
    /// Where it is mounted.
    pub target: &'a [u8],
    /// The kind of file system.
    pub kind: &'a [u8],
    /// Whether it is read-only, by the mount's own options.
    pub read_only: bool,
}

/// Reads a line of `/proc/self/mountinfo`.
pub fn mount_line(line: &[u8]) -> Option<MountLine<'_>> {
    let mut words = words(line);
    let target = words.nth(4)?;
    let options = words.next()?;
    let kind = words.skip_while(|word| *word != b"-").nth(1)?;
    let read_only = options.split(|byte| *byte == b',').any(|option| option == b"ro");
    Some(MountLine { target, kind, read_only })
}

/// What a line of `/proc/self/limits` says.
#[derive(Debug, PartialEq, Eq)]
pub struct LimitLine<'a> {
    /// The name, without `Max `.
    pub name: &'a [u8],
    /// The soft limit.
    pub soft: &'a [u8],
    /// The hard limit.
    pub hard: &'a [u8],
}

/// Reads a line of `/proc/self/limits`, whose columns stand at fixed places.
pub fn limit_line(line: &[u8]) -> Option<LimitLine<'_>> {
    let (name, values) = line.split_at_checked(26)?;
    let mut values = words(values);
    let name = name.trim_ascii().strip_prefix(b"Max ")?;
    Some(LimitLine { name, soft: values.next()?, hard: values.next()? })
}

/// A number of bytes in the largest unit that it is a whole number of.
pub struct Bytes(pub u64);

impl fmt::Display for Bytes {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units = [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
        match units.iter().find(|(size, _)| self.0 >= *size && self.0.is_multiple_of(*size)) {
            Some((size, unit)) => write!(formatter, "{} {unit}", self.0 / size),
            None => write!(formatter, "{} bytes", self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_by_their_whole_name() {
        let status = b"Name:\thello\nSeccomp:\t2\nSeccomp_filters:\t1\n";
        assert_eq!(field(status, "Seccomp"), Some(&b"2"[..]));
        assert_eq!(field(status, "Sec"), None);
    }

    #[test]
    fn mounts_are_read_with_and_without_optional_fields() {
        let line = b"36 35 98:0 /mnt1 /mnt2 ro,noatime master:1 shared:2 - ext3 /dev/root rw,errors=continue";
        let expected = MountLine { target: b"/mnt2", kind: b"ext3", read_only: true };
        assert_eq!(mount_line(line), Some(expected));
        let line = b"22 1 0:5 / /proc rw,nosuid - proc proc rw";
        assert_eq!(mount_line(line), Some(MountLine { target: b"/proc", kind: b"proc", read_only: false }));
        assert_eq!(mount_line(b"junk"), None);
    }

    #[test]
    fn limits_are_read_by_column() {
        let line = b"Max open files            1024                 524288               files     ";
        assert_eq!(limit_line(line), Some(LimitLine { name: b"open files", soft: b"1024", hard: b"524288" }));
        assert_eq!(
            limit_line(b"Limit                     Soft Limit           Hard Limit           Units"),
            None
        );
    }

    #[test]
    fn bytes_have_the_largest_whole_unit() {
        assert_eq!(Bytes(64 << 20).to_string(), "64 MiB");
        assert_eq!(Bytes(1000).to_string(), "1000 bytes");
    }
}
