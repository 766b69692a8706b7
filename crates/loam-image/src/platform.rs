//! Platforms: which of an index's images this machine runs.

use std::fmt;
use std::str::FromStr;

use loam_model::{ErrorKind, Failure, shown};
use serde::Deserialize;

/// Operating system, architecture and variant, in the words of the image specification (Go's).
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(crate) struct Platform {
    pub(crate) os: String,
    pub(crate) architecture: String,
    pub(crate) variant: Option<String>,
}

impl Platform {
    /// This machine's.
    pub(crate) fn host() -> Self {
        let architecture = match std::env::consts::ARCH {
            "powerpc64" if cfg!(target_endian = "little") => "ppc64le",
            other => other,
        };
        Self::new("linux", architecture, None)
    }

    fn new(os: &str, architecture: &str, variant: Option<&str>) -> Self {
        let variant = variant.filter(|variant| !variant.is_empty());
        let (architecture, variant) = match (architecture, variant) {
            ("x86_64" | "x86-64", variant) => ("amd64", variant),
            ("i386" | "i486" | "i586" | "i686" | "x86", variant) => ("386", variant),
            ("aarch64", variant) => ("arm64", variant),
            ("armhf" | "armv7l", _) => ("arm", Some("v7")),
            ("armel" | "armv6l", _) => ("arm", Some("v6")),
            ("arm", None) => ("arm", Some("v7")),
            ("loongarch64", variant) => ("loong64", variant),
            ("mips64el", variant) => ("mips64le", variant),
            ("powerpc64le", variant) => ("ppc64le", variant),
            other => other,
        };
        let variant = match (architecture, variant) {
            ("amd64", Some("v1")) | ("arm64", Some("v8")) => None,
            ("arm", Some(number)) if number.len() == 1 => Some(format!("v{number}")),
            (_, variant) => variant.map(str::to_owned),
        };
        Self { os: os.to_owned(), architecture: architecture.to_owned(), variant }
    }

    /// The same platform in the words that are compared.
    pub(crate) fn normal(&self) -> Self {
        Self::new(&self.os, &self.architecture, self.variant.as_deref())
    }

    /// How well an image for `self` serves a machine that is `wanted`: 0 is exact, larger is worse, `None` not at
    /// all. Variants run those before them.
    pub(crate) fn distance(&self, wanted: &Platform) -> Option<u32> {
        let (image, wanted) = (self.normal(), wanted.normal());
        if image.os != wanted.os || image.architecture != wanted.architecture {
            return None;
        }
        let level = |platform: &Platform| match (&*platform.architecture, &platform.variant) {
            ("arm64", None) => Some(80),
            ("amd64", None) => Some(10),
            (_, None) => Some(0),
            (_, Some(variant)) => {
                let (major, minor) =
                    variant.strip_prefix('v')?.split_once('.').unwrap_or((&variant[1..], "0"));
                let minor = minor.parse::<u32>().ok()?.min(9);
                major.parse::<u32>().ok()?.checked_mul(10)?.checked_add(minor)
            }
        };
        if image.variant == wanted.variant {
            return Some(0);
        }
        level(&wanted)?.checked_sub(level(&image)?)
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.os, self.architecture)?;
        match &self.variant {
            Some(variant) => write!(formatter, "/{variant}"),
            None => Ok(()),
        }
    }
}

impl FromStr for Platform {
    type Err = Failure;
    fn from_str(text: &str) -> Result<Self, Failure> {
        let parts: Vec<&str> = text.split('/').collect();
        let plain = |part: &&str| {
            !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
        };
        match parts[..] {
            [os, architecture] if parts.iter().all(plain) => Ok(Self::new(os, architecture, None)),
            [os, architecture, variant] if parts.iter().all(plain) => {
                Ok(Self::new(os, architecture, Some(variant)))
            }
            _ => Err(Failure::new(ErrorKind::Invalid, format!("`{}` is not a platform", shown(text)))
                .hint("write OS/ARCHITECTURE or OS/ARCHITECTURE/VARIANT, such as linux/arm64")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn distance(image: &str, wanted: &str) -> Option<u32> {
        let parse = |text: &str| text.parse::<Platform>().expect("a platform");
        parse(image).distance(&parse(wanted))
    }

    #[test]
    fn variants_fall_back_to_those_before() {
        assert_eq!(distance("linux/amd64", "linux/x86_64"), Some(0));
        assert_eq!(distance("linux/arm64/v8", "linux/aarch64"), Some(0));
        assert_eq!(distance("linux/arm/v6", "linux/arm/v7"), Some(10));
        assert_eq!(distance("linux/arm/v7", "linux/arm/v6"), None);
        assert_eq!(distance("linux/amd64", "linux/amd64/v3"), Some(20));
        assert_eq!(distance("linux/amd64/v2", "linux/amd64"), None);
        assert_eq!(distance("linux/arm64", "linux/amd64"), None);
        assert_eq!(distance("windows/amd64", "linux/amd64"), None);
        assert_eq!(distance("linux/arm/v429496729.9", "linux/arm/v7"), None, "larger than any number");
        assert_eq!(distance("linux/riscv64/rva20u64", "linux/riscv64/rva20u64"), Some(0));
    }

    #[test]
    fn text_that_is_no_platform_is_refused() {
        for bad in ["", "linux", "linux/", "a/b/c/d", "linux/am d64"] {
            assert!(bad.parse::<Platform>().is_err(), "{bad:?}");
        }
    }
}
