//! Conversations with a made-up systemd on a socket of the test's own.

use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::thread::JoinHandle;

use super::message::{FIXED, Kind, Message, length};
use super::property::Value;
use super::*;

/// Bytes of a text value at an aligned place.
fn text(bytes: &mut Vec<u8>, text: &str) {
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes.extend(u32::try_from(text.len()).expect("short").to_le_bytes());
    bytes.extend(text.bytes());
    bytes.push(0);
}

/// The connection of the made-up systemd.
const SYSTEMD: &str = ":1.2";

/// A message with texts as values, behind a number when there is one. Names are fields with their codes.
fn message(kind: Kind, answers: u32, names: &[(u8, &str)], number: Option<u32>, texts: &[&str]) -> Vec<u8> {
    let mut body: Vec<u8> = number.map(u32::to_le_bytes).into_iter().flatten().collect();
    texts.iter().for_each(|one| text(&mut body, one));
    let signature = format!("{}{}", if number.is_some() { "u" } else { "" }, "s".repeat(texts.len()));
    let mut fields = vec![5, 1, b'u', 0];
    fields.extend(answers.to_le_bytes());
    fields.extend([8, 1, b'g', 0, u8::try_from(signature.len()).expect("short")]);
    fields.extend(signature.bytes().chain([0]));
    for (code, name) in names {
        fields.resize(fields.len().next_multiple_of(8), 0);
        fields.extend([*code, 1, b's', 0]);
        text(&mut fields, name);
    }
    whole(kind, fields, &body)
}

/// A message of these fields and this body.
fn whole(kind: Kind, fields: Vec<u8>, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![b'l', kind as u8, 0, 1];
    for number in [body.len(), 1, fields.len()] {
        bytes.extend(u32::try_from(number).expect("short").to_le_bytes());
    }
    bytes.extend(fields);
    bytes.resize(bytes.len().next_multiple_of(8), 0);
    bytes.extend(body);
    bytes
}

/// An answer with one text in a variant.
fn answered_variant(serial: u32, value: &str) -> Vec<u8> {
    let mut fields = vec![5, 1, b'u', 0];
    fields.extend(serial.to_le_bytes());
    fields.extend([8, 1, b'g', 0, 1, b'v', 0]);
    let mut body = vec![1, b's', 0];
    text(&mut body, value);
    whole(Kind::Answer, fields, &body)
}

fn receive(socket: &mut UnixStream) -> Option<Message> {
    let mut bytes = vec![0; FIXED];
    socket.read_exact(&mut bytes).ok()?;
    bytes.resize(length(&bytes).expect("a message"), 0);
    socket.read_exact(&mut bytes[FIXED..]).expect("the rest");
    Some(Message::parse(&bytes).expect("a message"))
}

/// Serves one client; `answer` gives the messages for a call. Gives the calls.
fn serve(
    socket: &Path,
    answer: impl Fn(&str, u32) -> Vec<Vec<u8>> + Send + 'static,
) -> JoinHandle<Vec<String>> {
    let listener = UnixListener::bind(socket).expect("bound");
    std::thread::spawn(move || {
        let (mut client, _) = listener.accept().expect("a client");
        let mut line = vec![0; "\0AUTH EXTERNAL 30\r\n".len()];
        client.read_exact(&mut line).expect("a greeting");
        client.write_all(b"OK 0123\r\n").expect("written");
        client.read_exact(&mut [0; "BEGIN\r\n".len()]).expect("begun");
        let mut calls = Vec::new();
        while let Some(call) = receive(&mut client) {
            let serial = u32::try_from(calls.len() + 1).expect("few");
            for bytes in answer(&call.member, serial) {
                // A client that has heard enough is gone.
                client.write_all(&bytes).ok();
            }
            calls.push(call.member);
        }
        calls
    })
}

fn answered(serial: u32, texts: &[&str]) -> Vec<u8> {
    message(Kind::Answer, serial, &[], None, texts)
}

fn refused(serial: u32, name: &str, sentence: &str) -> Vec<u8> {
    message(Kind::Failure, serial, &[(4, name)], None, &[sentence])
}

/// What every conversation begins with.
fn first_words(member: &str, serial: u32) -> Vec<Vec<u8>> {
    match member {
        "GetNameOwner" => vec![answered(serial, &[SYSTEMD])],
        _ => vec![answered(serial, &[])],
    }
}

fn job_removed(job: &str, result: &str) -> Vec<u8> {
    job_removed_by(SYSTEMD, MANAGER.path, MANAGER.interface, job, result)
}

