//! Where a container's cgroup is, and who makes it.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::shown;

/// Who makes the directories of cgroups.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CgroupDriver {
    /// Whoever runs the container, in the file system.
    Cgroupfs,
    /// systemd, which is asked for a scope (systemd.scope(5)).
    Systemd,
}

impl fmt::Display for CgroupDriver {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Cgroupfs => "cgroupfs",
            Self::Systemd => "systemd",
        })
    }
}

/// A slice of systemd's (systemd.slice(5)): a node of its tree of cgroups, such as `machine.slice`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Slice(String);

impl Slice {
    /// The slice for virtual machines and containers (systemd.special(7)).
    pub fn machine() -> Self {
        Self("machine.slice".to_owned())
    }

    /// The name of its unit.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Its path below systemd's own cgroup, empty or with a leading slash: dashes nest, `a-b.slice` lies in `a.slice`.
    pub fn path(&self) -> String {
        let name = self.0.strip_suffix(SUFFIX).unwrap_or_default();
        let ends = name.match_indices('-').map(|(at, _)| at).chain([name.len()]);
        match name {
            "-" => String::new(),
            name => ends.map(|end| format!("/{}{SUFFIX}", &name[..end])).collect(),
        }
    }
}

/// What the name of a slice ends with.
const SUFFIX: &str = ".slice";

/// A text that does not name a cgroup or a slice.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidCgroup {
    /// Not the name of a slice.
    #[error("`{0}` is not the name of a slice, such as `machine.slice`")]
    Slice(String),
    /// Neither of the two forms of a cgroup.
    #[error("`{0}` is neither an absolute path of plain names nor SLICE:PREFIX:NAME")]
    Path(String),
}

impl FromStr for Slice {
    type Err = InvalidCgroup;

    fn from_str(text: &str) -> Result<Self, InvalidCgroup> {
        let plain = |part: &str| !part.is_empty() && part.bytes().all(is_unit_byte);
        let name = text.strip_suffix(SUFFIX).filter(|_| text.len() <= MAX_NAME);
        match name {
            Some("-") => Ok(Self(text.to_owned())),
            Some(name) if name.split('-').all(plain) => Ok(Self(text.to_owned())),
            _ => Err(InvalidCgroup::Slice(shown(text))),
        }
    }
}

impl TryFrom<String> for Slice {
    type Error = InvalidCgroup;

    fn try_from(text: String) -> Result<Self, InvalidCgroup> {
        text.parse()
    }
}

impl From<Slice> for String {
    fn from(slice: Slice) -> Self {
        slice.0
    }
}

/// The longest name of a unit, and of a directory.
const MAX_NAME: usize = 255;

/// Whether a unit's name may have this byte (systemd.unit(5)); the dash and the backslash mean something.
fn is_unit_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b':' | b'@')
}

/// A container's cgroup, as `linux.cgroupsPath` of the runtime specification has it: the text says which driver makes
/// it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum CgroupPlace {
    /// A path below each hierarchy's root, absolute, such as `/loam-ID`.
    Path(String),
    /// A scope of systemd's, written `SLICE:PREFIX:NAME`.
    Scope {
        /// The slice that it lies in.
        slice: Slice,
        /// The beginning of its name.
        prefix: String,
        /// The rest of its name.
        name: String,
    },
}

impl CgroupPlace {
    /// Who makes it.
    pub fn driver(&self) -> CgroupDriver {
        match self {
            Self::Path(_) => CgroupDriver::Cgroupfs,
            Self::Scope { .. } => CgroupDriver::Systemd,
        }
    }

    /// The name of systemd's unit, when it is one.
    pub fn unit(&self) -> Option<String> {
        match self {
            Self::Path(_) => None,
            Self::Scope { prefix, name, .. } => Some(format!("{prefix}-{name}.scope")),
        }
    }

