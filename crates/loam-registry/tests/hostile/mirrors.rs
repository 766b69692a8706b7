//! Mirrors, and what settings files say of registries.

use std::fs;

use loam_registry::{ClientOptions, SettingsFiles};
use loam_testkit::hostile::{Answer, Image, Server};

use super::{chain, client, image, layer, quick, read, reference, run};

/// Options with these settings, which last as long as the directory.
fn with_settings(registries: &str, hosts: &[(&str, &str)]) -> (tempfile::TempDir, ClientOptions) {
    let directory = tempfile::tempdir().expect("temporary directory");
    let file = directory.path().join("registries.conf");
    fs::write(&file, registries).expect("written");
    for (host, text) in hosts {
        let place = directory.path().join("certs.d").join(host);
        fs::create_dir_all(&place).expect("made");
        fs::write(place.join("hosts.toml"), text).expect("written");
    }
    let settings = SettingsFiles {
        registries: vec![file],
        drop_ins: Vec::new(),
        hosts: vec![directory.path().join("certs.d")],
    };
    (directory, ClientOptions { settings, ..quick() })
}

fn mirrors(of: &str, locations: &[String]) -> String {
    let mut text = format!("[[registry]]\nprefix = \"{of}\"\n");
    for location in locations {
        text.push_str(&format!("[[registry.mirror]]\nlocation = \"{location}\"\n"));
    }
    text
}

fn serving(image: &Image) -> Server {
    let image = image.clone();
    Server::start(move |request| image.answer(request))
}

#[test]
fn a_mirror_is_asked_in_place_of_a_registry_that_is_not_there() {
    let image = image(1000);
    let (digest, size, bytes) = layer(&image);
    let mirror = serving(&image);
    let gone = Server::start(|_| Answer::none()).host();
    let (_files, options) = with_settings(&mirrors(&gone, &[format!("{}/cache", mirror.host())]), &[]);
    let (client, _) = client(options);
    let from = reference(&gone, "a/b:t");
    run(async {
        client.manifest(&from).await.expect("a manifest");
        assert_eq!(read(&client, &from, &digest, size).await.expect("a blob"), bytes);
    });
    let expected = ["/v2/cache/a/b/manifests/t".to_owned(), format!("/v2/cache/a/b/blobs/{digest}")];
    assert_eq!(mirror.paths(), expected);
}

#[test]
fn mirrors_that_fail_are_passed_over_in_order() {
    let image = image(1000);
    let (digest, size, bytes) = layer(&image);
    let broken = Server::start(|_| Answer::new(500));
    let empty = Server::start(|_| Answer::refusal(404, "MANIFEST_UNKNOWN", "unknown"));
    let gone = Server::start(|_| Answer::none()).host();
    let origin = serving(&image);
    let places = [gone.clone(), broken.host(), empty.host()];
    let (_files, options) = with_settings(&mirrors(&origin.host(), &places), &[]);
    let (client, heard) = client(options);
    let from = reference(&origin.host(), "a:t");
    run(async {
        client.manifest(&from).await.expect("a manifest");
        assert_eq!(read(&client, &from, &digest, size).await.expect("a blob"), bytes);
    });
    assert_eq!((broken.requests().len(), empty.requests().len(), origin.requests().len()), (2, 2, 2));
    let sentences = heard.sentences();
    let first = format!("the mirror `{gone}` is passed over: `{gone}` can't be reached: Connection refused");
    assert_eq!(sentences[0], first);
    assert!(sentences[1].contains("answers 500"), "{sentences:?}");
    // That an image is not on a mirror is no news, and nobody is told the same twice.
    assert!(!sentences.iter().any(|sentence| sentence.contains(&empty.host())), "{sentences:?}");
}

#[test]
fn a_mirror_that_lies_about_a_digest_is_passed_over() {
    let image = image(10);
    let served = image.clone();
    let liar = Server::start(move |_| {
        Answer::new(200)
            .header("Content-Type", &*served.media_type)
            .body([&served.manifest[..], b" "].concat())
    });
    let origin = serving(&image);
    let (_files, options) = with_settings(&mirrors(&origin.host(), &[liar.host()]), &[]);
    let (client, heard) = client(options);
    let from = reference(&origin.host(), &format!("a@{}", image.digest()));
    let manifest = run(client.manifest(&from)).expect("the true one");
    assert_eq!(manifest.bytes, image.manifest);
    assert!(heard.sentences()[0].contains("sends a manifest with the digest"), "{:?}", heard.sentences());
}