fn job_removed_by(sender: &str, path: &str, interface: &str, job: &str, result: &str) -> Vec<u8> {
    let names = [(1, path), (2, interface), (3, "JobRemoved"), (7, sender)];
    message(Kind::Signal, 0, &names, Some(7), &[job, "loam-x.scope", result])
}

fn connect(socket: &Path) -> Manager {
    Manager::connect(socket.to_owned(), PATIENCE).expect("connected")
}

/// The calls that every conversation begins with.
const FIRST: [&str; 4] = ["Hello", "GetNameOwner", "AddMatch", "Subscribe"];

fn can_run() -> bool {
    // The greeting's length is that of user 0.
    rustix::process::geteuid().is_root()
}

#[test]
fn a_scope_is_there_when_its_job_is_done() {
    if !can_run() {
        return;
    }
    let directory = tempfile::tempdir().expect("a directory");
    let socket = directory.path().join("bus");
    let server = serve(&socket, |member, serial| match member {
        // The signal may come before the answer, and those of others may come between.
        "StartTransientUnit" => vec![
            job_removed("/job/other", "failed"),
            job_removed("/job/1", "done"),
            answered(serial, &["/job/1"]),
        ],
        _ => first_words(member, serial),
    });
    let mut manager = connect(&socket);
    let properties = [("PIDs".to_owned(), Value::Processes(vec![1])), ("X".to_owned(), Value::Number(5))];
    manager.start("loam-x.scope", &properties).expect("made");
    drop(manager);
    assert_eq!(server.join().expect("served"), [&FIRST[..], &["StartTransientUnit"]].concat());
}

#[test]
fn what_systemd_refuses_is_told_and_a_missing_scope_is_no_failure() {
    if !can_run() {
        return;
    }
    let directory = tempfile::tempdir().expect("a directory");
    let socket = directory.path().join("bus");
    let server = serve(&socket, |member, serial| match member {
        "StartTransientUnit" => {
            vec![refused(serial, "org.x.Bad", "Unit is no good.")]
        }
        "StopUnit" => vec![refused(serial, NO_SUCH_UNIT, "no such unit")],
        _ => first_words(member, serial),
    });
    let mut manager = connect(&socket);
    let failed = manager.start("loam-x.scope", &[]).expect_err("refused");
    assert_eq!(failed.to_string(), "Unit is no good (org.x.Bad)");
    manager.stop("loam-x.scope").expect("there is none");
    drop(manager);
    server.join().expect("served");
}

#[test]
fn a_job_that_fails_is_told() {
    if !can_run() {
        return;
    }
    let directory = tempfile::tempdir().expect("a directory");
    let socket = directory.path().join("bus");
    let server = serve(&socket, |member, serial| match member {
        "StopUnit" => vec![answered(serial, &["/job/1"]), job_removed("/job/1", "timeout")],
        _ => first_words(member, serial),
    });
    let mut manager = connect(&socket);
    let failed = manager.stop("loam-x.scope").expect_err("failed");
    assert_eq!(failed.to_string(), "the job ended with `timeout`");
    drop(manager);
    server.join().expect("served");
}

#[test]
fn signals_of_others_are_not_heard() {
    if !can_run() {
        return;
    }
    let directory = tempfile::tempdir().expect("a directory");
    let socket = directory.path().join("bus");
    let server = serve(&socket, |member, serial| match member {
        "StartTransientUnit" => {
            let (path, interface) = (MANAGER.path, MANAGER.interface);
            let mut messages = vec![
                job_removed_by(":1.66", path, interface, "/job/1", "done"),
                job_removed_by("", path, interface, "/job/1", "done"),
                job_removed_by(SYSTEMD, "/other", interface, "/job/1", "done"),
                job_removed_by(SYSTEMD, path, "org.other", "/job/1", "done"),
            ];
            // However many come, what is kept of them has an end.
            messages.extend((0..3000).map(|number| job_removed(&format!("/job/9{number}"), "done")));
            messages.push(answered(serial, &["/job/1"]));
            messages.push(job_removed_by(":1.66", path, interface, "/job/1", "done"));
            messages.push(job_removed("/job/1", "failed\u{1b}[2J"));
            messages
        }
        _ => first_words(member, serial),
    });
    let mut manager = connect(&socket);
    let failed = manager.start("loam-x.scope", &[]).expect_err("what systemd says counts");
    assert_eq!(failed.to_string(), "the job ended with `failed\\u{1b}[2J`");
    drop(manager);
    server.join().expect("served");
}

