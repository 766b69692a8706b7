//! Pulling from a registry: Debian's, plain and with TLS and a password, and one that lies.

use loam_testkit::hostile::{Image, Liar, Lie};
use loam_testkit::registry::Registry;
use loam_tests::{Host, Need, Ran, needs};

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
