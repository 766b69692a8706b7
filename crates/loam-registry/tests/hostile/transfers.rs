//! Manifests and blobs, and what may go wrong on the way.

use std::time::{Duration, Instant};

use loam_model::ErrorKind;
use loam_registry::{ClientOptions, RegistryError};
use loam_testkit::hostile::{Answer, Image, Liar, Lie, Request, Server, asked};

use super::{chain, client, image, layer, quick, read, reference, run};

#[test]
fn an_honest_registry_is_read() {
    let image = image(100_000);
    let (digest, size, bytes) = layer(&image);
    let served = image.clone();
    let server = Server::start(move |request| served.answer(request).header("Warning", "299 - \"ol\u{e9}\""));
    let (client, heard) = client(quick());
    let from = reference(&server.host(), "a/b:tag");
    run(async {
        let manifest = client.manifest(&from).await.expect("a manifest");
        assert_eq!(
            (manifest.bytes.as_slice(), manifest.digest.to_string()),
            (&*image.manifest, image.digest())
        );
        client.manifest_by_digest(&from, &manifest.digest).await.expect("the same by digest");
        assert_eq!(read(&client, &from, &digest, size).await.expect("a blob"), bytes);
    });
    assert_eq!(
        server.paths(),
        [
            "/v2/a/b/manifests/tag".to_owned(),
            format!("/v2/a/b/manifests/{}", image.digest()),
            format!("/v2/a/b/blobs/{digest}")
        ]
    );
    for request in server.requests() {
        assert_eq!(request.header("accept-encoding"), Some("identity"));
        assert_eq!(request.header("authorization"), None);
    }
    // The header has a character that can't be read as text, so it is not shown; nor does it do harm.
    assert_eq!(heard.sentences(), Vec::<String>::new());
}

#[test]
fn warnings_are_shown_once() {
    let image = image(1);
    let server =
        Server::start(move |request| image.answer(request).header("Warning", "299 - \"moving soon\""));
    let (client, heard) = client(quick());
    let from = reference(&server.host(), "a:t");
    run(async {
        client.manifest(&from).await.expect("a manifest");
        client.manifest(&from).await.expect("a manifest");
    });
    assert_eq!(heard.sentences(), [format!("`{}` warns: moving soon", server.host())]);
}

#[test]
fn lies_about_manifests_are_found_out() {
    let image = image(10);
    let digest = image.digest();
    let cases = [
        (Lie::WrongManifest, "sends a manifest with the digest `sha256:"),
        (Lie::WrongType, "the registry calls it `application/vnd.oci.image.index.v1+json`"),
        (Lie::EndlessManifest, "sends more than 4194304 bytes for the manifest of"),
        (Lie::Unknown, "was not found on"),
        (Lie::Unauthorized, "does not exist or you have no access to it"),
    ];
    for (lie, sentence) in cases {
        let liar = Liar::start(image.clone(), lie.clone());
        let (client, _) = client(quick());
        let from = reference(&liar.host(), &format!("a@{digest}"));
        let told = chain(run(client.manifest(&from)));
        assert!(told.contains(sentence), "{lie:?}: {told}");
        liar.be_honest();
        run(client.manifest(&from)).expect("honest now");
    }
}

#[test]
fn lies_about_the_length_of_blobs_are_found_out() {
    let image = image(3 * 1024 * 1024);
    let (digest, size, _) = layer(&image);
    let cases = [(Lie::Short, "for the blob"), (Lie::Endless, "sends more bytes for the blob")];
    for (lie, sentence) in cases {
        let liar = Liar::start(image.clone(), lie.clone());
        let (client, _) = client(quick());
        let told = chain(run(read(&client, &reference(&liar.host(), "a:t"), &digest, size)));
        assert!(told.contains(sentence), "{lie:?}: {told}");
        let asked = liar.server().requests().len();
        assert_eq!(asked, 1, "{lie:?} is not a matter of patience");
    }
}

#[test]
fn never_more_bytes_than_promised_are_given() {
    let image = image(100_000);
    let (digest, size, _) = layer(&image);
    let liar = Liar::start(image, Lie::Endless);
    let (client, _) = client(quick());
    let from = reference(&liar.host(), "a:t");
    run(async {
        let mut stream = client.blob(&from, &digest, size).await.expect("opened");
        let (mut given, mut failed) = (0, false);
        while let Some(piece) = stream.next().await {
            match piece {
                Ok(bytes) => given += bytes.len() as u64,
                Err(_) => failed = true,
            }
        }
        assert!(given <= size && failed, "{given} of {size}");
    });
}

