//! Image documents: what is understood, and what is refused with which words.

use std::cell::Cell;

use loam_model::ImageConfig;
use proptest::prelude::*;

use super::*;
use crate::hashing::sha256;

const A: &str = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

fn raw(media_type: &str, text: &str) -> RawDocument {
    let bytes = text.replace("$A", A).into_bytes();
    RawDocument { media_type: media_type.to_owned(), digest: sha256(&bytes), bytes }
}

fn refusal(media_type: &str, text: &str) -> String {
    Document::parse(&raw(media_type, text), "`x`").map(drop).expect_err(text).chain()
}

const CONFIG: &str = r#"{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"$A","size":2}"#;

fn manifest(members: &str) -> String {
    format!(r#"{{"schemaVersion":2,"config":{CONFIG}{members}}}"#)
}

#[test]
fn a_document_must_be_one_thing() {
    let both = manifest(r#","layers":[],"manifests":[]"#);
    assert_eq!(refusal("", &both), "the manifest of `x` is an image's and an index at once");
    for (served, text) in [
        (OCI_INDEX, manifest("")),
        (OCI_MANIFEST, r#"{"schemaVersion":2,"manifests":[]}"#.to_owned()),
        (OCI_MANIFEST, manifest(r#","mediaType":"application/vnd.oci.image.index.v1+json""#)),
        (DOCKER_MANIFEST, manifest(r#","mediaType":"application/vnd.oci.image.manifest.v1+json""#)),
        ("", r#"{"schemaVersion":2}"#.to_owned()),
        ("", manifest(r#","layers":[],"layers":[]"#)),
        ("", r#"{"schemaVersion":3}"#.to_owned()),
        ("", "[]".to_owned()),
    ] {
        refusal(served, &text);
    }
    assert!(Document::parse(&raw(OCI_MANIFEST, &manifest(r#","layers":null"#)), "`x`").is_ok());
}

#[test]
fn what_cannot_be_run_is_named() {
    let old = r#"{"schemaVersion":1,"fsLayers":[]}"#;
    assert_eq!(refusal("", old), "the image `x` is in Docker's old schema 1");
    let artifact = r#"{"schemaVersion":2,"artifactType":"application/x","layers":[],
        "config":{"mediaType":"application/vnd.oci.empty.v1+json","digest":"$A","size":2}}"#;
    assert_eq!(
        refusal("", artifact),
        "`x` is not a container image, but an artifact of the type `application/x`"
    );
    let layer =
        |kind: &str| manifest(&format!(r#","layers":[{{"mediaType":"{kind}","digest":"$A","size":1}}]"#));
    let encrypted = refusal("", &layer("application/vnd.oci.image.layer.v1.tar+gzip+encrypted"));
    assert_eq!(encrypted, format!("layer `{A}` is encrypted"));
    assert!(refusal("", &layer("application/vnd.erofs")).contains("`application/vnd.erofs`"));
    for good in [
        "application/vnd.oci.image.layer.v1.tar+zstd",
        "application/vnd.docker.image.rootfs.diff.tar.gzip",
        "application/vnd.oci.image.layer.nondistributable.v1.tar",
    ] {
        assert!(Document::parse(&raw("", &layer(good)), "`x`").is_ok(), "{good}");
    }
}

#[test]
fn bad_digests_and_sizes_are_refused() {
    for bad in [
        r#"{"schemaVersion":2,"config":{"digest":"sha256:../../x","size":1}}"#,
        r#"{"schemaVersion":2,"config":{"mediaType":"x","digest":"$A","size":-1}}"#,
    ] {
        assert!(refusal("", bad).contains("malformed"), "{bad}");
    }
}

fn index(entries: &str) -> RawDocument {
    raw(OCI_INDEX, &format!(r#"{{"schemaVersion":2,"manifests":[{entries}]}}"#))
}

fn entry(fill: char, platform: &str) -> String {
    let digest = format!("sha256:{}", String::from(fill).repeat(64));
    format!(r#"{{"mediaType":"{OCI_MANIFEST}","digest":"{digest}","size":1{platform}}}"#)
}

fn chosen(index: RawDocument, wanted: &str) -> Result<String> {
    let picked = Cell::new(String::new());
    let wanted = wanted.parse()?;
    select(index, &wanted, "`x`", &|entry| {
        picked.set(entry.digest.hex()[..1].to_owned());
        Ok(raw(OCI_MANIFEST, &manifest("")))
    })?;
    Ok(picked.into_inner())
}

#[test]
fn the_platform_decides_and_statements_are_passed_over() {
    let platform = |arch: &str| format!(r#","platform":{{"os":"linux","architecture":"{arch}"}}"#);
    let statement = r#","platform":{"os":"unknown","architecture":"unknown"}"#;
    let all =
        [entry('a', statement), entry('b', &platform("arm64")), entry('c', &platform("amd64"))].join(",");
    assert_eq!(chosen(index(&all), "linux/amd64").expect("there"), "c");
    assert_eq!(chosen(index(&all), "linux/aarch64").expect("there"), "b");
    let missing = chosen(index(&all), "linux/s390x").expect_err("not there");
    assert_eq!(missing.chain(), "`x` has no image for the platform `linux/s390x`");
    assert_eq!(missing.hint_text(), Some("there are images for linux/arm64, linux/amd64"));
    assert_eq!(chosen(index(&entry('d', "")), "linux/amd64").expect("the only one"), "d");
}

#[test]
fn an_index_in_itself_ends() {
    let nested = format!(r#"{{"mediaType":"{OCI_INDEX}","digest":"{A}","size":1}}"#);
    let top = index(&nested);
    let again = top.clone();
    let result = select(top, &Platform::host(), "`x`", &move |_| Ok(again.clone()));
    assert!(result.expect_err("a loop").chain().contains("nested too deep"));
}

#[test]
fn a_written_configuration_reads_back() {
    let config = ImageConfig {
        user: Some("7:8".to_owned()),
        environment: vec!["A=b".to_owned()],
        entrypoint: vec!["/x".to_owned()],
        volumes: vec!["/data".to_owned()],
        exposed_ports: vec!["80/tcp".to_owned()],
        labels: [("k".to_owned(), "v".to_owned())].into(),
        ..ImageConfig::default()
    };
    let id = sha256(b"x");
    let bytes = write_config(&config, &Platform::host(), "2026-01-02T03:04:05Z", &id).expect("small enough");
    let read = Config::parse(&bytes, "`x`").expect("well formed");
    assert_eq!((read.config, read.diff_ids), (config, vec![id]));
    assert!(Config::parse(br#"{"rootfs":{"type":"blobs"}}"#, "`x`").is_err());
    assert!(Config::parse(br#"{"config":null,"rootfs":{"type":"layers","diff_ids":null}}"#, "`x`").is_ok());
}

proptest! {
    #[test]
    fn any_bytes_end_in_an_answer(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let document = RawDocument { media_type: String::new(), digest: sha256(&bytes), bytes };
        Document::parse(&document, "`x`").ok();
        Config::parse(&document.bytes, "`x`").ok();
    }
}