#[test]
fn a_mirror_that_breaks_off_is_taken_up_where_it_was() {
    let image = image(3 * 1024 * 1024);
    let (digest, size, bytes) = layer(&image);
    let whole = bytes.clone();
    let mirror = Server::start(move |request| match request.number {
        0 => Answer::new(200).says_length(whole.len() as u64).body(&whole[..whole.len() / 2]).hang_up(),
        _ => Answer::new(404),
    });
    let origin = serving(&image);
    let (_files, options) = with_settings(&mirrors(&origin.host(), &[mirror.host()]), &[]);
    let (client, _) = client(options);
    let from = reference(&origin.host(), "a:t");
    assert!(run(read(&client, &from, &digest, size)).expect("a blob") == bytes);
    let rest = origin.requests();
    assert!(rest[0].header("range").is_some_and(|range| range != "bytes=0-"), "{rest:?}");
    assert_eq!(mirror.requests().len(), 2);
}

#[test]
fn a_login_goes_to_the_mirror_that_it_is_for_and_no_other() {
    let image = image(1000);
    let secured = |image: &Image| {
        let image = image.clone();
        Server::start(move |request| match request.header("authorization") {
            None => Answer::new(401).header("WWW-Authenticate", "Basic realm=\"x\""),
            Some(_) => image.answer(request),
        })
    };
    let (stranger, friend) = (secured(&image), secured(&image));
    let origin = secured(&image);
    let places = [stranger.host(), friend.host()];
    let (files, options) = with_settings(&mirrors(&origin.host(), &places), &[]);
    let path = files.path().join("auth.json");
    let entry = |host: &str, auth: &str| format!("\"{host}\":{{\"auth\":\"{auth}\"}}");
    let logins = [entry(&friend.host(), "ZjpmCg=="), entry(&origin.host(), "bzpvCg==")].join(",");
    fs::write(&path, format!("{{\"auths\":{{{logins}}}}}")).expect("written");
    let (client, _) = client(ClientOptions { credentials_file: Some(path), ..options });
    run(client.manifest(&reference(&origin.host(), "a:t"))).expect("by the friend");
    assert!(stranger.requests().iter().all(|request| request.header("authorization").is_none()));
    assert_eq!(
        friend.requests().last().and_then(|request| request.header("authorization")),
        Some("Basic ZjpmCg==")
    );
    assert!(origin.requests().is_empty());
}

#[test]
fn hosts_of_containerds_file_are_asked_with_their_headers_and_the_registrys_name() {
    let image = image(1000);
    let (digest, size, _) = layer(&image);
    let (mirror, origin) = (serving(&image), serving(&image));
    let text = format!(
        "[host.\"http://{}/v2/proxy\"]\ncapabilities = [\"pull\"]\noverride_path = true\n[host.\"http://{0}/v2/proxy\".header]\nx-key = \"secret\"\n",
        mirror.host()
    );
    let text = format!("server = \"http://{}\"\n{text}", origin.host());
    let (_files, options) = with_settings("", &[(&origin.host(), &text)]);
    let (client, _) = client(options);
    let from = reference(&origin.host(), "a:t");
    run(async {
        client.manifest(&from).await.expect("a manifest");
        read(&client, &from, &digest, size).await.expect("a blob");
    });
    // The mirror may not say what a tag points to.
    assert_eq!(origin.paths(), ["/v2/a/manifests/t"]);
    let port = origin.host().replace(':', "%3A");
    assert_eq!(mirror.paths(), [format!("/v2/proxy/a/blobs/{digest}?ns={port}")]);
    assert_eq!(mirror.requests()[0].header("x-key"), Some("secret"));
    assert_eq!(origin.requests()[0].header("x-key"), None);
}

#[test]
fn headers_of_settings_do_not_follow_a_redirect() {
    let image = image(1000);
    let (digest, size, bytes) = layer(&image);
    let storage = Server::start(move |_| Answer::new(200).body(bytes.clone()));
    let there = storage.host();
    let registry = Server::start(move |_| Answer::new(307).header("Location", format!("http://{there}/s")));
    let text = format!("server = \"http://{}\"\n[header]\nx-key = \"secret\"\n", registry.host());
    let (_files, options) = with_settings("", &[(&registry.host(), &text)]);
    let (client, _) = client(options);
    run(read(&client, &reference(&registry.host(), "a:t"), &digest, size)).expect("a blob");
    assert_eq!(registry.requests()[0].header("x-key"), Some("secret"));
    assert_eq!(storage.requests()[0].header("x-key"), None);
}

#[test]
fn a_blocked_registry_is_not_even_connected_to() {
    let image = image(10);
    let registry = serving(&image);
    let text = format!("[[registry]]\nlocation = \"{}\"\nblocked = true\n", registry.host());
    let (_files, options) = with_settings(&text, &[]);
    let (client, _) = client(options);
    let told = chain(run(client.manifest(&reference(&registry.host(), "a:t"))));
    assert!(told.starts_with(&format!("`{}/a` is blocked: `", registry.host())), "{told}");
    assert!(registry.requests().is_empty());
}