#[test]
fn a_transfer_goes_on_where_it_broke_off() {
    let image = image(5 * 1024 * 1024);
    let (digest, size, bytes) = layer(&image);
    let half = bytes.len() / 2;
    for honours_range in [true, false] {
        let (served, whole) = (image.clone(), bytes.clone());
        let server = Server::start(move |request| match (request.number, honours_range) {
            (0, _) => Answer::new(200).says_length(whole.len() as u64).body(&whole[..half]).hang_up(),
            (1, _) => Answer::new(503),
            (_, true) => served.answer(request),
            (_, false) => Answer::new(200).body(whole.clone()),
        });
        let (client, heard) = client(quick());
        let read =
            run(read(&client, &reference(&server.host(), "a:t"), &digest, size)).expect("the whole blob");
        assert!(read == bytes, "the bytes are those of the blob");
        let ranges: Vec<_> = server.requests().iter().map(|r| r.header("range").map(str::to_owned)).collect();
        assert_eq!(ranges[0], None);
        let resumed = ranges[2]
            .as_deref()
            .and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok());
        assert!(resumed.is_some_and(|at: usize| at > 0 && at <= half), "{ranges:?}");
        assert_eq!(heard.sentences().len(), 2, "{:?}", heard.sentences());
    }
}

#[test]
fn a_part_that_is_another_one_is_refused() {
    let image = image(2 * 1024 * 1024);
    let (digest, size, bytes) = layer(&image);
    for range in ["bytes 0-9/10", "bytes 1-2097151/99999999", "nonsense"] {
        let whole = bytes.clone();
        let server = Server::start(move |request| match request.number {
            0 => Answer::new(200).says_length(whole.len() as u64).body(&whole[..whole.len() / 2]).hang_up(),
            _ => Answer::new(206).header("Content-Range", range).body("x"),
        });
        let (client, _) = client(quick());
        let told = chain(run(read(&client, &reference(&server.host(), "a:t"), &digest, size)));
        assert!(told.contains("part"), "{told}");
    }
}

/// The part of a blob that a range names.
fn part(bytes: &[u8], range: &str) -> Answer {
    let (start, end) = asked(range, bytes.len()).expect("a range");
    let range = format!("bytes {start}-{}/{}", end - 1, bytes.len());
    Answer::new(206).header("Content-Range", range).body(&bytes[start..end])
}

/// Larger than what comes over one connection.
const LARGE: usize = 33 * 1024 * 1024;

#[test]
fn a_large_blob_comes_in_parts_and_in_order() {
    let image = image(LARGE);
    let (digest, size, bytes) = layer(&image);
    let served = image.clone();
    // The first parts are the slowest.
    let server = Server::start(move |request| match request.number {
        0..=2 => served.answer(request).pause(Duration::from_millis(100)),
        // And one breaks off.
        4 => Answer::new(502),
        _ => served.answer(request),
    });
    let (client, heard) = client(quick());
    let read = run(read(&client, &reference(&server.host(), "a:t"), &digest, size)).expect("the whole blob");
    assert!(read == bytes, "the bytes are those of the blob");
    let mut parts: Vec<(usize, usize)> = Vec::new();
    for request in server.requests() {
        parts.push(asked(request.header("range").expect("a range"), bytes.len()).expect("a part"));
    }
    assert_eq!(parts.len(), 18, "seventeen parts, one of them twice: {parts:?}");
    assert!(parts.iter().all(|(start, end)| end - start <= 2 * 1024 * 1024), "{parts:?}");
    assert_eq!(heard.sentences().len(), 1, "{:?}", heard.sentences());
}

#[test]
fn one_connection_brings_the_rest_when_it_is_fast() {
    let image = image(LARGE);
    let (digest, size, bytes) = layer(&image);
    let served = image.clone();
    let server = Server::start(move |request| match request.number {
        // What breaks off goes on over another one.
        1 => {
            let (start, _) = asked(request.header("range").expect("a range"), bytes.len()).expect("a part");
            let range = format!("bytes {start}-{}/{}", bytes.len() - 1, bytes.len());
            let answer = Answer::new(206).header("Content-Range", range);
            answer.says_length((bytes.len() - start) as u64).body(&bytes[start..start + 9_000_000]).hang_up()
        }
        _ => served.answer(request),
    });
    let (client, _) = client(ClientOptions { brisk_rate: 1, ..quick() });
    let (_, _, bytes) = layer(&image);
    let read = run(read(&client, &reference(&server.host(), "a:t"), &digest, size)).expect("the whole blob");
    assert!(read == bytes, "the bytes are those of the blob");
    let asked = |request: &Request| asked(request.header("range").expect("a range"), bytes.len());
    let parts: Vec<_> = server.requests().iter().map(|request| asked(request).expect("a part")).collect();
    let first = 2 * 1024 * 1024;
    assert_eq!(parts[..2], [(0, first), (first, bytes.len())]);
    // How much of what was sent before the end arrived is the connection's affair.
    assert!(parts.len() == 3 && parts[2].0 <= first + 9_000_000 && parts[2].1 == bytes.len(), "{parts:?}");
}