    /// The path below each hierarchy's root.
    pub fn path(&self) -> String {
        match (self, self.unit()) {
            (Self::Scope { slice, .. }, Some(unit)) => format!("{}/{unit}", slice.path()),
            (Self::Path(path), _) => path.clone(),
            (Self::Scope { slice, .. }, None) => slice.path(),
        }
    }
}

impl fmt::Display for CgroupPlace {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path(path) => formatter.write_str(path),
            Self::Scope { slice, prefix, name } => {
                write!(formatter, "{}:{prefix}:{name}", slice.as_str())
            }
        }
    }
}

impl TryFrom<String> for CgroupPlace {
    type Error = InvalidCgroup;

    fn try_from(text: String) -> Result<Self, InvalidCgroup> {
        text.parse()
    }
}

impl From<CgroupPlace> for String {
    fn from(place: CgroupPlace) -> Self {
        place.to_string()
    }
}

impl FromStr for CgroupPlace {
    type Err = InvalidCgroup;

    fn from_str(text: &str) -> Result<Self, InvalidCgroup> {
        let bad = || InvalidCgroup::Path(shown(text));
        if let Some(names) = text.strip_prefix('/') {
            let plain = |name: &str| !matches!(name, "" | "." | "..") && name.len() <= MAX_NAME;
            let good = names.split('/').all(plain) && !names.contains(['\0', '\n']);
            return if good { Ok(Self::Path(text.to_owned())) } else { Err(bad()) };
        }
        let mut parts = text.splitn(3, ':');
        let (Some(slice), Some(prefix), Some(name)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(bad());
        };
        let plain =
            |part: &str| !part.is_empty() && part.bytes().all(|byte| byte == b'-' || is_unit_byte(byte));
        if !plain(prefix) || !plain(name) || prefix.len() + name.len() + "-.scope".len() > MAX_NAME {
            return Err(bad());
        }
        Ok(Self::Scope { slice: slice.parse()?, prefix: prefix.to_owned(), name: name.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slices_nest_by_their_dashes() {
        for (name, path) in [
            ("machine.slice", "/machine.slice"),
            ("a-b-c.slice", "/a.slice/a-b.slice/a-b-c.slice"),
            ("-.slice", ""),
        ] {
            let slice: Slice = name.parse().expect("a slice");
            assert_eq!((slice.as_str(), slice.path().as_str()), (name, path));
        }
        for name in ["", ".slice", "machine", "a--b.slice", "-a.slice", "a-.slice", "a/b.slice", "a b.slice"]
        {
            assert!(name.parse::<Slice>().is_err(), "{name}");
        }
    }

    #[test]
    fn a_place_is_a_path_or_a_scope() {
        let place: CgroupPlace = "machine.slice:loam:07".parse().expect("a scope");
        assert_eq!(place.unit().as_deref(), Some("loam-07.scope"));
        assert_eq!(
            (place.path().as_str(), place.driver()),
            ("/machine.slice/loam-07.scope", CgroupDriver::Systemd)
        );
        assert_eq!(place.to_string(), "machine.slice:loam:07");
        let place: CgroupPlace = "/loam/0:1:2".parse().expect("a path");
        assert_eq!((place.path().as_str(), place.driver()), ("/loam/0:1:2", CgroupDriver::Cgroupfs));
        assert_eq!(place.unit(), None);
    }

    #[test]
    fn paths_that_lead_elsewhere_are_refused() {
        for bad in ["", "/", "a", "/a/", "//a", "/a/../b", "/..", "/a/./b", "/a\n", "/a\0", "a:b", "a:b:c"] {
            assert!(bad.parse::<CgroupPlace>().is_err(), "{bad:?}");
        }
        for bad in ["a.slice::b", "a.slice:b:", "a.slice:b:c/d", "../a.slice:b:c", "a.slice:b:c\n"] {
            assert!(bad.parse::<CgroupPlace>().is_err(), "{bad:?}");
        }
    }
}
