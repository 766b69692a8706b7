//! Names and identifiers as types. A value of one of these types has been checked; nothing else reaches a path, a
//! cgroup or an interface.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Why a text can't be a name, an id or a digest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a valid {what}: {rule}")]
pub struct InvalidName {
    what: &'static str,
    text: String,
    rule: &'static str,
}

impl InvalidName {
    fn new(what: &'static str, text: &str, rule: &'static str) -> Self {
        Self { what, text: crate::shown(text), rule }
    }
}

/// Declares a checked string type.
macro_rules! checked_name {
    ($(#[$doc:meta])* $name:ident, $what:literal, $rule:literal, $check:expr) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = InvalidName;
            fn from_str(text: &str) -> Result<Self, InvalidName> {
                let check: fn(&str) -> bool = $check;
                if check(text) { Ok(Self(text.to_owned())) } else { Err(InvalidName::new($what, text, $rule)) }
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidName;
            fn try_from(text: String) -> Result<Self, InvalidName> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> String {
                name.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str(&self.0)
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }
    };
}

fn is_name(text: &str) -> bool {
    let allowed = |byte: &u8| byte.is_ascii_alphanumeric() || b"_.+-".contains(byte);
    text.len() <= 128
        && text.as_bytes().first().is_some_and(u8::is_ascii_alphanumeric)
        && text.bytes().all(|b| allowed(&b))
}

fn is_lower_hex(text: &str, length: usize) -> bool {
    text.len() == length && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

checked_name!(
    /// The id of a container: 64 lower-case hexadecimal digits of randomness.
    ContainerId,
    "container id",
    "64 lower-case hexadecimal digits",
    |text| is_lower_hex(text, 64)
);

impl ContainerId {
    /// Makes the id from 32 random bytes.
    pub fn from_random(bytes: [u8; 32]) -> Self {
        Self(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
    }

    /// The first twelve digits, as people see it.
    pub fn short(&self) -> &str {
        &self.0[..12]
    }
}

checked_name!(
    /// The name of a container, unique among the containers of one state directory.
    ContainerName,
    "container name",
    "letters, digits and `_.+-`, the first a letter or digit, at most 128",
    is_name
);

checked_name!(
    /// The name of a network (CNI specification 1.1, section 1: the same characters as a container id).
    NetworkName,
    "network name",
    "letters, digits and `_.-`, the first a letter or digit, at most 128",
    |text| is_name(text) && !text.contains('+')
);

impl NetworkName {
    /// The name of the default network.
    pub fn default_network() -> Self {
        Self("loam".to_owned())
    }

    /// Whether it is the default network's. Containers on that one do not learn each other's names.
    pub fn is_default(&self) -> bool {
        self.0 == "loam"
    }
}

/// The algorithm of a digest (OCI image specification, descriptor.md, "Registered algorithms").
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DigestAlgorithm {
    /// SHA-256: 64 hexadecimal digits.
    Sha256,
    /// SHA-512: 128 hexadecimal digits.
    Sha512,
}

impl DigestAlgorithm {
    /// The name as it stands before the colon.
    pub fn as_str(self) -> &'static str {
        match self {
            DigestAlgorithm::Sha256 => "sha256",
            DigestAlgorithm::Sha512 => "sha512",
        }
    }
}

/// A digest of content, `sha256:…` or `sha512:…`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest {
    algorithm: DigestAlgorithm,
    hex: String,
}

impl Digest {
    /// Makes a digest from a finished hash of 32 bytes.
    pub fn sha256(hash: &[u8; 32]) -> Self {
        Self {
            algorithm: DigestAlgorithm::Sha256,
            hex: hash.iter().map(|byte| format!("{byte:02x}")).collect(),
        }
    }

    /// The algorithm.
    pub fn algorithm(&self) -> DigestAlgorithm {
        self.algorithm
    }

    /// The digits after the colon, lower case.
    pub fn hex(&self) -> &str {
        &self.hex
    }

    /// The first twelve digits, as people see it.
    pub fn short(&self) -> &str {
        &self.hex[..12]
    }
}

impl FromStr for Digest {
    type Err = InvalidName;
    fn from_str(text: &str) -> Result<Self, InvalidName> {
        const RULE: &str = "`sha256:` and 64, or `sha512:` and 128 lower-case hexadecimal digits";
        let invalid = || InvalidName::new("digest", text, RULE);
        let (algorithm, hex) = text.split_once(':').ok_or_else(invalid)?;
        let (algorithm, length) = match algorithm {
            "sha256" => (DigestAlgorithm::Sha256, 64),
            "sha512" => (DigestAlgorithm::Sha512, 128),
            _ => return Err(invalid()),
        };
        if !is_lower_hex(hex, length) {
            return Err(invalid());
        }
        Ok(Self { algorithm, hex: hex.to_owned() })
    }
}

impl TryFrom<String> for Digest {
    type Error = InvalidName;
    fn try_from(text: String) -> Result<Self, InvalidName> {
        text.parse()
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> String {
        digest.to_string()
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}", self.algorithm.as_str(), self.hex)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_from_strangers_are_refused() {
        for bad in ["", ".", "..", "../x", "a/b", "-a", "a b", "a\0", "ü", &"x".repeat(129)] {
            assert!(bad.parse::<ContainerName>().is_err(), "{bad:?}");
        }
        for good in ["a", "web-1", "A.b_c+d", &"x".repeat(128)] {
            assert!(good.parse::<ContainerName>().is_ok(), "{good:?}");
        }
    }

    #[test]
    fn digests_are_lower_case_and_of_the_right_length() {
        let good = format!("sha256:{}", "0a".repeat(32));
        assert_eq!(good.parse::<Digest>().expect("valid").to_string(), good);
        for bad in ["sha256:../../x", &good.to_uppercase(), "", "md5:0a", &good[..70], "sha256:"] {
            assert!(bad.parse::<Digest>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_refused_name_is_escaped_in_the_message() {
        let error = "a\u{1b}[2J".parse::<ContainerName>().expect_err("control characters");
        assert!(error.to_string().starts_with("`a\\u{1b}[2J` is not a valid container name"), "{error}");
    }
}
