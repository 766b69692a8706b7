//! Pushing to registries that break off, forget and lie.

use std::sync::{Arc, Mutex};

use loam_model::Digest;
use loam_registry::{Bytes, ClientOptions, Piece, Upload};
use loam_testkit::hostile::{Answer, Request, Server, digest};
use tokio::sync::mpsc::{Receiver, channel};

use super::{chain, client, quick, reference, run};

/// Bytes to push, in small pieces, and how often they were made.
struct Text {
    bytes: Vec<u8>,
    opened: Mutex<Vec<u64>>,
}

impl Text {
    fn new(length: usize) -> Self {
        let bytes = (0..length).map(|at| u8::try_from(at % 251).expect("below 251")).collect();
        Self { bytes, opened: Mutex::default() }
    }

    fn digest(&self) -> Digest {
        digest(&self.bytes).parse().expect("a digest")
    }
}

impl Upload for Text {
    fn open(&self, skip: u64) -> Receiver<Piece> {
        self.opened.lock().expect("not poisoned").push(skip);
        let rest = &self.bytes[usize::try_from(skip).expect("small")..];
        let (sender, pieces) = channel(rest.len() / 1000 + 2);
        for piece in rest.chunks(1000) {
            sender.try_send(Piece::Bytes(Bytes::copy_from_slice(piece))).expect("room");
        }
        let end = Piece::End { digest: self.digest(), size: self.bytes.len() as u64 };
        sender.try_send(end).expect("room");
        pieces
    }

    fn sent(&self, _bytes: u64) {}
}

/// A registry that takes one blob, with what it has of it; `change` may answer in its place.
fn taking(
    change: impl Fn(&Request, &mut Vec<u8>) -> Option<Answer> + Send + Sync + 'static,
) -> (Server, Arc<Mutex<Vec<u8>>>) {
    let held = Arc::<Mutex<Vec<u8>>>::default();
    let kept = Arc::clone(&held);
    let server = Server::start(move |request| {
        let mut held = kept.lock().expect("not poisoned");
        if let Some(answer) = change(request, &mut held) {
            return answer;
        }
        let place = |answer: Answer| answer.header("Location", "/v2/a/blobs/uploads/7?state=x");
        let range = |held: &Vec<u8>| format!("0-{}", held.len().saturating_sub(1));
        match request.method.as_str() {
            "HEAD" => Answer::new(404),
            "POST" => {
                held.clear();
                place(Answer::new(202))
            }
            "PATCH" => {
                held.extend_from_slice(&request.body);
                place(Answer::new(202)).header("Range", range(&held))
            }
            "GET" => place(Answer::new(204)).header("Range", range(&held)),
            "PUT" => Answer::new(201),
            _ => Answer::new(405),
        }
    });
    (server, held)
}

#[test]
fn a_blob_is_taken_whole() {
    let text = Text::new(100_000);
    let (server, held) = taking(|_, _| None);
    let (client, _) = client(quick());
    let to = reference(&server.host(), "a:t");
    let (digest, size) = run(client.push_blob(&to, &text, "it")).expect("taken");
    assert_eq!((digest.clone(), size), (text.digest(), 100_000));
    assert!(*held.lock().expect("not poisoned") == text.bytes);
    let last = server.paths().pop().expect("asked");
    assert_eq!(
        last,
        format!("/v2/a/blobs/uploads/7?state=x&digest={}", digest.to_string().replace(':', "%3A"))
    );
}

#[test]
fn an_upload_goes_on_where_the_registry_says_that_it_is() {
    let text = Text::new(100_000);
    // The first attempt arrives in part.
    let (server, held) = taking(|request, held| {
        let first = request.method == "PATCH" && held.is_empty();
        first.then(|| {
            held.extend_from_slice(&request.body[..40_000]);
            Answer::new(500)
        })
    });
    let (client, heard) = client(quick());
    run(client.push_blob(&reference(&server.host(), "a:t"), &text, "it")).expect("taken");
    assert!(*held.lock().expect("not poisoned") == text.bytes);
    assert_eq!(*text.opened.lock().expect("not poisoned"), [0, 40_000]);
    let methods: Vec<String> = server.requests().into_iter().map(|request| request.method).collect();
    assert_eq!(methods, ["POST", "PATCH", "GET", "PATCH", "PUT"]);
    assert_eq!(heard.sentences().len(), 1);
}

