//! Where registries point, and what goes along.

use std::fs;

use loam_registry::ClientOptions;
use loam_testkit::hostile::{Answer, Server};

use super::{chain, client, image, layer, quick, read, reference, run};

#[test]
fn a_login_does_not_follow_a_redirect() {
    let image = image(1000);
    let (digest, size, bytes) = layer(&image);
    let storage = Server::start(move |_| Answer::new(200).body(bytes.clone()));
    let there = storage.host();
    let registry = Server::start(move |request| match request.header("authorization") {
        None => Answer::new(401).header("WWW-Authenticate", "Basic realm=\"x\""),
        Some(_) => Answer::new(307).header("Location", format!("http://{there}/signed?secret=1")),
    });
    let directory = tempfile::tempdir().expect("temporary directory");
    let path = directory.path().join("auth.json");
    fs::write(&path, format!(r#"{{"auths":{{"{}":{{"auth":"dTpw"}}}}}}"#, registry.host())).expect("written");
    let (client, _) = client(ClientOptions { credentials_file: Some(path), ..quick() });
    run(read(&client, &reference(&registry.host(), "a:t"), &digest, size)).expect("the blob");
    assert_eq!(storage.paths(), ["/signed?secret=1"]);
    assert_eq!(storage.requests()[0].header("authorization"), None);
    assert_eq!(registry.requests()[1].header("authorization"), Some("Basic dTpw"));
}

#[test]
fn a_redirect_within_the_registry_keeps_the_login() {
    let image = image(1000);
    let (digest, size, _) = layer(&image);
    let moved = format!("/v2/b/blobs/{digest}");
    let registry = Server::start(move |request| match request.header("authorization") {
        None => Answer::new(401).header("WWW-Authenticate", "Basic realm=\"x\""),
        Some(_) if request.path.starts_with("/v2/a/") => Answer::new(302).header("Location", &*moved),
        Some(_) => image.answer(request),
    });
    let directory = tempfile::tempdir().expect("temporary directory");
    let path = directory.path().join("auth.json");
    fs::write(&path, format!(r#"{{"auths":{{"{}":{{"auth":"dTpw"}}}}}}"#, registry.host())).expect("written");
    let (client, _) = client(ClientOptions { credentials_file: Some(path), ..quick() });
    run(read(&client, &reference(&registry.host(), "a:t"), &digest, size)).expect("the blob");
}

#[test]
fn a_login_asked_for_elsewhere_is_not_given() {
    let image = image(1000);
    let (digest, size, _) = layer(&image);
    let thief = Server::start(|_| Answer::new(401).header("WWW-Authenticate", "Basic realm=\"x\""));
    let there = thief.host();
    let registry = Server::start(move |_| Answer::new(307).header("Location", format!("http://{there}/")));
    let directory = tempfile::tempdir().expect("temporary directory");
    let path = directory.path().join("auth.json");
    let logins = format!(
        r#"{{"auths":{{"{}":{{"auth":"dTpw"}},"{}":{{"auth":"dTpw"}}}}}}"#,
        registry.host(),
        thief.host()
    );
    fs::write(&path, logins).expect("written");
    let (client, _) = client(ClientOptions { credentials_file: Some(path), retries: 1, ..quick() });
    let told = chain(run(read(&client, &reference(&registry.host(), "a:t"), &digest, size)));
    assert!(told.contains("refuses what a redirect leads to"), "{told}");
    assert_eq!(thief.requests().len(), 2, "asked twice, the second time by way of the registry");
    assert!(thief.requests().iter().all(|request| request.header("authorization").is_none()));
}

#[test]
fn a_signed_address_that_ran_out_is_fetched_anew() {
    let image = image(1000);
    let (digest, size, bytes) = layer(&image);
    let storage = Server::start(move |request| match request.number {
        0 => Answer::new(403),
        _ => Answer::new(200).body(bytes.clone()),
    });
    let there = storage.host();
    let registry = Server::start(move |request| {
        Answer::new(307).header("Location", format!("http://{there}/{}", request.number))
    });
    let (client, _) = client(quick());
    run(read(&client, &reference(&registry.host(), "a:t"), &digest, size)).expect("the blob");
    assert_eq!(storage.paths(), ["/0", "/1"]);
}

#[test]
fn bad_redirects_are_not_followed() {
    let cases = [
        ("", "redirects without saying where"),
        ("ftp://127.0.0.1/x", "which is not HTTP"),
        ("http://169.254.169.254/latest/meta-data", "a link-local address"),
        ("http://2852039166/", "a link-local address"),
        ("http://[::bad", "to no valid address"),
    ];
    for (location, reason) in cases {
        let registry = Server::start(move |_| {
            let answer = Answer::new(307);
            if location.is_empty() { answer } else { answer.header("Location", location) }
        });
        let (client, _) = client(quick());
        let told = chain(run(client.manifest(&reference(&registry.host(), "a:t"))));
        assert!(told.contains(reason), "{location}: {told}");
    }
}

#[test]
fn a_circle_of_redirects_ends() {
    let registry = Server::start(|request| Answer::new(302).header("Location", request.path.clone()));
    let (client, _) = client(quick());
    let told = chain(run(client.manifest(&reference(&registry.host(), "a:t"))));
    assert!(told.contains("redirects more than 10 times"), "{told}");
    assert_eq!(registry.requests().len(), 11);
}

#[test]
fn names_of_this_machine_need_no_resolver() {
    let image = image(1000);
    let (digest, size, bytes) = layer(&image);
    let blob = bytes.clone();
    let storage = Server::start(move |_| Answer::new(200).body(blob.clone()));
    let port = |server: &Server| server.host().rsplit_once(':').expect("a port").1.to_owned();
    let there = format!("storage.localhost:{}", port(&storage));
    let registry = Server::start(move |request| match request.path.contains("/blobs/") {
        true => Answer::new(307).header("Location", format!("http://{there}/blob")),
        false => image.answer(request),
    });
    // No file and no server knows of such a name.
    let from = reference(&format!("a.registry.localhost:{}", port(&registry)), "a:t");
    let (client, _) = client(quick());
    run(client.manifest(&from)).expect("a manifest, without TLS");
    assert_eq!(run(read(&client, &from, &digest, size)).expect("the blob"), bytes);
    assert_eq!(storage.paths(), ["/blob"]);
}
