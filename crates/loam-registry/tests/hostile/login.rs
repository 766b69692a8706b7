//! Challenges, tokens and credentials.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use loam_model::ErrorKind;
use loam_registry::ClientOptions;
use loam_testkit::hostile::{Answer, Request, Server};

use super::{client, image, layer, quick, read, reference, run};

/// A token service that counts its tokens: `token-1`, `token-2` and so on.
fn token_service() -> Server {
    let count = AtomicUsize::new(0);
    Server::start(move |_| {
        let number = count.fetch_add(1, Ordering::SeqCst) + 1;
        Answer::new(200).body(format!(r#"{{"token":"token-{number}","expires_in":300}}"#))
    })
}

fn challenge(realm: &str, scope: &str) -> Answer {
    let value = format!(r#"Bearer realm="{realm}",service="fake",scope="{scope}""#);
    Answer::refusal(401, "UNAUTHORIZED", "authentication required").header("WWW-Authenticate", value)
}

fn with_auth(host: &str, entry: &str) -> (tempfile::TempDir, ClientOptions) {
    let directory = tempfile::tempdir().expect("temporary directory");
    let path: PathBuf = directory.path().join("auth.json");
    fs::write(&path, format!(r#"{{"auths":{{"{host}":{entry}}}}}"#)).expect("written");
    (directory, ClientOptions { credentials_file: Some(path), ..quick() })
}

fn bearer(request: &Request) -> Option<&str> {
    request.header("authorization")?.strip_prefix("Bearer ")
}

#[test]
fn one_token_serves_many_transfers() {
    let image = image(1000);
    let (digest, size, _) = layer(&image);
    let tokens = token_service();
    let realm = format!("http://{}/token?x=y", tokens.host());
    let registry = Server::start(move |request| match bearer(request) {
        Some("token-1") => image.answer(request),
        _ => challenge(&realm, "repository:a:pull"),
    });
    let (client, _) = client(quick());
    let from = reference(&registry.host(), "a:t");
    run(async {
        // All at once, before any of them has a token.
        let (one, two, three) = tokio::join!(
            client.manifest(&from),
            read(&client, &from, &digest, size),
            read(&client, &from, &digest, size)
        );
        one.expect("a manifest");
        two.expect("a blob");
        three.expect("a blob");
    });
    assert_eq!(tokens.paths(), ["/token?x=y&service=fake&scope=repository%3Aa%3Apull"]);
    assert_eq!(tokens.requests()[0].header("authorization"), None);
}

#[test]
fn a_login_goes_to_the_token_service() {
    let image = image(10);
    let tokens = token_service();
    let realm = format!("http://{}/token", tokens.host());
    let registry = Server::start(move |request| match bearer(request) {
        Some(_) => image.answer(request),
        None => challenge(&realm, "repository:a:pull"),
    });
    let (_directory, options) = with_auth(&registry.host(), r#"{"auth":"dTpw"}"#);
    let (client, _) = client(options);
    run(client.manifest(&reference(&registry.host(), "a:t"))).expect("a manifest");
    assert_eq!(tokens.requests()[0].header("authorization"), Some("Basic dTpw"));
    assert!(tokens.paths()[0].ends_with("&account=u"), "{:?}", tokens.paths());
    assert!(registry.requests().iter().all(|request| request.header("authorization") != Some("Basic dTpw")));
}

#[test]
fn an_identity_token_is_posted_and_falls_back_to_get() {
    for knows_post in [true, false] {
        let image = image(10);
        let tokens = Server::start(move |request| match (request.method.as_str(), knows_post) {
            ("POST", false) => Answer::new(405),
            ("POST", true) => Answer::new(200).body(r#"{"access_token":"posted"}"#),
            _ => Answer::new(200).body(r#"{"access_token":"got"}"#),
        });
        let realm = format!("http://{}/token", tokens.host());
        let registry = Server::start(move |request| match bearer(request) {
            Some("posted" | "got") => image.answer(request),
            _ => challenge(&realm, "repository:a:pull"),
        });
        let (_directory, options) = with_auth(&registry.host(), r#"{"identitytoken":"id/token"}"#);
        let (client, _) = client(options);
        run(client.manifest(&reference(&registry.host(), "a:t"))).expect("a manifest");
        let first = &tokens.requests()[0];
        let form = String::from_utf8_lossy(&first.body).into_owned();
        assert!(form.contains("grant_type=refresh_token&refresh_token=id%2Ftoken&service=fake"), "{form}");
        assert_eq!(tokens.requests().len(), if knows_post { 1 } else { 2 });
    }
}

#[test]
fn an_old_token_and_a_narrow_token_are_replaced_once() {
    let image = image(10);
    let tokens = token_service();
    let realm = format!("http://{}/token", tokens.host());
    let registry = Server::start(move |request| match bearer(request) {
        None => challenge(&realm, "repository:a:none"),
        Some("token-1") => challenge(&realm, "repository:a:pull"),
        Some("token-2") if request.number == 2 => image.answer(request),
        Some("token-3") => image.answer(request),
        Some(_) => challenge(&realm, "repository:a:pull"),
    });
    let (client, _) = client(quick());
    let from = reference(&registry.host(), "a:t");
    run(async {
        client.manifest(&from).await.expect("with the second token");
        client.manifest(&from).await.expect("with the third token");
    });
    let scopes: Vec<_> =
        tokens.paths().iter().map(|path| path.rsplit_once("%3A").expect("a scope").1.to_owned()).collect();
    assert_eq!(scopes, ["none", "pull", "pull"]);
}

#[test]
fn a_registry_that_is_never_content_is_given_up() {
    let tokens = token_service();
    let realm = format!("http://{}/token", tokens.host());
    let number = Arc::new(AtomicUsize::new(0));
    let registry = Server::start(move |_| {
        let number = number.fetch_add(1, Ordering::SeqCst);
        challenge(&realm, &format!("repository:a:{number}"))
    });
    let (client, _) = client(quick());
    let failure =
        run(client.manifest(&reference(&registry.host(), "a:t"))).expect_err("never").into_failure();
    let host = registry.host();
    assert_eq!(
        failure.chain(),
        format!("`{host}/a:t` does not exist or you have no access to it: authentication required")
    );
    assert_eq!(failure.kind(), ErrorKind::NotFound);
    let hint = format!("check the name; if the repository is private, log in with `loam login {host}`");
    assert_eq!(failure.hint_text(), Some(hint.as_str()));
    assert!(registry.requests().len() <= 4, "{:?}", registry.paths());
}

#[test]
fn wrong_passwords_are_told_apart_from_missing_ones() {
    let registry = Server::start(|_| {
        Answer::refusal(401, "UNAUTHORIZED", "no").header("WWW-Authenticate", "Basic realm=\"x\"")
    });
    let host = registry.host();
    let (nobody, _) = client(quick());
    let failure = run(nobody.manifest(&reference(&host, "a:t"))).expect_err("denied").into_failure();
    assert_eq!(failure.chain(), format!("`{host}/a:t` does not exist or you have no access to it"));
    let (_directory, options) = with_auth(&host, r#"{"auth":"dTpw"}"#);
    let (somebody, _) = client(options);
    let failure = run(somebody.manifest(&reference(&host, "a:t"))).expect_err("denied").into_failure();
    assert_eq!(failure.chain(), format!("the login for `{host}` is not accepted: no"));
    assert_eq!(failure.kind(), ErrorKind::Denied);
}

#[test]
fn a_token_service_that_refuses_is_understood() {
    let tokens = Server::start(|_| Answer::refusal(401, "UNAUTHORIZED", "incorrect username or password"));
    let realm = format!("http://{}/token", tokens.host());
    let registry = Server::start(move |_| challenge(&realm, "repository:a:pull"));
    let (_directory, options) = with_auth(&registry.host(), r#"{"auth":"dTpw"}"#);
    let (client, _) = client(options);
    let failure =
        run(client.manifest(&reference(&registry.host(), "a:t"))).expect_err("refused").into_failure();
    let host = registry.host();
    assert_eq!(
        failure.chain(),
        format!("the login for `{host}` is not accepted: incorrect username or password")
    );
}

#[test]
fn bad_token_services_are_refused() {
    let cases = [
        ("http://169.254.169.254/token", "has a link-local address"),
        ("file:///etc/shadow", "is not reached by HTTP"),
        ("nonsense", "the token service's address is not valid"),
    ];
    for (realm, reason) in cases {
        let registry = Server::start(move |_| challenge(realm, "repository:a:pull"));
        let (client, _) = client(quick());
        let failure =
            run(client.manifest(&reference(&registry.host(), "a:t"))).expect_err("refused").into_failure();
        assert!(failure.chain().contains(reason), "{realm}: {}", failure.chain());
    }
}

#[test]
fn bad_answers_of_token_services_are_refused() {
    let cases: [(Answer, &str); 4] = [
        (Answer::new(200).body("{}"), "the answer holds no token"),
        (Answer::new(200).body(r#"{"token":"a\nb"}"#), "characters that can't be sent"),
        (Answer::new(200).body(r#"{"token":"hunter2""#), "the answer is not the JSON of a token"),
        (
            Answer::new(200).chunked().body("{").forever([b' '; 65536]),
            "sends more than 1048576 bytes for a token",
        ),
    ];
    for (answer, reason) in cases {
        let tokens = Server::start(move |_| answer.clone());
        let realm = format!("http://{}/token", tokens.host());
        let registry = Server::start(move |_| challenge(&realm, "repository:a:pull"));
        let (client, _) = client(quick());
        let failure =
            run(client.manifest(&reference(&registry.host(), "a:t"))).expect_err("refused").into_failure();
        assert!(failure.chain().contains(reason), "{}", failure.chain());
        assert!(!format!("{failure:?}").contains("hunter2"));
    }
}