#[test]
fn a_registry_that_gives_no_parts_is_read_over_one_connection() {
    let image = image(LARGE);
    let (digest, size, whole) = layer(&image);
    type Handler = Box<dyn Fn(&Request, &[u8]) -> Answer + Send + Sync>;
    let everything: Handler = Box::new(|_, bytes| Answer::new(200).body(bytes));
    let no_parts: Handler = Box::new(move |request, bytes| match request.header("range") {
        Some(_) => Answer::new(416),
        None => Answer::new(200).body(bytes),
    });
    // It gives the first part, and then changes its mind.
    let one_part: Handler = Box::new(|request, bytes| match request.header("range") {
        Some("bytes=0-4194303") => {
            let range = format!("bytes 0-4194303/{}", bytes.len());
            Answer::new(206).header("Content-Range", range).body(&bytes[..4_194_304])
        }
        _ => Answer::new(200).body(bytes),
    });
    let wrong_part: Handler = Box::new(|request, bytes| match request.header("range") {
        Some(range) if !range.ends_with('-') => {
            let range = format!("bytes 0-4194303/{}", bytes.len());
            Answer::new(206).header("Content-Range", range).body(&bytes[..4_194_304])
        }
        _ => Answer::new(200).body(bytes),
    });
    let whole_as_part: Handler = Box::new(|request, bytes| match request.header("range") {
        Some(range) if !range.ends_with('-') => {
            let range = format!("bytes 0-4194303/{}", bytes.len());
            Answer::new(206).header("Content-Range", range).body(bytes)
        }
        _ => Answer::new(200).body(bytes),
    });
    // The second part breaks off, and then there are no parts any more.
    let cut: Handler = Box::new(|request, bytes| match request.header("range").expect("a range") {
        "bytes=4194304-8388607" => Answer::new(206)
            .says_length(4_194_304)
            .header("Content-Range", "bytes 4194304-8388607/*")
            .body(&bytes[4_194_304..4_200_000])
            .hang_up(),
        range if request.number < 4 => part(bytes, range),
        _ => Answer::new(200).body(bytes),
    });
    for (name, handler) in [
        ("everything", everything),
        ("no parts", no_parts),
        ("one part", one_part),
        ("wrong part", wrong_part),
        ("whole as part", whole_as_part),
        ("cut", cut),
    ] {
        let bytes = whole.clone();
        let server = Server::start(move |request| handler(request, &bytes));
        let (client, _) = client(quick());
        let read = run(read(&client, &reference(&server.host(), "a:t"), &digest, size));
        assert!(read.unwrap_or_else(|error| panic!("{name}: {error:?}")) == whole, "{name}");
        if name == "everything" {
            assert_eq!(server.requests().len(), 1, "what was sent is not asked for again");
        }
    }
}

#[test]
fn a_large_blob_that_lies_about_its_parts_everywhere_is_an_error() {
    let image = image(LARGE);
    let (digest, size, bytes) = layer(&image);
    let server = Server::start(move |_| {
        let range = format!("bytes 5-4194303/{}", bytes.len());
        Answer::new(206).header("Content-Range", range).body(&bytes[5..4_194_304])
    });
    let (client, _) = client(quick());
    let told = chain(run(read(&client, &reference(&server.host(), "a:t"), &digest, size)));
    assert!(told.contains("sends the part `bytes 5-4194303/"), "{told}");
    assert!(server.requests().len() <= 3, "{:?}", server.paths());
}

