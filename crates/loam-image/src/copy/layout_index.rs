//! The `index.json` of an image layout (image specification, image-layout.md): one entry is put in, all others stay as
//! they are, also what nobody here understands of them.

use loam_model::Result;
use serde_json::{Map, Value, json};

use crate::document::{OCI_INDEX, RawDocument};
use crate::error::invalid;

/// The annotation that names an image within a layout.
const REF_NAME: &str = "org.opencontainers.image.ref.name";

/// What `oci-layout` says.
pub(super) const LAYOUT: &[u8] = br#"{"imageLayoutVersion":"1.0.0"}"#;

/// Reads an index; `place` is what messages call the layout.
pub(super) fn read(bytes: &[u8], place: &str) -> Result<Value> {
    let malformed = || invalid(format!("`index.json` in {place} is malformed"));
    let index: Value = serde_json::from_slice(bytes).map_err(|error| malformed().caused_by(error))?;
    if !index.get("manifests").is_some_and(Value::is_array) {
        return Err(malformed());
    }
    Ok(index)
}

/// An index without entries.
pub(super) fn empty() -> Value {
    json!({ "schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [] })
}

/// Puts an image in, by a tag or without: in the place of what has this tag, or of the same image without any.
pub(super) fn put(index: &mut Value, top: &RawDocument, tag: Option<&str>) {
    let mut entry = Map::new();
    entry.insert("mediaType".to_owned(), top.media_type.as_str().into());
    entry.insert("digest".to_owned(), top.digest.to_string().into());
    entry.insert("size".to_owned(), top.bytes.len().into());
    if let Some(tag) = tag {
        entry.insert("annotations".to_owned(), json!({ REF_NAME: tag }));
    }
    let Some(entries) = index["manifests"].as_array_mut() else { return };
    entries.retain(|known| {
        let named = known["annotations"][REF_NAME].as_str();
        named != tag || (tag.is_none() && known["digest"] != entry["digest"])
    });
    entries.push(Value::Object(entry));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hashing::sha256;

    #[test]
    fn one_entry_is_replaced_and_nothing_else() {
        let top = |text: &str| RawDocument {
            media_type: "m".to_owned(),
            digest: sha256(text.as_bytes()),
            bytes: text.as_bytes().to_vec(),
        };
        let mut index = read(br#"{"x":1,"manifests":[{"y":2}]}"#, "`p`").expect("an index");
        put(&mut index, &top("one"), Some("a"));
        put(&mut index, &top("two"), Some("b"));
        put(&mut index, &top("three"), Some("a"));
        put(&mut index, &top("four"), None);
        put(&mut index, &top("four"), None);
        assert_eq!(index["x"], 1);
        let entries = index["manifests"].as_array().expect("a list");
        let tags: Vec<Option<&str>> =
            entries.iter().map(|entry| entry["annotations"][REF_NAME].as_str()).collect();
        assert_eq!(tags, [None, Some("b"), Some("a"), None]);
        assert_eq!((&entries[0]["y"], &entries[2]["size"]), (&2.into(), &5.into()));
        for bad in [&b"{}"[..], b"[]", b"", br#"{"manifests":{}}"#] {
            assert!(read(bad, "`p`").is_err());
        }
    }
}
