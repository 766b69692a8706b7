//! `meta/namespace.json`: the id mappings that a store was made with, which all of its images have.

use std::fs::{self, Permissions};
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use loam_model::{IdMapping, IdRange, shown};
use serde::{Deserialize, Serialize};

use crate::error::GrootfsError;
use crate::layout::Layout;

/// The file, as GrootFS writes it: `NAMESPACE:HOST:SIZE`, in the order of the texts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Namespace {
    #[serde(rename = "uid-mappings", default, deserialize_with = "texts")]
    users: Vec<String>,
    #[serde(rename = "gid-mappings", default, deserialize_with = "texts")]
    groups: Vec<String>,
}

/// `null` is no mappings.
fn texts<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

impl Namespace {
    /// What the flags of `init-store` say.
    pub(crate) fn of_flags(users: &[String], groups: &[String]) -> Result<Self, GrootfsError> {
        let sorted = |words: &[String]| -> Result<Vec<String>, GrootfsError> {
            let ranges: Result<Vec<IdRange>, _> = words.iter().map(|word| range(word)).collect();
            let mut texts: Vec<String> = ranges?
                .iter()
                .map(|range| format!("{}:{}:{}", range.container, range.host, range.size))
                .collect();
            texts.sort();
            Ok(texts)
        };
        let namespace = Self { users: sorted(users)?, groups: sorted(groups)? };
        namespace.mapping()?;
        Ok(namespace)
    }

    /// Reads the file of a store.
    pub(crate) fn read(layout: &Layout) -> Result<Self, GrootfsError> {
        let path = layout.namespace();
        let bad = |error: &dyn std::fmt::Display| {
            GrootfsError::said(format!("reading namespace file {}: {error}", path.display()))
        };
        let bytes = fs::read(&path).map_err(|error| bad(&error))?;
        serde_json::from_slice(&bytes).map_err(|error| bad(&error))
    }

    /// Writes the file, beside its place and then into it; one that says the same stays, one that does not is an error.
    pub(crate) fn keep(&self, layout: &Layout) -> Result<(), GrootfsError> {
        let path = layout.namespace();
        if path.exists() {
            let before = Self::read(layout)?;
            let which = match (before.users == self.users, before.groups == self.groups) {
                (true, true) => return Ok(()),
                (false, _) => "UID",
                (true, false) => "GID",
            };
            let what =
                format!("provided {which} mappings do not match those already configured in the store");
            return Err(GrootfsError::said(what));
        }
        write(&path, &serde_json::to_vec(self).unwrap_or_default())
            .map_err(|error| GrootfsError::said(format!("creating namespace file: {error}")))
    }

    /// The mapping; `None` for a store without one.
    pub(crate) fn mapping(&self) -> Result<Option<IdMapping>, GrootfsError> {
        if self.users != self.groups {
            let what = "the UID mappings and the GID mappings of a store have to be the same";
            return Err(GrootfsError::said(what));
        }
        let ranges: Vec<IdRange> = self.users.iter().map(|word| range(word)).collect::<Result<_, _>>()?;
        if ranges.is_empty() {
            return Ok(None);
        }
        let mapping = IdMapping { ranges };
        if mapping.to_host(0).is_none() {
            return Err(GrootfsError::said("the mappings of a store have to map the id 0"));
        }
        Ok(Some(mapping))
    }
}

fn write(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let beside = path.with_extension("new");
    let mut file = fs::File::create(&beside)?;
    file.set_permissions(Permissions::from_mode(0o755))?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&beside, path)
}

/// Reads `NAMESPACE:HOST:SIZE`.
fn range(word: &str) -> Result<IdRange, GrootfsError> {
    let bad =
        || GrootfsError::said(format!("parsing mapping `{}`: it is not NAMESPACE:HOST:SIZE", shown(word)));
    let numbers: Vec<u32> =
        word.split(':').map(|number| number.trim().parse().map_err(|_| bad())).collect::<Result<_, _>>()?;
    let [container, host, size] = numbers[..] else { return Err(bad()) };
    // The last id is nobody's.
    let fits = |first: u32| u64::from(first) + u64::from(size) <= u64::from(u32::MAX);
    if size == 0 || !fits(container) || !fits(host) {
        return Err(bad());
    }
    Ok(IdRange { container, host, size })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn namespace(words: &[&str]) -> Result<Namespace, GrootfsError> {
        let words: Vec<String> = words.iter().map(|&word| word.to_owned()).collect();
        Namespace::of_flags(&words, &words)
    }

    #[test]
    fn the_mapping_of_a_cloud_foundry_cell_is_understood() {
        let cell = namespace(&["1:1:4294967293", "0:4294967294:1"]).expect("a mapping");
        let mapping = cell.mapping().expect("good").expect("some");
        assert_eq!(mapping.to_host(0), Some(4_294_967_294));
        assert_eq!(mapping.to_host(4_294_967_293), Some(4_294_967_293));
        assert_eq!(namespace(&[]).expect("none").mapping().expect("good"), None);
        for bad in ["1:1", "0:0:0", "a:0:1", "0:4294967294:2", "5:5:5"] {
            assert!(namespace(&[bad]).is_err(), "{bad}");
        }
        assert!(Namespace::of_flags(&["0:1:1".to_owned()], &[]).is_err());
    }

    #[test]
    fn the_file_is_grootfs_s_and_keeps_its_word() {
        let store = tempfile::tempdir().expect("a directory");
        let layout = Layout { store: store.path().to_owned() };
        fs::create_dir(layout.meta()).expect("made");
        let cell = namespace(&["1:1:5", "0:1000:1"]).expect("a mapping");
        cell.keep(&layout).expect("written");
        let text = fs::read_to_string(layout.namespace()).expect("there");
        assert_eq!(text, r#"{"uid-mappings":["0:1000:1","1:1:5"],"gid-mappings":["0:1000:1","1:1:5"]}"#);
        cell.keep(&layout).expect("the same");
        let other = namespace(&[]).expect("none").keep(&layout).expect_err("another").to_string();
        assert_eq!(other, "provided UID mappings do not match those already configured in the store");
        fs::write(layout.namespace(), r#"{"uid-mappings":null,"gid-mappings":null}"#).expect("written");
        assert_eq!(Namespace::read(&layout).expect("null is none"), Namespace::default());
    }
}