#[test]
fn a_left_over_scope_is_replaced_in_its_slice_only() {
    if !can_run() {
        return;
    }
    for (slice, is_ours) in [("machine.slice", true), ("user-0.slice", false)] {
        let directory = tempfile::tempdir().expect("a directory");
        let socket = directory.path().join("bus");
        let exists = std::sync::atomic::AtomicBool::new(true);
        let server = serve(&socket, move |member, serial| match member {
            "StartTransientUnit" if exists.load(std::sync::atomic::Ordering::Relaxed) => {
                vec![refused(serial, UNIT_EXISTS, "Unit loam-x.scope exists.")]
            }
            "GetUnit" => vec![answered(serial, &["/unit/x"])],
            "Get" => vec![answered_variant(serial, slice)],
            "StopUnit" => {
                exists.store(false, std::sync::atomic::Ordering::Relaxed);
                vec![answered(serial, &["/job/1"]), job_removed("/job/1", "done")]
            }
            "StartTransientUnit" => vec![answered(serial, &["/job/2"]), job_removed("/job/2", "done")],
            _ => first_words(member, serial),
        });
        let mut manager = connect(&socket);
        let started = manager.start_anew("loam-x.scope", "machine.slice", &[]);
        drop(manager);
        let calls = server.join().expect("served");
        let looks = ["StartTransientUnit", "GetUnit", "Get"];
        if is_ours {
            started.expect("made");
            let replaces = ["StopUnit", "ResetFailedUnit", "StartTransientUnit"];
            assert_eq!(calls, [&FIRST[..], &looks, &replaces].concat());
        } else {
            let error = started.expect_err("somebody else's").to_string();
            assert!(error.contains("Unit loam-x.scope exists"), "{error}");
            assert_eq!(calls, [&FIRST[..], &looks].concat());
        }
    }
}

#[test]
fn systemd_is_told_of_what_changes_and_of_nothing_else() {
    if !can_run() {
        return;
    }
    let directory = tempfile::tempdir().expect("a directory");
    let socket = directory.path().join("bus");
    let server = serve(&socket, |member, serial| match member {
        "GetUnit" => vec![answered(serial, &["/unit/x"])],
        _ => first_words(member, serial),
    });
    let mut manager = connect(&socket);
    let resources = serde_json::from_str(r#"{"memory":{"limit":4096}}"#).expect("valid");
    let properties = of_change(&resources).expect("valid limits");
    assert_eq!(properties, [("MemoryMax".to_owned(), Value::Number(4096))]);
    manager.change("loam-x.scope", &properties).expect("changed");
    drop(manager);
    assert_eq!(server.join().expect("served"), [&FIRST[..], &["SetUnitProperties", "GetUnit"]].concat());
    assert_eq!(of_change(&LinuxResources::default()).expect("nothing"), []);
}

#[test]
fn a_bus_that_accepts_nobody_is_not_waited_for_without_end() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("bus");
    let address = rustix::net::SocketAddrUnix::new(&path).expect("an address");
    let socket = || {
        let (family, kind) = (rustix::net::AddressFamily::UNIX, rustix::net::SocketType::STREAM);
        rustix::net::socket_with(family, kind, rustix::net::SocketFlags::NONBLOCK, None).expect("a socket")
    };
    let listener = socket();
    rustix::net::bind(&listener, &address).expect("bound");
    rustix::net::listen(&listener, 0).expect("listening");
    let mut waiting = Vec::new();
    loop {
        let client = socket();
        match rustix::net::connect(&client, &address) {
            Ok(()) => waiting.push(client),
            Err(rustix::io::Errno::AGAIN) => break,
            Err(errno) => panic!("{errno}"),
        }
    }
    let begun = std::time::Instant::now();
    let patience = Duration::from_millis(200);
    let Err(late) = Manager::connect(path, patience) else { panic!("nobody accepts") };
    assert!(matches!(late, BusError::Late), "{late}");
    assert!((patience..Duration::from_secs(10)).contains(&begun.elapsed()), "{:?}", begun.elapsed());
}

#[test]
fn nonsense_is_no_message() {
    for bytes in
        [&[0u8; 16][..], b"l\x02\x00\x01\xff\xff\xff\xff\x01\x00\x00\x00\x00\x00\x00\x00", b"B\x02\x00\x01"]
    {
        assert!(length(bytes).is_err(), "{bytes:?}");
    }
    let whole = answered(1, &["/job/1"]);
    for end in FIXED..whole.len() {
        let cut = Message::parse(&whole[..end]).and_then(|message| message.reader().text());
        assert!(cut.is_err(), "{end}");
    }
}
