//! Conversations with a made-up service on a socket of the test's own.

use std::path::Path;
use std::time::{Duration, Instant};

use loam_testkit::message_bus::{Call, Reply, serve};

use crate::message::{FIXED, Message, length};
use crate::{Address, Body, Bus, BusError, Value};

const PATIENCE: Duration = Duration::from_secs(30);
/// The connection of the made-up service.
const OWNER: &str = ":1.2";
const SERVICE: Address<'static> =
    Address { name: "org.x.Service", path: "/org/x", interface: "org.x.Manager" };

fn connect(socket: &Path) -> Bus {
    Bus::connect(socket, PATIENCE).expect("connected")
}

/// What a bus answers for itself.
fn first_words(call: &Call) -> Vec<Vec<u8>> {
    let answer = Reply::answer(call.serial);
    vec![match call.member.as_str() {
        "Hello" => answer.text(":1.3").bytes(),
        "GetNameOwner" => answer.text(OWNER).bytes(),
        "NameHasOwner" => answer.flag(true).bytes(),
        _ => answer.bytes(),
    }]
}

fn members(calls: &[Call]) -> Vec<&str> {
    calls.iter().map(|call| call.member.as_str()).collect()
}

#[test]
fn a_call_arrives_as_it_was_written() {
    let directory = tempfile::tempdir().expect("a directory");
    let socket = directory.path().join("bus");
    let server = serve(&socket, |call| match call.member.as_str() {
        "Set" => vec![Reply::answer(call.serial).number(7).flag(true).text("a").variant("b").bytes()],
        _ => first_words(call),
    });
    let mut bus = connect(&socket);
    assert!(bus.has_owner(SERVICE.name).expect("answered"));
    let properties = [("P".to_owned(), Value::Numbers(vec![1])), ("B".to_owned(), Value::Bytes(vec![9]))];
    let body = Body::default().text("x").flag(true).properties(&properties).no_structures("(sa(sv))");
    let answer = bus.call(&SERVICE, "Set", &body).expect("answered");
    let mut values = answer.values();
    assert_eq!(values.number().expect("a number"), 7);
    assert!(values.flag().expect("a flag"));
    assert_eq!(values.text().expect("a text"), "a");
    assert_eq!(values.variant_text().expect("a text"), "b");
    assert!(values.text().is_err(), "there are no more");
    assert!(matches!(answer.values().text(), Err(BusError::Malformed)), "a number is no text");
    drop(bus);
    let calls = server.join().expect("served");
    assert_eq!(members(&calls), ["Hello", "NameHasOwner", "Set"]);
    let set = calls.last().expect("three");
    let to = Address { name: &set.destination, path: &set.path, interface: &set.interface };
    assert_eq!((to.name, to.path, to.interface), (SERVICE.name, SERVICE.path, SERVICE.interface));
    assert_eq!(set.signature, "sba(sv)a(sa(sv))");
    let expected = [
        &b"\x01\0\0\0x\0\0\0\x01\0\0\0"[..],
        // The list of properties has 41 bytes; both of them begin at a multiple of eight, and their lists at one of four.
        b"\x29\0\0\0",
        b"\x01\0\0\0P\0\x02au\0\0\0\x04\0\0\0\x01\0\0\0\0\0\0\0",
        b"\x01\0\0\0B\0\x02ay\0\0\0\x01\0\0\0\x09",
        b"\0\0\0\0\0\0\0",
    ];
    assert_eq!(set.body, expected.concat());
}

#[test]
fn what_is_refused_is_told_in_a_sentence_that_a_terminal_can_show() {
    let directory = tempfile::tempdir().expect("a directory");
    let socket = directory.path().join("bus");
    let server = serve(&socket, |call| match call.member.as_str() {
        "Set" => vec![Reply::failure(call.serial, "org.x.Bad", "Unit 'x' is \u{1b}[2Jno good.").bytes()],
        _ => first_words(call),
    });
    let mut bus = connect(&socket);
    let refused = bus.call(&SERVICE, "Set", &Body::default()).expect_err("refused");
    assert_eq!(refused.to_string(), "Unit 'x' is \\u{1b}[2Jno good (org.x.Bad)");
    drop(bus);
    server.join().expect("served");
}

