//! What registries, token services and credential helpers answer: headers and bodies.

use loam_registry::{Reference, fuzzing};

use super::{seed, selected};
use crate::{Target, sentence};

/// The target. The first byte says what the rest is.
pub const TARGET: Target = Target { name: "answers", run, seeds, words: WORDS };

const WORDS: &[&str] = &[
    "Bearer realm=\"https://auth.x/token\"",
    ",service=\"s\"",
    ",scope=\"repository:a/b:pull\"",
    "Basic realm=\"x\"",
    "\\\"",
    "bytes 5-9/10",
    "18446744073709551615",
    "Sun, 06 Nov 1994 08:49:37 GMT",
    "</v2/a/tags/list?n=2&last=b>; rel=\"next\"",
    "http://127.0.0.1/",
    "https://h.x:5000/v2/a/blobs/uploads/1?state=x",
    "//other.x/",
    "{\"errors\":[{\"code\":\"DENIED\",\"message\":\"no\"}]}",
    "\"tags\":[",
    "\"access_token\":\"t\"",
    "\"expires_in\":",
    "\"Username\":\"u\",\"Secret\":\"s\"",
    "credentials not found",
    "\"schemaVersion\":2",
    "\"manifests\":[]",
    "\"config\":{}",
    "\"layers\":[]",
    "application/vnd.oci.image.index.v1+json",
    "\\u001b[2J",
];

/// Where the answers come from.
const ASKED: [&str; 2] = ["https://h.x:5000/v2/a/tags/list?n=5", "http://127.0.0.1:5000/v2/a/blobs/uploads/"];

fn run(bytes: &[u8]) {
    let Some((how, rest)) = selected(bytes) else { return };
    let text = String::from_utf8_lossy(rest);
    match how % 9 {
        0 => challenge(rest),
        1 => numbers(&text),
        2 => addresses(rest, &text),
        3 => manifest(rest),
        4 => {
            // Tags are looked at one by one, by the rule for names.
            for tag in fuzzing::tags(rest).unwrap_or_default() {
                drop(format!("h.x/a:{tag}").parse::<Reference>());
            }
        }
        5 => refused(fuzzing::token(rest)),
        6 => {
            let told = fuzzing::refusal(rest);
            assert!(told.is_empty() || told.starts_with(": "), "{told:?}");
            sentence::check_text(&format!("no{told}"));
        }
        7 => refused(fuzzing::helper(rest).map(drop)),
        _ => {
            // What a registry says, and what is added to it, a scope each.
            let (first, further) = text.split_once('\n').unwrap_or((&text, ""));
            let further: Vec<String> = further.split_whitespace().map(str::to_owned).collect();
            let joined = fuzzing::scopes(first, &further);
            assert_eq!(fuzzing::scopes(&joined, &[]), joined, "scopes that are joined stay as they are");
        }
    }
}

fn refused(result: Result<(), String>) {
    if let Err(reason) = result {
        sentence::check_text(&reason);
    }
}

fn challenge(bytes: &[u8]) {
    let values: Vec<&[u8]> = bytes.split(|byte| *byte == b'\n').collect();
    refused(fuzzing::challenge(&values).map(drop));
}

fn numbers(text: &str) {
    if let Some((first, last, total)) = fuzzing::content_range(text) {
        assert!(first <= last && total.is_none_or(|total| last < total), "{text:?}");
    }
    fuzzing::retry_after(text);
    assert_ne!(fuzzing::arrived(text), Some(0));
}

/// Where an answer leads to stays on the host and the port that were asked.
fn addresses(bytes: &[u8], text: &str) {
    for asked in ASKED {
        let origin = asked.split("/v2/").next().unwrap_or_default();
        let stays = |address: &str| address.strip_prefix(origin).is_some_and(|rest| rest.starts_with('/'));
        if let Some(next) = fuzzing::next_page(asked, bytes) {
            assert!(stays(&without_user(&next)), "{asked} leads to {next}");
        }
        match fuzzing::upload(asked, text) {
            Some(Ok(location)) => assert!(stays(&without_user(&location)), "{asked} leads to {location}"),
            Some(Err(reason)) => sentence::check_text(&reason),
            None => {}
        }
    }
}

/// An address without `user:password@`, which changes nothing of where it leads.
fn without_user(address: &str) -> String {
    let Some((scheme, rest)) = address.split_once("://") else { return address.to_owned() };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let host = rest[..end].rsplit('@').next().unwrap_or_default();
    format!("{scheme}://{host}{}", &rest[end..])
}

fn manifest(bytes: &[u8]) {
    let mut parts = bytes.splitn(2, |byte| *byte == b'\n');
    let kind = String::from_utf8_lossy(parts.next().unwrap_or_default()).into_owned();
    let document = parts.next().unwrap_or_default();
    for kind in [None, Some(&*kind)] {
        match fuzzing::manifest(document, kind) {
            Ok(manifest) => {
                assert!(manifest.bytes == document, "other bytes came out");
                assert!(manifest.media_type.starts_with("application/vnd."), "{}", manifest.media_type);
            }
            Err(error) => sentence::check(&error.into_failure()),
        }
    }
}

fn seeds() -> Vec<Vec<u8>> {
    let index = "application/vnd.oci.image.index.v1+json\n{\"schemaVersion\":2,\"manifests\":[]}";
    let image = "application/json\n{\"schemaVersion\":2,\"config\":{},\"layers\":[],\"mediaType\":\"x\"}";
    vec![
        seed(
            0,
            "Bearer realm=\"https://auth.x/t?a=b\",service=\"s.x\",scope=\"repository:x:pull\"\nBasic realm=\"x, y\"",
        ),
        seed(0, "Negotiate\nbearer REALM=https://auth.x/token, x = \"a\\\"b\""),
        seed(1, "bytes 5-9/10"),
        seed(1, "Sun, 06 Nov 1994 08:49:37 GMT"),
        seed(1, "bytes=0-18446744073709551615"),
        seed(1, "120"),
        seed(2, "</v2/a/tags/list?n=2&last=b>; rel=\"next\""),
        seed(2, "<a>; rel=prev, <https://other.x/>; title=\"x\"; rel=next"),
        seed(2, "http://h.x:5000/v2/a/blobs/uploads/1?state=x"),
        seed(3, index),
        seed(3, image),
        seed(4, "{\"name\":\"a\",\"tags\":[\"1\",\"latest\"]}"),
        seed(5, "{\"token\":\"\",\"access_token\":\"t\",\"expires_in\":18446744073709551615}"),
        seed(6, "{\"errors\":[{\"code\":\"DENIED\",\"message\":\"not for you\\u001b[2J\"}]}"),
        seed(7, "{\"ServerURL\":\"h.x\",\"Username\":\"<token>\",\"Secret\":\"s\"}"),
        seed(7, "credentials not found in native keychain"),
        seed(8, "repository:a:pull registry:catalog:*\nrepository:a:pull,push\nrepository:b:pull"),
    ]
}
