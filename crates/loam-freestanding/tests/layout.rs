//! The programs' sizes, and the layout of the built-in image.

use std::collections::BTreeMap;
use std::io::Read;

use serde_json::Value;
use sha2::{Digest, Sha256};

#[test]
fn the_programs_are_small_and_static() {
    for (program, limit) in [(loam_freestanding::HELLO, 100 * 1024), (loam_freestanding::INIT, 32 * 1024)] {
        assert!(program.len() < limit, "{} bytes", program.len());
        assert_eq!(&program[..4], b"\x7fELF");
        assert!(!program.windows(7).any(|window| window == b"/lib64/"), "no interpreter is asked for");
    }
}

fn files(tar: &[u8]) -> BTreeMap<String, Vec<u8>> {
    let mut archive = tar::Archive::new(tar);
    let entries = archive.entries().expect("a tar");
    entries
        .map(|entry| {
            let mut entry = entry.expect("an entry");
            let path = entry.path().expect("a path").to_string_lossy().into_owned();
            let mut content = Vec::new();
            entry.read_to_end(&mut content).expect("content");
            (path, content)
        })
        .collect()
}

#[test]
fn the_layout_is_whole_from_index_to_program() {
    let files = files(loam_freestanding::HELLO_LAYOUT);
    let follow = |descriptor: &Value| {
        let digest = descriptor["digest"].as_str().expect("a digest");
        let blob = &files[&digest.replace("sha256:", "blobs/sha256/")];
        let hex: String = Sha256::digest(blob).iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(digest, format!("sha256:{hex}"));
        assert_eq!(descriptor["size"].as_u64(), u64::try_from(blob.len()).ok());
        blob.clone()
    };
    let json = |bytes: &[u8]| serde_json::from_slice::<Value>(bytes).expect("JSON");
    assert_eq!(json(&files["oci-layout"])["imageLayoutVersion"], "1.0.0");
    let index = json(&files["index.json"]);
    let entry = &index["manifests"][0];
    assert_eq!(entry["annotations"]["org.opencontainers.image.ref.name"], "latest");
    let manifest = json(&follow(entry));
    let config = json(&follow(&manifest["config"]));
    let layer = follow(&manifest["layers"][0]);
    assert_eq!(config["rootfs"]["diff_ids"][0], manifest["layers"][0]["digest"]);
    assert_eq!(config["config"]["Entrypoint"][0], "/hello");
    let content = self::files(&layer);
    assert_eq!(content["hello"], loam_freestanding::HELLO);
    assert_eq!(content.keys().collect::<Vec<_>>(), ["etc/", "etc/group", "etc/passwd", "hello"]);
}
