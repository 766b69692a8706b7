//! The client against Debian's `docker-registry`, filled by skopeo: plain, and with TLS and a password.

use std::fs;
use std::future::Future;
use std::sync::Arc;

use loam_model::ErrorKind;
use loam_registry::{Client, ClientOptions, Reference, SettingsFiles};
use loam_testkit::hostile::digest;
use loam_testkit::images;
use loam_testkit::registry::Registry;

#[expect(clippy::print_stdout, reason = "a test that can not run says so")]
fn is_root(test: &str) -> bool {
    let is_root = rustix::process::geteuid().is_root();
    if !is_root {
        println!("skipped: {test}: making the images needs root");
    }
    is_root
}

fn client(options: ClientOptions) -> Client {
    Client::new(options, Arc::new(|_: &str| {})).expect("a client")
}

fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(future)
}

/// Reads a manifest and all its blobs, and checks their digests.
async fn read_all(client: &Client, reference: &Reference) -> usize {
    let manifest = client.manifest(reference).await.expect("a manifest");
    let parsed: serde_json::Value = serde_json::from_slice(&manifest.bytes).expect("JSON");
    let layers = parsed["layers"].as_array().expect("layers");
    for descriptor in layers.iter().chain([&parsed["config"]]) {
        let wanted = descriptor["digest"].as_str().expect("a digest");
        let size = descriptor["size"].as_u64().expect("a size");
        let blob = client.blob(reference, &wanted.parse().expect("a digest"), size).await;
        let (mut stream, mut bytes) = (blob.expect("a blob"), Vec::new());
        while let Some(piece) = stream.next().await {
            bytes.extend_from_slice(&piece.expect("bytes"));
        }
        assert_eq!(digest(&bytes), wanted);
    }
    layers.len()
}

#[test]
fn a_plain_registry_on_this_machine_needs_no_option() {
    if !is_root("a_plain_registry_on_this_machine_needs_no_option") {
        return;
    }
    let registry = Registry::plain();
    images::push_small(&registry);
    let options = ClientOptions { credentials_file: Some("/dev/null".into()), ..ClientOptions::default() };
    let client = client(options);
    let reference: Reference = format!("{}/small", registry.address()).parse().expect("valid");
    assert_eq!(run(read_all(&client, &reference)), 1);
    let missing: Reference = format!("{}/small:no-such-tag", registry.address()).parse().expect("valid");
    let failure = run(client.manifest(&missing)).expect_err("not there").into_failure();
    assert_eq!(failure.kind(), ErrorKind::NotFound);
    let host = registry.address();
    assert_eq!(failure.chain(), format!("`{missing}` was not found on `{host}`: manifest unknown"));
}

#[test]
fn tls_and_a_password_are_both_insisted_on() {
    if !is_root("tls_and_a_password_are_both_insisted_on") {
        return;
    }
    let registry = Registry::with_tls_and_password();
    images::push_small(&registry);
    let host = registry.address().to_owned();
    let reference: Reference = format!("{host}/small").parse().expect("valid");
    let files = tempfile::tempdir().expect("temporary directory");
    let credentials = files.path().join("auth.json");
    fs::write(&credentials, registry.credentials_file()).expect("written");
    let certificates = files.path().join("certs.d");
    fs::create_dir_all(certificates.join(&host)).expect("made");
    fs::copy(registry.authority(), certificates.join(&host).join("ca.crt")).expect("copied");

    let nobody = ClientOptions {
        credentials_file: Some("/dev/null".into()),
        settings: SettingsFiles::default(),
        ..ClientOptions::default()
    };
    let somebody = ClientOptions { credentials_file: Some(credentials), ..nobody.clone() };
    let told = |options: ClientOptions| {
        run(client(options).manifest(&reference)).expect_err("refused").into_failure().chain()
    };
    let untrusted = told(somebody.clone());
    assert!(untrusted.starts_with(&format!("the certificate of `{host}` can't be trusted: ")), "{untrusted}");
    let denied = told(ClientOptions { insecure: true, ..nobody.clone() });
    assert_eq!(denied, format!("`{host}/small:latest` does not exist or you have no access to it"));

    let trusting = {
        let settings = SettingsFiles { hosts: vec![certificates], ..SettingsFiles::default() };
        ClientOptions { settings, ..somebody.clone() }
    };
    assert_eq!(run(read_all(&client(trusting.clone()), &reference)), 1);
    assert_eq!(run(read_all(&client(ClientOptions { insecure: true, ..somebody }), &reference)), 1);

    let wrong = files.path().join("wrong.json");
    fs::write(&wrong, format!(r#"{{"auths":{{"{host}":{{"username":"somebody","password":"else"}}}}}}"#))
        .expect("written");
    let refused = told(ClientOptions { credentials_file: Some(wrong), ..trusting });
    assert_eq!(refused, format!("the login for `{host}` is not accepted: authentication required"));
}

#[test]
fn a_client_certificate_is_shown_from_either_kind_of_certs_d() {
    let registry = Registry::with_client_certificates();
    let host = registry.address().to_owned();
    let reference: Reference = format!("{host}/none").parse().expect("valid");
    let (certificate, key) = registry.client_certificate();
    let files = tempfile::tempdir().expect("temporary directory");
    let place = files.path().join("certs.d").join(&host);
    let told = || {
        let settings =
            SettingsFiles { hosts: vec![files.path().join("certs.d")], ..SettingsFiles::default() };
        let options = ClientOptions {
            credentials_file: Some("/dev/null".into()),
            settings,
            ..ClientOptions::default()
        };
        let options = ClientOptions { retries: 0, ..options };
        run(client(options).manifest(&reference)).expect_err("nothing is there").into_failure().chain()
    };
    fs::create_dir_all(&place).expect("made");
    fs::copy(registry.authority(), place.join("ca.crt")).expect("copied");
    let strange = told();
    assert!(!strange.contains("was not found"), "who shows no certificate is not answered: {strange}");
    fs::copy(&certificate, place.join("client.cert")).expect("copied");
    let without_key = told();
    assert!(without_key.contains("client.key` can't be used"), "{without_key}");
    fs::copy(&key, place.join("client.key")).expect("copied");
    assert!(told().contains("was not found"), "as Docker and Podman have it");
    fs::remove_dir_all(&place).expect("removed");
    fs::create_dir_all(&place).expect("made");
    let toml = format!("ca = {:?}\nclient = [[{certificate:?}, {key:?}]]\n", registry.authority());
    fs::write(place.join("hosts.toml"), toml).expect("written");
    assert!(told().contains("was not found"), "as containerd has it");
}
