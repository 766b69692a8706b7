//! Names: references, digests, sources, registries.

use loam_image::fuzzing;
use loam_model::Digest;
use loam_registry::{Reference, login_key};

use super::seed;
use crate::{Target, sentence};

/// The target. The bytes are the text, where they are UTF-8.
pub const TARGET: Target = Target { name: "names", run, seeds, words: WORDS };

const WORDS: &[&str] = &[
    "docker.io/",
    "index.docker.io/",
    "library/",
    "localhost:5000/",
    "[::1]:5000/",
    "@sha256:",
    "@sha512:",
    "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
    "oci:",
    "oci-archive:",
    "docker-archive:",
    "docker://",
    ":latest",
    "__",
    "--",
    "../",
];

fn run(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    match text.parse::<Reference>() {
        Ok(reference) => check(&reference),
        Err(error) => sentence::check(&error.into_failure()),
    }
    if let Ok(digest) = text.parse::<Digest>() {
        let hex = digest.hex();
        assert!(hex.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')), "{hex}");
        assert_eq!(digest.to_string(), text);
    }
    if let Ok(key) = login_key(&text) {
        assert_eq!(login_key(&key).ok().as_ref(), Some(&key), "a key of a login is not its own key");
    }
    if let Err(failure) = loam_image::parse_source(&text) {
        sentence::check(&failure);
    }
    for name in fuzzing::names(&text) {
        assert!(name.parse::<Reference>().is_ok(), "`{name}` would be kept, and is no name");
    }
}

/// A whole name is read as itself, and has nothing that would mean something else in a URL or a path.
fn check(reference: &Reference) {
    let whole = reference.canonical();
    let again: Result<Reference, _> = whole.parse();
    assert_eq!(again.as_ref(), Ok(reference), "{whole}");
    let path = reference.path();
    assert!(path.split('/').all(|part| !matches!(part, "" | "." | "..")), "{path}");
    assert!(whole.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-/:@[]".contains(&byte)), "{whole}");
    assert!(reference.tag().is_some() || reference.digest().is_some(), "{whole}");
}

fn seeds() -> Vec<Vec<u8>> {
    let digest = format!("sha256:{}", "0a".repeat(32));
    let texts = [
        "debian".to_owned(),
        "debian:12".to_owned(),
        "docker.io/a/b:c".to_owned(),
        "[::1]:5000/a/b_c__d--e.f:T".to_owned(),
        format!("h.x:5000/a:t@{digest}"),
        digest,
        format!("sha512:{}", "0a".repeat(64)),
        "oci:dir:a:1".to_owned(),
        "docker-archive:/x/My File.tar.gz:name/x:1".to_owned(),
        "https://index.docker.io/v1/".to_owned(),
    ];
    texts.iter().map(|text| seed(text.as_bytes()[0], &text[1..])).collect()
}
