//! Pulling from a registry: Debian's, plain and with TLS and a password, and one that lies.

use loam_testkit::hostile::{Answer, Image, Liar, Lie, Server, digest};
use loam_testkit::registry::Registry;
use loam_tests::{Host, Need, Ran, needs};
use serde_json::{Value, json};

/// An image of two layers that is never run.
fn image() -> Image {
    Image::of_layers(&[Image::tar(&[("a", b"first")]), Image::tar(&[("b", &[b'x'; 300_000])])])
}

/// By digest, so that the manifest can be caught lying too.
fn pull(host: &Host, liar: &Liar) -> Ran {
    host.loam_outside(&["pull", "--quiet", &format!("{}/some/image@{}", liar.host(), image().digest())])
}

/// Nothing of a failed pull may stay: no image, no layer, no staging.
fn nothing_came(host: &Host) {
    assert_eq!(host.loam(&["images", "-q"]).ok(), "");
    let find = format!("find {0}/layers {0}/staging -name diff 2>/dev/null | wc -l", host.root().display());
    assert_eq!(host.sh(&find).ok(), "0");
}

#[test]
fn lies_are_told_in_one_sentence_and_leave_nothing() {
    if !needs::met(&[Need::NativeProcessor]) {
        return;
    }
    let lies = [
        (Lie::WrongBytes, "digest"),
        (Lie::Short, ""),
        (Lie::Truncated, ""),
        (Lie::Endless, ""),
        (Lie::WrongManifest, ""),
        (Lie::EndlessManifest, ""),
        (Lie::WrongType, ""),
        (Lie::Unknown, "some/image"),
        (Lie::Unauthorized, "127.0.0.1"),
    ];
    for (lie, word) in lies {
        let host = Host::new();
        let liar = Liar::start(image(), lie.clone());
        let ran = pull(&host, &liar);
        assert_eq!(ran.code, 125, "{lie:?}: {ran:?}");
        let sentences = ran.stderr.lines().filter(|line| line.starts_with("loam: ")).count();
        assert_eq!(sentences, 1, "{lie:?}: {ran:?}");
        assert!(ran.stderr.contains(word), "{lie:?}: {ran:?}");
        nothing_came(&host);
        // The same command works when the cause is gone.
        liar.be_honest();
        pull(&host, &liar).ok();
        host.finish();
    }
}

#[test]
fn a_busy_registry_is_waited_for() {
    if !needs::met(&[Need::NativeProcessor]) {
        return;
    }
    let lies = [
        Lie::TooMany { times: 2, retry_after: "1".to_owned() },
        Lie::Failing { times: 2, status: 500 },
        Lie::Failing { times: 2, status: 503 },
    ];
    for lie in lies {
        let host = Host::new();
        let liar = Liar::start(image(), lie);
        pull(&host, &liar).ok();
        host.finish();
    }
}

#[test]
fn debian_s_registry_gives_what_skopeo_put_there() {
    if !needs::met(&[Need::NativeProcessor]) {
        return;
    }
    let host = Host::new();
    let registry = Registry::plain();
    loam_testkit::images::push_small(&registry);
    let name = format!("{}/small", registry.address());
    host.loam_outside(&["pull", "--quiet", &name]).ok();
    assert_eq!(host.loam(&["run", "--rm", "--network", "none", &name, "echo", "pulled"]).ok(), "pulled");
    let digest = host
        .sh(&format!("jq -r '.manifests[0].digest' {}/index.json", loam_testkit::images::small().display()));
    let by_digest = format!("{name}@{}", digest.ok());
    host.loam_outside(&["pull", "--quiet", &by_digest]).ok();
    host.loam_outside(&["pull", "--quiet", &format!("{name}:no-such-tag")]).refused(125, "no-such-tag");
    host.finish();
}

#[test]
fn a_registry_with_tls_and_a_password_wants_both() {
    if !needs::met(&[Need::NativeProcessor]) {
        return;
    }
    let host = Host::new();
    let registry = Registry::with_tls_and_password();
    loam_testkit::images::push_small(&registry);
    let name = format!("{}/small", registry.address());
    let ran = host.loam_outside(&["pull", "--quiet", &name]);
    assert_eq!(ran.code, 125, "an unknown authority is not trusted: {ran:?}");
    let authfile = host.scratch().join("auth.json");
    std::fs::write(&authfile, registry.credentials_file()).unwrap();
    let authfile = authfile.to_str().unwrap();
    let ran = host.loam_outside(&["pull", "--quiet", "--tls-verify=false", &name]);
    assert_eq!(ran.code, 125, "a password is wanted: {ran:?}");
    host.loam_outside(&["pull", "--quiet", "--tls-verify=false", "--authfile", authfile, &name]).ok();
    let ran = host.loam_outside(&["pull", "--quiet", "--authfile", authfile, &name]);
    assert_eq!(ran.code, 125, "an unknown authority is not trusted with a password either: {ran:?}");
    assert!(!format!("{ran:?}").contains(registry.password()), "the password is nowhere: {ran:?}");
    host.finish();
}