#[test]
fn a_blob_is_taken_up_from_any_byte() {
    for length in [100_000, LARGE] {
        let image = image(length);
        let (digest, size, bytes) = layer(&image);
        for honours_range in [true, false] {
            let (served, whole) = (image.clone(), bytes.clone());
            let server = Server::start(move |request| {
                if honours_range { served.answer(request) } else { Answer::new(200).body(whole.clone()) }
            });
            let (client, _) = client(quick());
            let from = reference(&server.host(), "a:t");
            for offset in [0, 1, 70_000, size - 1, size] {
                let read = run(async {
                    let mut stream = client.blob_from(&from, &digest, size, offset).await.expect("opened");
                    let mut read = Vec::new();
                    while let Some(piece) = stream.next().await {
                        read.extend_from_slice(&piece.expect("bytes"));
                    }
                    read
                });
                assert!(
                    read == bytes[usize::try_from(offset).expect("small")..],
                    "{length} {offset} {honours_range}"
                );
            }
        }
    }
}

#[test]
fn one_that_always_breaks_off_is_given_up() {
    let image = image(100_000);
    let (digest, size, _) = layer(&image);
    let served = image.blobs[&image.layers[0]].clone();
    let server = Server::start(move |request| {
        let at = request
            .header("range")
            .and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok());
        let at: usize = at.unwrap_or(0);
        let range = format!("bytes {at}-{}/{}", served.len() - 1, served.len());
        let answer = Answer::new(if at > 0 { 206 } else { 200 }).header("Content-Range", range);
        answer.says_length((served.len() - at) as u64).body(&served[at..at + 10]).hang_up()
    });
    let (client, heard) = client(quick());
    let error =
        run(read(&client, &reference(&server.host(), "a:t"), &digest, size)).expect_err("never whole");
    assert!(matches!(error, RegistryError::Broken { .. }), "{error:?}");
    assert_eq!((server.requests().len(), heard.sentences().len()), (6, 5));
}

#[test]
fn silence_ends_in_an_error() {
    let image = image(100_000);
    let (digest, size, _) = layer(&image);
    let options = ClientOptions { retries: 0, ..quick() };
    let silent = Liar::start(image, Lie::Stalled);
    let mute = Server::start(|_| Answer::none().pause(Duration::from_secs(60)));
    for host in [silent.host(), mute.host()] {
        let (client, _) = client(options.clone());
        let began = Instant::now();
        let error = run(read(&client, &reference(&host, "a:t"), &digest, size)).expect_err("too slow");
        if host == mute.host() {
            // It answers nothing at all, not even by hanging up.
            assert!(
                matches!(error, RegistryError::Silent { .. } | RegistryError::Broken { .. }),
                "{error:?}"
            );
            continue;
        }
        assert!(matches!(error, RegistryError::Silent { .. }), "{error:?}");
        assert!(began.elapsed() < Duration::from_secs(30));
    }
}

/// A registry that sends a blob of so many bytes in pieces of this size, with so many milliseconds after each.
fn in_pieces(total: usize, size: usize, pause: u64) -> (Server, loam_model::Digest, u64) {
    let image = image(total);
    let (digest, length, bytes) = layer(&image);
    let server = Server::start(move |_| {
        let answer = Answer::new(200).says_length(bytes.len() as u64);
        bytes
            .chunks(size)
            .fold(answer, |answer, piece| answer.body(piece.to_vec()).pause(Duration::from_millis(pause)))
    });
    (server, digest, length)
}

#[test]
fn a_trickle_ends_in_an_error_also_when_it_never_pauses_for_long() {
    let options = ClientOptions { retries: 0, slow_timeout: Duration::from_millis(500), ..quick() };
    for (size, pause) in [(1, 50), (2048, 50)] {
        let (server, digest, length) = in_pieces(100_000, size, pause);
        let (client, _) = client(options.clone());
        let error =
            run(read(&client, &reference(&server.host(), "a:t"), &digest, length)).expect_err("too slow");
        let RegistryError::Slow { bytes, .. } = error else { panic!("{error:?}") };
        assert!((1..65_536).contains(&bytes), "{bytes}");
        let told = error.into_failure().chain();
        let expected = format!("`{}` has sent no more than {bytes} bytes in 0.5 seconds", server.host());
        assert_eq!(told, expected);
    }
}

#[test]
fn a_slow_link_that_gets_on_is_waited_for() {
    // The whole takes longer than any 64 KiB of it may.
    let options = ClientOptions { retries: 0, slow_timeout: Duration::from_secs(1), ..quick() };
    let (server, digest, length) = in_pieces(400_000, 16_384, 60);
    let (client, _) = client(options);
    let read = run(read(&client, &reference(&server.host(), "a:t"), &digest, length));
    assert_eq!(read.expect("gets on").len() as u64, length);
}

