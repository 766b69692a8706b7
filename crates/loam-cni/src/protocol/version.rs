//! Versions of the specification.

use std::fmt;

use super::error::{CniError, code};

/// A version of the specification that this crate speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    /// 0.1.0
    V0_1_0,
    /// 0.2.0
    V0_2_0,
    /// 0.3.0
    V0_3_0,
    /// 0.3.1
    V0_3_1,
    /// 0.4.0
    V0_4_0,
    /// 1.0.0
    V1_0_0,
    /// 1.1.0
    V1_1_0,
}

impl Version {
    /// All versions, the oldest first.
    pub const ALL: [Version; 7] = [
        Version::V0_1_0,
        Version::V0_2_0,
        Version::V0_3_0,
        Version::V0_3_1,
        Version::V0_4_0,
        Version::V1_0_0,
        Version::V1_1_0,
    ];

    /// The newest version.
    pub const NEWEST: Version = Version::V1_1_0;

    /// The version as text.
    pub fn as_str(self) -> &'static str {
        match self {
            Version::V0_1_0 => "0.1.0",
            Version::V0_2_0 => "0.2.0",
            Version::V0_3_0 => "0.3.0",
            Version::V0_3_1 => "0.3.1",
            Version::V0_4_0 => "0.4.0",
            Version::V1_0_0 => "1.0.0",
            Version::V1_1_0 => "1.1.0",
        }
    }

    /// Reads a version; an empty text means 0.1.0, as in the reference library. Comparison is by text: `1.0` is none.
    pub fn parse(text: &str) -> Result<Self, CniError> {
        if text.is_empty() {
            return Ok(Version::V0_1_0);
        }
        let found = Self::ALL.into_iter().find(|version| version.as_str() == text);
        found.ok_or_else(|| Self::incompatible(text, Self::ALL))
    }

    /// The error of a configuration whose version is none of those that are spoken.
    pub(crate) fn incompatible(text: &str, spoken: impl IntoIterator<Item = Version>) -> CniError {
        let spoken: Vec<_> = spoken.into_iter().map(Version::as_str).collect();
        CniError {
            code: code::INCOMPATIBLE_VERSION,
            message: "incompatible CNI versions".into(),
            details: format!("config is {text:?}, plugin supports {spoken:?}"),
        }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_by_text() {
        assert_eq!(Version::parse("").expect("empty is the oldest"), Version::V0_1_0);
        assert_eq!(Version::parse("1.1.0").expect("known"), Version::V1_1_0);
        for bad in ["1.0", "1.2.0", "v1.0.0", " 1.0.0"] {
            assert_eq!(Version::parse(bad).expect_err("unknown").code, code::INCOMPATIBLE_VERSION, "{bad}");
        }
    }
}
