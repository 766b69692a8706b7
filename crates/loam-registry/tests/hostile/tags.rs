//! Lists of tags, and removal.

use loam_registry::ClientOptions;
use loam_testkit::hostile::{Answer, Request, Server};

use super::{chain, client, image, quick, reference, run};

fn page(tags: &[&str], next: Option<&str>) -> Answer {
    let answer = Answer::new(200).body(serde_json::json!({ "name": "a", "tags": tags }).to_string());
    match next {
        Some(next) => answer.header("Link", format!("<{next}>; rel=\"next\"")),
        None => answer,
    }
}

#[test]
fn pages_are_followed_to_the_last() {
    let server = Server::start(|request| match request.number {
        0 => page(&["b", "a"], Some("/v2/a/tags/list?n=2&last=b")),
        1 => page(&["c"], Some("list?last=c")),
        _ => Answer::new(200).body("{\"name\":\"a\",\"tags\":null}"),
    });
    let (client, _) = client(quick());
    let tags = run(client.tags(&reference(&server.host(), "a"))).expect("tags");
    assert_eq!(tags, ["a", "b", "c"]);
    assert_eq!(
        server.paths(),
        ["/v2/a/tags/list?n=1000", "/v2/a/tags/list?n=2&last=b", "/v2/a/tags/list?last=c"]
    );
}

#[test]
fn lists_that_lie_end_in_one_sentence() {
    type Handler = fn(&Request) -> Answer;
    let same: Handler = |_| page(&["a"], Some("/v2/a/tags/list?again"));
    let elsewhere: Handler = |_| page(&["a"], Some("http://169.254.169.254/x"));
    let file: Handler = |_| page(&["a"], Some("file:///etc/passwd"));
    let no_tag: Handler = |_| page(&["\u{1b}[2J"], None);
    let no_list: Handler = |_| Answer::new(200).body("[]");
    let endless: Handler = |_| Answer::new(200).chunked().body("{").forever([b' '; 65536]);
    for (handler, sentence) in [
        (same, "a page says that more follow, and has none that is new"),
        (elsewhere, "the next page is not on the registry"),
        (file, "the next page is not on the registry"),
        (no_tag, "one of them is no tag"),
        (no_list, "the answer is no list of tags"),
        (endless, "sends more than 4194304 bytes for a list of tags"),
    ] {
        let server = Server::start(handler);
        let (client, _) = client(quick());
        let told = chain(run(client.tags(&reference(&server.host(), "a"))));
        assert!(told.contains(sentence), "{told}");
        assert!(server.requests().len() <= 2);
    }
}

#[test]
fn a_page_that_came_from_elsewhere_names_no_further_one() {
    let thief = Server::start(|_| page(&["a"], Some("/v2/a/tags/list?steal")));
    let there = thief.host();
    let server = Server::start(move |request| match request.header("authorization") {
        None => Answer::new(401).header("WWW-Authenticate", "Basic realm=\"x\""),
        Some(_) => Answer::new(307).header("Location", format!("http://{there}/tags")),
    });
    let directory = tempfile::tempdir().expect("temporary directory");
    let path = directory.path().join("auth.json");
    let logins = format!(r#"{{"auths":{{"{}":{{"auth":"dTpw"}}}}}}"#, server.host());
    std::fs::write(&path, logins).expect("written");
    let (client, _) = client(ClientOptions { credentials_file: Some(path), ..quick() });
    let told = chain(run(client.tags(&reference(&server.host(), "a"))));
    assert!(told.contains("the next page is not on the registry"), "{told}");
    assert_eq!(thief.paths(), ["/tags"]);
    assert_eq!(thief.requests()[0].header("authorization"), None);
}

#[test]
fn pages_that_never_end_are_given_up() {
    let server = Server::start(|request| {
        let tags: Vec<String> = (0..60_000).map(|at| format!("t{}-{at}", request.number)).collect();
        let tags: Vec<&str> = tags.iter().map(String::as_str).collect();
        page(&tags, Some("/v2/a/tags/list?more"))
    });
    let (client, _) = client(quick());
    let told = chain(run(client.tags(&reference(&server.host(), "a"))));
    assert!(told.contains("they don't end"), "{told}");
}

#[test]
fn a_tag_is_removed_by_the_digest_that_it_has() {
    let image = image(10);
    let digest = image.digest();
    let server = Server::start(move |request| match request.method.as_str() {
        "DELETE" => Answer::new(202),
        _ => image.answer(request),
    });
    let (client, _) = client(quick());
    let removed = run(client.delete_manifest(&reference(&server.host(), "a:t"))).expect("removed");
    assert_eq!(removed.to_string(), digest);
    let last = server.requests().pop().expect("asked");
    assert_eq!((last.method.as_str(), last.path), ("DELETE", format!("/v2/a/manifests/{digest}")));
}

#[test]
fn a_registry_without_removal_says_so() {
    let image = image(10);
    let server = Server::start(move |request| match request.method.as_str() {
        "DELETE" => Answer::refusal(405, "UNSUPPORTED", "The operation is unsupported."),
        _ => image.answer(request),
    });
    let (client, _) = client(quick());
    let told = chain(run(client.delete_manifest(&reference(&server.host(), "a:t"))));
    assert_eq!(told, format!("`{}` does not allow that images are removed", server.host()));
}
