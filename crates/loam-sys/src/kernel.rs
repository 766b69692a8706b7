//! The kernel's version, and the oldest that Loam runs on.

use std::fmt;

/// A kernel's version: the first two numbers of its release.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct KernelVersion(pub u32, pub u32);

/// The oldest kernel that Loam runs on: the first whose every system call that has no other way is there
/// (mount_setattr(2) with all its attributes and quotactl_fd(2) are of 5.14). What came later has another way
/// ([`crate::features`]).
pub const OLDEST: KernelVersion = KernelVersion(5, 14);

impl KernelVersion {
    /// Reads a release such as `6.1.0-13-amd64`.
    pub fn parse(release: &str) -> Option<Self> {
        let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(str::parse);
        Some(Self(numbers.next()?.ok()?, numbers.next()?.ok()?))
    }
}

impl fmt::Display for KernelVersion {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}.{}", self.0, self.1)
    }
}

/// The release of the running kernel (uname(2)).
pub fn release() -> String {
    rustix::system::uname().release().to_string_lossy().into_owned()
}

/// Why Loam does not run on a kernel with this release, in one sentence; `None` when it does. A release that says no
/// version is given the benefit of the doubt.
pub fn objection(release: &str) -> Option<String> {
    let version = KernelVersion::parse(release)?;
    (version < OLDEST).then(|| format!("Linux {version} is too old: Loam needs Linux {OLDEST} or later"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_begin_with_two_numbers() {
        assert_eq!(KernelVersion::parse("6.1.0-13-amd64"), Some(KernelVersion(6, 1)));
        assert_eq!(KernelVersion::parse("5.19-rc3"), Some(KernelVersion(5, 19)));
        assert_eq!(KernelVersion::parse("next"), None);
        assert!(KernelVersion(6, 1) > KernelVersion(5, 19) && KernelVersion(5, 4) < KernelVersion(5, 15));
    }

    #[test]
    fn an_old_kernel_is_refused() {
        for (release, objection) in [
            ("5.10.0-28-amd64", Some("Linux 5.10 is too old: Loam needs Linux 5.14 or later")),
            ("4.19.0", Some("Linux 4.19 is too old: Loam needs Linux 5.14 or later")),
            ("5.13.19", Some("Linux 5.13 is too old: Loam needs Linux 5.14 or later")),
            ("5.14.0-427.el9.x86_64", None),
            ("6.1.0-13-amd64", None),
            ("7.0.0", None),
            ("a-kernel-of-our-own", None),
        ] {
            assert_eq!(super::objection(release).as_deref(), objection, "{release}");
        }
        assert_eq!(super::objection(&release()), None, "these tests run on it");
    }
}