#[test]
fn what_passes_is_waited_for() {
    let image = image(10);
    let cases = [
        (Lie::Failing { times: 2, status: 500 }, 2, "answers 500 Internal Server Error"),
        (Lie::Failing { times: 5, status: 503 }, 5, "trying again in"),
        (Lie::TooMany { times: 1, retry_after: "0".to_owned() }, 1, "asks to wait 0 ms"),
        (
            Lie::TooMany { times: 1, retry_after: "Sun, 06 Nov 1994 08:49:37 GMT".to_owned() },
            1,
            "asks to wait",
        ),
    ];
    for (lie, notes, sentence) in cases {
        let liar = Liar::start(image.clone(), lie.clone());
        let (client, heard) = client(quick());
        run(client.manifest(&reference(&liar.host(), "a:t"))).expect("well in the end");
        let sentences = heard.sentences();
        assert_eq!(sentences.len(), notes, "{lie:?}: {sentences:?}");
        assert!(sentences[0].contains(sentence), "{lie:?}: {sentences:?}");
    }
}

#[test]
fn a_wait_that_the_registry_asks_for_is_kept() {
    let liar = Liar::start(image(10), Lie::TooMany { times: 1, retry_after: "1".to_owned() });
    let (client, heard) = client(quick());
    let began = Instant::now();
    run(client.manifest(&reference(&liar.host(), "a:t"))).expect("well in the end");
    assert!(began.elapsed() >= Duration::from_secs(1));
    assert_eq!(heard.sentences(), [format!("`{}` asks to wait 1 second", liar.host())]);
}

#[test]
fn what_does_not_pass_is_given_up() {
    let image = image(10);
    let cases = [
        (Lie::Failing { times: 99, status: 500 }, 6, "answers 500"),
        (Lie::Failing { times: 99, status: 501 }, 1, "answers 501"),
        (
            Lie::TooMany { times: 99, retry_after: "86400".to_owned() },
            1,
            "takes no more requests for now: slow down",
        ),
    ];
    for (lie, asked, sentence) in cases {
        let liar = Liar::start(image.clone(), lie.clone());
        let (client, _) = client(quick());
        let error = run(client.manifest(&reference(&liar.host(), "a:t"))).expect_err("never well");
        let failure = error.into_failure();
        assert!(failure.chain().contains(sentence), "{lie:?}: {}", failure.chain());
        assert_eq!(liar.server().requests().len(), asked, "{lie:?}");
        assert_eq!(failure.kind(), ErrorKind::Unavailable);
        if asked == 1 && sentence.contains("no more") {
            assert_eq!(failure.hint_text(), Some("try again in 24 hours"));
        }
    }
}

#[test]
fn a_compressed_transfer_is_refused() {
    let image = image(10);
    let (digest, size, bytes) = layer(&image);
    let server =
        Server::start(move |_| Answer::new(200).header("Content-Encoding", "gzip").body(bytes.clone()));
    let (client, _) = client(quick());
    let told = chain(run(read(&client, &reference(&server.host(), "a:t"), &digest, size)));
    assert!(told.contains("an encoding that was not asked for, `gzip`"), "{told}");
}

#[test]
fn a_blob_of_nothing_is_nothing() {
    let image = Image::of_layers(&[Vec::new()]);
    let (digest, size, _) = layer(&image);
    let server = Server::start(move |request| image.answer(request));
    let (client, _) = client(quick());
    let bytes = run(read(&client, &reference(&server.host(), "a:t"), &digest, size)).expect("empty");
    assert!(bytes.is_empty());
}

#[test]
fn an_unreachable_registry_is_named_soon() {
    let host = Server::start(|_| Answer::none()).host();
    let (client, _) = client(ClientOptions { backoff: Duration::from_millis(100), ..quick() });
    let began = Instant::now();
    let failure = run(client.manifest(&reference(&host, "a:t"))).expect_err("nobody is there").into_failure();
    assert_eq!(failure.chain(), format!("`{host}` can't be reached: Connection refused"));
    assert_eq!(failure.kind(), ErrorKind::Unavailable);
    assert!(began.elapsed() < Duration::from_secs(2));
}

#[test]
fn control_characters_do_not_reach_the_terminal() {
    let server = Server::start(|_| Answer::refusal(400, "NAME_INVALID", "\u{1b}[2Jbad\nname"));
    let (client, _) = client(quick());
    let told = chain(run(client.manifest(&reference(&server.host(), "a:t"))));
    assert!(told.ends_with(": \\u{1b}[2Jbad name"), "{told}");
}