#[test]
fn signals_of_others_are_not_heard_and_are_no_answers() {
    let directory = tempfile::tempdir().expect("a directory");
    let socket = directory.path().join("bus");
    let signal = |sender: &str, path: &str, interface: &str, member: &str, text: &str| {
        Reply::signal(sender, path, interface, member).text(text)
    };
    let server = serve(&socket, move |call| {
        let Address { path, interface, .. } = SERVICE;
        if call.member != "Begin" {
            return first_words(call);
        }
        let mut messages = vec![
            signal(":1.66", path, interface, "Done", "a stranger's").answering(call.serial),
            signal("", path, interface, "Done", "nobody's"),
            signal(OWNER, "/other", interface, "Done", "another object's"),
            signal(OWNER, path, "org.other", "Done", "another interface's"),
            signal(OWNER, path, interface, "Undone", "another"),
        ];
        // However many come, what is kept of them has an end.
        messages.extend((0..3000).map(|number| signal(OWNER, path, interface, "Done", &number.to_string())));
        messages.push(Reply::answer(call.serial).text("the answer"));
        messages.push(signal(":1.66", path, interface, "Done", "a stranger's"));
        messages.push(signal(OWNER, path, interface, "Done", "the last"));
        messages.into_iter().map(Reply::bytes).collect()
    });
    let mut bus = connect(&socket);
    bus.listen(SERVICE, "Done").expect("listening");
    let answer = bus.call(&SERVICE, "Begin", &Body::default()).expect("answered");
    assert_eq!(answer.values().text().expect("a text"), "the answer");
    let mut next = || bus.signal().expect("a signal").values().text().expect("a text");
    for kept in 3000 - 1024..3000 {
        assert_eq!(next(), kept.to_string());
    }
    assert_eq!(next(), "the last");
    drop(bus);
    let calls = server.join().expect("served");
    assert_eq!(members(&calls), ["Hello", "GetNameOwner", "AddMatch", "Begin"]);
    let rule = "type='signal',sender='org.x.Service',path='/org/x',interface='org.x.Manager',member='Done'";
    assert!(String::from_utf8_lossy(&calls[2].body).contains(rule));
}

#[test]
fn a_bus_that_is_not_there_is_no_broken_one() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("bus");
    let absent = Bus::connect(&path, PATIENCE).expect_err("there is none");
    assert!(absent.is_absence(), "{absent}");
    assert_eq!(absent.to_string(), format!("D-Bus can't be reached at `{}`", path.display()));
    let listener = std::os::unix::net::UnixListener::bind(&path).expect("bound");
    drop(listener);
    assert!(Bus::connect(&path, PATIENCE).expect_err("nobody listens").is_absence());
    let long = Path::new("/").join("x".repeat(200));
    assert!(!Bus::connect(&long, PATIENCE).expect_err("too long for a socket").is_absence());
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
    late(&path);
}

#[test]
fn a_bus_that_says_nothing_is_not_waited_for_without_end() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("bus");
    let _listener = std::os::unix::net::UnixListener::bind(&path).expect("bound");
    late(&path);
}

/// A conversation ends at its deadline.
fn late(path: &Path) {
    let begun = Instant::now();
    let patience = Duration::from_millis(200);
    let late = Bus::connect(path, patience).expect_err("nobody answers");
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
    let whole = Reply::answer(1).text("/job/1").bytes();
    assert_eq!(length(&whole[..FIXED]).expect("a message"), whole.len());
    for end in FIXED..whole.len() {
        let cut = Message::parse(&whole[..end]).and_then(|message| message.values().text());
        assert!(cut.is_err(), "{end}");
    }
}

proptest::proptest! {
    #[test]
    fn any_bytes_are_read_without_panic(bytes: Vec<u8>) {
        let _length = length(&bytes);
        if let Ok(message) = Message::parse(&bytes) {
            let _read = message.values().text();
            let _read = message.values().variant_text();
            let _failure = message.failure();
        }
    }
}
