//! A host of the tests' own: the test runs again inside new network and mount namespaces, so that it neither breaks nor
//! sees the real host. Containers are processes with a network namespace each.

#![allow(clippy::print_stdout, reason = "a test that can't run says so")]
#![allow(dead_code, reason = "each test program uses a part")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use loam_cni::namespace::Namespace;

const INSIDE: &str = "LOAM_TEST_INSIDE";
/// How long anything may take before a test fails.
pub(crate) const LIMIT: Duration = Duration::from_secs(10);

/// Runs a test function inside a host of its own. Says by name when it can't.
pub(crate) fn inside(name: &str, test: impl FnOnce()) {
    if std::env::var_os(INSIDE).is_some() {
        succeed(&["ip", "link", "set", "lo", "up"]);
        succeed(&["mount", "-t", "tmpfs", "run", "/run"]);
        test();
        return;
    }
    if !rustix::process::geteuid().is_root() {
        println!("skipped: {name}: needs root");
        return;
    }
    let program = std::env::current_exe().expect("the test program has a path");
    let status = Command::new("unshare")
        .args(["--net", "--mount", "--"])
        .arg(program)
        .args(["--exact", name, "--nocapture", "--test-threads=1"])
        .env(INSIDE, "1")
        .status()
        .expect("unshare runs");
    assert!(status.success(), "{name} failed inside its namespaces");
}

/// Runs a command that must succeed, and gives what it says.
pub(crate) fn succeed(command: &[&str]) -> String {
    let output = Command::new(command[0]).args(&command[1..]).output().expect("the command exists");
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

/// Waits until a condition holds.
pub(crate) fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + LIMIT;
    while !condition() {
        assert!(Instant::now() < deadline, "timed out: {what}");
        std::thread::yield_now();
    }
}

/// A process with a network namespace of its own.
pub(crate) struct Sandbox {
    child: Child,
}

impl Sandbox {
    pub(crate) fn new() -> Self {
        let mut child = Command::new("unshare")
            .args(["--net", "--", "sh", "-c", "echo ready; exec cat"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("unshare runs");
        let mut line = String::new();
        let stdout = child.stdout.as_mut().expect("piped");
        BufReader::new(stdout).read_line(&mut line).expect("readable");
        assert_eq!(line, "ready\n");
        Self { child }
    }

    pub(crate) fn path(&self) -> PathBuf {
        PathBuf::from(format!("/proc/{}/ns/net", self.child.id()))
    }

    /// Runs a function inside.
    pub(crate) fn run<T: Send>(&self, function: impl FnOnce() -> T + Send) -> T {
        Namespace::open_any(&self.path()).expect("it lives").run(function).expect("it can be entered")
    }

    /// Runs a command inside.
    pub(crate) fn command(&self, command: &[&str]) -> String {
        let net = format!("--net={}", self.path().display());
        let mut whole = vec!["nsenter", &net, "--"];
        whole.extend(command);
        succeed(&whole)
    }

    /// Starts a TCP server inside that tells each client its address.
    pub(crate) fn serve_tcp(&self, address: &str) {
        let listener = self.run(|| TcpListener::bind(address)).expect("the port is free");
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.expect("a client");
                let peer = stream.peer_addr().expect("connected").ip().to_canonical();
                write!(stream, "{peer}").expect("writable");
            }
        });
    }

    /// Starts a UDP server inside that tells each client its address.
    pub(crate) fn serve_udp(&self, address: &str) {
        let socket = self.run(|| UdpSocket::bind(address)).expect("the port is free");
        std::thread::spawn(move || {
            let mut buffer = [0; 64];
            while let Ok((_, peer)) = socket.recv_from(&mut buffer) {
                socket.send_to(peer.ip().to_canonical().to_string().as_bytes(), peer).expect("writable");
            }
        });
    }

    /// Asks a TCP server from inside.
    pub(crate) fn ask_tcp(&self, address: SocketAddr) -> Option<IpAddr> {
        self.run(|| ask_tcp(address))
    }

    /// Ends the process and with it the namespace.
    pub(crate) fn end(mut self) {
        self.child.kill().expect("it lives");
        self.child.wait().expect("it was ours");
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        // It may have been ended.
        if let Ok(None) = self.child.try_wait() {
            self.child.kill().expect("it lives");
            self.child.wait().expect("it was ours");
        }
    }
}

/// Asks a TCP server what it takes us for; `None` when it does not answer.
pub(crate) fn ask_tcp(address: SocketAddr) -> Option<IpAddr> {
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(2)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(2))).expect("a limit");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    answer.parse().ok()
}

/// Asks a UDP server what it takes us for; `None` when it does not answer.
pub(crate) fn ask_udp(address: SocketAddr) -> Option<IpAddr> {
    let any = if address.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let socket = UdpSocket::bind(any).expect("a free port");
    socket.set_read_timeout(Some(Duration::from_secs(1))).expect("a limit");
    socket.connect(address).ok()?;
    socket.send(b"?").ok()?;
    let mut buffer = [0; 64];
    let length = socket.recv(&mut buffer).ok()?;
    std::str::from_utf8(&buffer[..length]).ok()?.parse().ok()
}