/// A registry of these documents: by digest all of them, by any tag the first.
fn serving(documents: Vec<Vec<u8>>) -> Server {
    Server::start(move |request| {
        let last = request.path.rsplit('/').next().unwrap_or_default();
        let found = documents.iter().find(|document| digest(document) == last);
        match found.or_else(|| documents.first().filter(|_| !last.contains(':'))) {
            Some(document) => Answer::new(200).body(document.clone()),
            None => Answer::refusal(404, "MANIFEST_UNKNOWN", "manifest unknown"),
        }
    })
}

const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";

fn descriptor(kind: &str, document: &[u8]) -> Value {
    json!({ "mediaType": kind, "digest": digest(document), "size": document.len() })
}

fn index(entries: Vec<Value>) -> Vec<u8> {
    json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": entries }).to_string().into_bytes()
}

fn manifest(config: &Value, layers: &Value) -> Vec<u8> {
    let document = json!({ "schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": layers });
    document.to_string().into_bytes()
}

#[test]
fn documents_that_make_no_sense_get_one_sentence_and_leave_nothing() {
    if !needs::met(&[Need::NativeProcessor]) {
        return;
    }
    let config = json!({ "os": "linux", "rootfs": { "type": "layers", "diff_ids": [] } }).to_string();
    let config = config.into_bytes();
    let good = descriptor(CONFIG, &config);
    let mut nested = vec![index(Vec::new())];
    for _ in 0..10 {
        nested.insert(0, index(vec![descriptor(INDEX, &nested[0])]));
    }
    let image = manifest(&good, &json!([]));
    let cases: Vec<(&str, Vec<Vec<u8>>, &str)> = vec![
        ("deep", nested, "nested too deep"),
        ("wide", vec![index(vec![descriptor(MANIFEST, &image); 1001])], "more than 1000 entries"),
        ("dangling", vec![index(vec![descriptor(MANIFEST, b"elsewhere")])], "was not found"),
        (
            "other type",
            vec![index(vec![descriptor(INDEX, &image)]), image.clone()],
            "is not of the type that the index",
        ),
        ("artifact", vec![manifest(&descriptor("text/x", b"{}"), &json!([]))], "not a container image"),
        (
            "no layer",
            vec![manifest(&good, &json!([descriptor("text/x", b"")])), config.clone()],
            "which is no layer's",
        ),
        ("no config", vec![manifest(&descriptor(CONFIG, b"["), &json!([])), b"[".to_vec()], "malformed"),
        (
            "too few",
            vec![manifest(&good, &json!([descriptor(LAYER, b"")])), config.clone()],
            "names 0 layers and its manifest 1",
        ),
        (
            "large config",
            vec![manifest(
                &json!({ "mediaType": CONFIG, "digest": digest(b""), "size": 9 << 20 }),
                &json!([]),
            )],
            "where at most",
        ),
        (
            "negative",
            vec![manifest(&json!({ "mediaType": CONFIG, "digest": digest(b""), "size": -1 }), &json!([]))],
            "malformed",
        ),
        (
            "path",
            vec![manifest(
                &json!({ "mediaType": CONFIG, "digest": "sha256:../../x", "size": 1 }),
                &json!([]),
            )],
            "malformed",
        ),
        ("brackets", vec![vec![b'['; 100_000]], "not valid"),
        ("both", vec![br#"{"schemaVersion":2,"manifests":[],"config":{},"layers":[]}"#.to_vec()], "both"),
        ("nothing", vec![Vec::new()], "not valid"),
    ];
    let host = Host::new();
    for (name, documents, sentence) in cases {
        let server = serving(documents);
        let ran = host.loam_outside(&["pull", "--quiet", &format!("{}/a:t", server.host())]);
        assert_eq!(ran.code, 125, "{name}: {ran:?}");
        ran.refused(125, sentence);
        nothing_came(&host);
    }
    // An index that leads back to itself can't have its own digest in it; a registry can only say so.
    let round = index(vec![json!({ "mediaType": INDEX, "digest": digest(b"round"), "size": 100 })]);
    let server = Server::start(move |_| Answer::new(200).body(round.clone()));
    let name = format!("{}/a:t", server.host());
    host.loam_outside(&["pull", "--quiet", &name]).refused(125, "sends a manifest with the digest");
    let server = Server::start(|_| Answer::new(302).header("Location", "file:///etc/passwd"));
    let name = format!("{}/a:t", server.host());
    host.loam_outside(&["pull", "--quiet", &name]).refused(125, "which is not HTTP");
    nothing_came(&host);
    host.finish();
}
