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

/// A message with texts as values, behind a number when there is one.
fn message(kind: Kind, answers: u32, name: (u8, &str), number: Option<u32>, texts: &[&str]) -> Vec<u8> {
    let mut body: Vec<u8> = number.map(u32::to_le_bytes).into_iter().flatten().collect();
    texts.iter().for_each(|one| text(&mut body, one));
    let signature = format!("{}{}", if number.is_some() { "u" } else { "" }, "s".repeat(texts.len()));
    let mut fields = vec![5, 1, b'u', 0];
    fields.extend(answers.to_le_bytes());
    fields.extend([8, 1, b'g', 0, u8::try_from(signature.len()).expect("short")]);
    fields.extend(signature.bytes().chain([0]));
    if !name.1.is_empty() {
        fields.resize(fields.len().next_multiple_of(8), 0);
        fields.extend([name.0, 1, b's', 0]);
        text(&mut fields, name.1);
    }
    let mut bytes = vec![b'l', kind as u8, 0, 1];
    for number in [body.len(), 1, fields.len()] {
        bytes.extend(u32::try_from(number).expect("short").to_le_bytes());
    }
    bytes.extend(fields);
    bytes.resize(bytes.len().next_multiple_of(8), 0);
    bytes.extend(body);
    bytes
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
                client.write_all(&bytes).expect("written");
            }
            calls.push(call.member);
        }
        calls
    })
}

fn answered(serial: u32, texts: &[&str]) -> Vec<u8> {
    message(Kind::Answer, serial, (0, ""), None, texts)
}

fn job_removed(job: &str, result: &str) -> Vec<u8> {
    message(Kind::Signal, 0, (3, "JobRemoved"), Some(7), &[job, "loam-x.scope", result])
}

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
        _ => vec![answered(serial, &[])],
    });
    let mut manager = Manager::connect(socket).expect("connected");
    let properties = [("PIDs".to_owned(), Value::Processes(vec![1])), ("X".to_owned(), Value::Number(5))];
    manager.start("loam-x.scope", &properties).expect("made");
    drop(manager);
    assert_eq!(server.join().expect("served"), ["Hello", "AddMatch", "Subscribe", "StartTransientUnit"]);
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
            vec![message(Kind::Failure, serial, (4, "org.x.Bad"), None, &["Unit is no good."])]
        }
        "StopUnit" => vec![message(Kind::Failure, serial, (4, NO_SUCH_UNIT), None, &["no such unit"])],
        _ => vec![answered(serial, &[])],
    });
    let mut manager = Manager::connect(socket).expect("connected");
    let refused = manager.start("loam-x.scope", &[]).expect_err("refused");
    assert_eq!(refused.to_string(), "Unit is no good (org.x.Bad)");
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
        _ => vec![answered(serial, &[])],
    });
    let mut manager = Manager::connect(socket).expect("connected");
    let failed = manager.stop("loam-x.scope").expect_err("failed");
    assert_eq!(failed.to_string(), "the job ended with `timeout`");
    drop(manager);
    server.join().expect("served");
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
