//! The kernel's version, as numbers.

/// A kernel's version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Version(pub(super) u32, pub(super) u32);

impl Version {
    /// Reads a release such as `6.1.0-13-amd64`.
    pub(super) fn parse(release: &str) -> Option<Self> {
        let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(str::parse);
        Some(Self(numbers.next()?.ok()?, numbers.next()?.ok()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_begin_with_two_numbers() {
        assert_eq!(Version::parse("6.1.0-13-amd64"), Some(Version(6, 1)));
        assert_eq!(Version::parse("5.19-rc3"), Some(Version(5, 19)));
        assert_eq!(Version::parse("next"), None);
        assert!(Version(6, 1) > Version(5, 19));
    }
}
