use std::io::{BufRead, BufReader, Read};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

use loam_testkit::lab::{inside, succeed};
use rustix::net::{bind, listen};

use super::*;

/// Tells a process of a test, which is another user's, what name to take.
const STRANGER: &str = "LOAM_TEST_STRANGER";
const NOBODY: u32 = 65534;

fn stream(flags: SocketFlags) -> OwnedFd {
    socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC | flags, None)
        .expect("a socket")
}

fn address(name: &str) -> SocketAddrUnix {
    SocketAddrUnix::new_abstract_name(format!("loam/{name}").as_bytes()).expect("a name")
}

/// A socket that has a name and does not listen.
fn bound(name: &str) -> OwnedFd {
    let socket = stream(SocketFlags::empty());
    bind(&socket, &address(name)).expect("free");
    socket
}

/// Calls at a name until there is no room for more callers.
fn crowd(name: &str) -> Vec<OwnedFd> {
    let mut callers = Vec::new();
    loop {
        let caller = stream(SocketFlags::NONBLOCK);
        match connect(&caller, &address(name)) {
            Ok(()) => callers.push(caller),
            Err(Errno::AGAIN) => return callers,
            Err(errno) => panic!("calling at `{name}` failed: {errno}"),
        }
    }
}

/// What a stranger's process does, if this is one: takes a name, and another one where it listens and is crowded.
fn be_a_stranger() -> bool {
    let Some(names) = std::env::var_os(STRANGER) else { return false };
    let names = names.into_string().expect("text");
    let (mute, crowded) = names.split_once(' ').expect("two names");
    let (_mute, listener) = (bound(mute), bound(crowded));
    listen(&listener, 0).expect("it has a name");
    let _callers = crowd(crowded);
    println!("\nready");
    std::io::stdin().read_to_end(&mut Vec::new()).expect("readable");
    true
}

/// Starts a process of another user with these names; it ends when its input does.
fn stranger(test: &str, names: &str) -> Child {
    // Not by its path, which others may not be let through to.
    let mut child = Command::new("/proc/self/exe")
        .args(["--exact", test, "--nocapture", "--test-threads=1"])
        .env(STRANGER, names)
        .uid(NOBODY)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("it runs");
    let stdout = BufReader::new(child.stdout.as_mut().expect("piped"));
    let mut lines = stdout.lines().map(|line| line.expect("text"));
    assert!(lines.any(|line| line == "ready"), "the stranger has the names");
    child
}

#[test]
fn claims_are_of_one_at_a_time_and_strangers_have_none() {
    let test = "container_subnets::claim::tests::claims_are_of_one_at_a_time_and_strangers_have_none";
    if be_a_stranger() {
        return;
    }
    inside(test, || {
        let take = |name| Claim::take(name).expect("can be asked");
        let first = take("s-0a010000").expect("is free");
        assert!(take("s-0a010000").is_none());
        drop(first);
        succeed(&["ip", "link", "add", "s-0a010000", "type", "bridge"]);
        assert!(take("s-0a010000").is_none(), "its bridge is there");
        assert!(Claim::regain("s-0a010000").expect("can be asked").is_some());
        // A socket of another kind, as anybody may have one.
        let address = SocketAddr::from_abstract_name("loam/s-0a020000").expect("a name");
        let _datagrams = UnixDatagram::bind_addr(&address).expect("free");
        assert!(take("s-0a020000").is_some());
        let mut stranger = stranger(test, "s-0a030000 s-0a040000");
        assert!(take("s-0a030000").is_some(), "it does not listen");
        assert!(take("s-0a040000").is_some(), "it listens, and its queue is full");
        drop(stranger.stdin.take());
        stranger.wait().expect("it was ours");
    });
}

#[test]
fn a_claim_stays_one_before_it_listens_and_when_it_is_called_too_often() {
    let test = "container_subnets::claim::tests::a_claim_stays_one_before_it_listens_and_when_it_is_called_too_often";
    inside(test, || {
        let take = |name| Claim::take(name).expect("can be asked");
        // So that a queue is soon full.
        succeed(&["sysctl", "-qw", "net.core.somaxconn=1"]);
        let claim = take("s-0a010000").expect("is free");
        let callers = crowd("s-0a010000");
        assert!(!callers.is_empty() && take("s-0a010000").is_none());
        drop(claim);
        assert!(take("s-0a010000").is_some());
        let _beginning = bound("s-0a020000");
        assert!(take("s-0a020000").is_none());
    });
}

#[test]
fn what_others_claim_for_a_moment_is_waited_for() {
    inside("container_subnets::claim::tests::what_others_claim_for_a_moment_is_waited_for", || {
        let claim = Claim::take("s-0a010000").expect("can be asked").expect("is free");
        std::thread::scope(|scope| {
            let regaining = scope.spawn(|| Claim::regain("s-0a010000").expect("can be asked"));
            assert!(Claim::take("s-0a010000").expect("can be asked").is_none());
            drop(claim);
            assert!(regaining.join().expect("no panic").is_some());
        });
    });
}

#[test]
fn where_the_kernel_does_not_tell_who_it_is_a_full_queue_is_a_claim_s() {
    let unknown = || Err(NetlinkError::Malformed);
    for (called, found) in [
        (Ok(0), Holder::Claimant),
        (Ok(7), Holder::Stranger),
        (Err(Errno::AGAIN), Holder::Claimant),
        (Err(Errno::CONNREFUSED), Holder::Mute),
    ] {
        assert_eq!(holder(called, unknown, 0), found, "{called:?}");
    }
    for (owner, found) in [(Some(0), Holder::Claimant), (Some(7), Holder::Stranger), (None, Holder::Nobody)] {
        for errno in [Errno::AGAIN, Errno::CONNREFUSED] {
            assert_eq!(holder(Err(errno), || Ok(owner), 0), found, "{errno} {owner:?}");
        }
    }
}