#[test]
fn an_upload_that_is_forgotten_begins_anew() {
    let text = Text::new(5_000);
    let (server, held) = taking(|request, _| match (request.method.as_str(), request.number) {
        ("PATCH", 1) => Answer::new(503).into(),
        ("GET", _) => Answer::refusal(404, "BLOB_UPLOAD_UNKNOWN", "gone").into(),
        _ => None,
    });
    let (client, _) = client(quick());
    run(client.push_blob(&reference(&server.host(), "a:t"), &text, "it")).expect("taken");
    assert!(*held.lock().expect("not poisoned") == text.bytes);
    assert_eq!(*text.opened.lock().expect("not poisoned"), [0, 0]);
}

#[test]
fn an_upload_whose_state_is_told_elsewhere_begins_anew_at_home() {
    let text = Text::new(5_000);
    let thief = Server::start(|_| Answer::new(204).header("Location", "/steal").header("Range", "0-9"));
    let there = thief.host();
    let (server, held) = taking(move |request, _| match request.method.as_str() {
        _ if request.header("authorization").is_none() => {
            Answer::new(401).header("WWW-Authenticate", "Basic realm=\"x\"").into()
        }
        "PATCH" if request.number < 5 => Answer::new(500).into(),
        "GET" => Answer::new(307).header("Location", format!("http://{there}/state")).into(),
        _ => None,
    });
    let directory = tempfile::tempdir().expect("temporary directory");
    let path = directory.path().join("auth.json");
    let logins = format!(r#"{{"auths":{{"{}":{{"auth":"dTpw"}}}}}}"#, server.host());
    std::fs::write(&path, logins).expect("written");
    let (client, _) = client(ClientOptions { credentials_file: Some(path), ..quick() });
    run(client.push_blob(&reference(&server.host(), "a:t"), &text, "it")).expect("taken");
    assert!(*held.lock().expect("not poisoned") == text.bytes);
    assert!(!thief.requests().is_empty(), "the registry pointed there");
    for request in thief.requests() {
        assert_eq!((request.method.as_str(), request.header("authorization")), ("GET", None));
    }
}

#[test]
fn an_end_whose_answer_is_lost_is_found_out() {
    let text = Text::new(5_000);
    let (server, _) = taking(|request, held| match request.method.as_str() {
        "PUT" => Answer::none().into(),
        "HEAD" => Answer::new(200).says_length(held.len() as u64).into(),
        _ => None,
    });
    let (client, _) = client(quick());
    run(client.push_blob(&reference(&server.host(), "a:t"), &text, "it")).expect("taken");
}

#[test]
fn places_that_are_not_the_registry_are_refused() {
    let text = Text::new(10);
    let thief = Server::start(|_| Answer::new(202));
    let elsewhere = format!("http://{}/up", thief.host());
    let cases = [
        (Some("file:///etc/passwd"), "an upload to `file://nowhere`, which is not the registry"),
        (Some(elsewhere.as_str()), "which is not the registry"),
        (Some("http://169.254.169.254/"), "which is not the registry"),
        (None, "redirects an upload without saying where"),
    ];
    for (location, sentence) in cases {
        let location = location.map(str::to_owned);
        let (server, _) = taking(move |request, _| {
            let answer = Answer::new(202);
            (request.method == "POST").then(|| match &location {
                Some(location) => answer.header("Location", location.as_str()),
                None => answer,
            })
        });
        let (client, _) = client(quick());
        let told = chain(run(client.push_blob(&reference(&server.host(), "a:t"), &text, "it")));
        assert!(told.contains(sentence), "{told}");
        assert_eq!(server.requests().len(), 1);
    }
    assert!(thief.requests().is_empty());
}

#[test]
fn lies_about_what_was_taken_are_found_out() {
    let text = Text::new(10_000);
    type Change = fn(&Request, &mut Vec<u8>) -> Option<Answer>;
    let range: Change = |request, _| {
        let answer = Answer::new(202).header("Location", "/v2/a/up").header("Range", "0-5");
        (request.method == "PATCH").then_some(answer)
    };
    let digest: Change = |request, _| {
        let answer = Answer::new(201).header("Docker-Content-Digest", "sha256:0");
        (request.method == "PUT").then_some(answer)
    };
    let accepted: Change = |request, _| (request.method == "PUT").then(|| Answer::new(202));
    let refused: Change =
        |request, _| (request.method == "PUT").then(|| Answer::refusal(400, "DIGEST_INVALID", "no"));
    for (change, sentence) in [
        (range, "did not take `it`: it says that another number of bytes has arrived than was sent"),
        (digest, "did not take `it`: it says that what it took has the digest `sha256:0`"),
        (accepted, "did not take `it`: it does not say that it has it"),
        (refused, "answers 400"),
    ] {
        let (server, _) = taking(change);
        let (client, _) = client(quick());
        let told = chain(run(client.push_blob(&reference(&server.host(), "a:t"), &text, "it")));
        assert!(told.contains(sentence), "{told}");
    }
}

#[test]
fn what_can_not_be_made_is_not_pushed() {
    struct Broken;
    impl Upload for Broken {
        fn open(&self, _skip: u64) -> Receiver<Piece> {
            let (sender, pieces) = channel(2);
            sender.try_send(Piece::Bytes(Bytes::from_static(b"half"))).expect("room");
            let failure = loam_model::Failure::new(loam_model::ErrorKind::Internal, "the layer is damaged");
            sender.try_send(Piece::Failed(failure)).expect("room");
            pieces
        }
        fn sent(&self, _bytes: u64) {}
    }
    let (server, _) = taking(|_, _| None);
    let (client, _) = client(quick());
    let told = chain(run(client.push_blob(&reference(&server.host(), "a:t"), &Broken, "it")));
    assert_eq!(told, "the layer is damaged");
    assert!(!server.requests().iter().any(|request| request.method == "PUT"));
}

#[test]
fn one_token_is_for_pushing_and_for_the_repository_that_is_mounted_from() {
    let blob: Digest = digest(b"x").parse().expect("a digest");
    let tokens = Server::start(|_| Answer::new(200).body(r#"{"token":"t"}"#));
    let realm = format!("http://{}/token", tokens.host());
    let server = Server::start(move |request| match request.header("authorization") {
        None => {
            let value = format!("Bearer realm=\"{realm}\",service=\"s\",scope=\"repository:a:pull\"");
            Answer::new(401).header("WWW-Authenticate", value)
        }
        Some(_) => Answer::new(201),
    });
    let (client, _) = client(quick());
    let to = reference(&server.host(), "a:t");
    assert!(run(client.mount_blob(&to, &blob, "b/c")).expect("mounted"));
    assert_eq!(server.paths()[1], format!("/v2/a/blobs/uploads/?mount={blob}&from=b/c"));
    let scopes = "scope=repository%3Aa%3Apull%2Cpush&scope=repository%3Ab%2Fc%3Apull";
    assert_eq!(tokens.paths(), [format!("/token?service=s&{scopes}")]);
}

#[test]
fn a_mount_that_becomes_an_upload_is_taken_back() {
    let blob: Digest = digest(b"x").parse().expect("a digest");
    let (server, _) = taking(|_, _| None);
    let (client, _) = client(quick());
    assert!(!run(client.mount_blob(&reference(&server.host(), "a:t"), &blob, "b")).expect("not mounted"));
    let last = server.requests().pop().expect("asked");
    assert_eq!((last.method.as_str(), last.path.as_str()), ("DELETE", "/v2/a/blobs/uploads/7?state=x"));
}

#[test]
fn a_registry_that_takes_nothing_more_ends_in_an_error() {
    let text = Text::new(10);
    let (server, _) = taking(|request, _| (request.method == "PATCH").then(|| Answer::new(202).silence()));
    let (client, _) = client(ClientOptions { retries: 0, ..quick() });
    let told = chain(run(client.push_blob(&reference(&server.host(), "a:t"), &text, "it")));
    assert!(told.contains("redirects an upload without saying where"), "{told}");
}
