//! A process with a network namespace, which stands for a container or for another machine.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsFd;
use std::panic::resume_unwind;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::succeed;

/// A process with a network namespace of its own.
#[derive(Debug)]
pub struct Sandbox {
    child: Child,
}

impl Sandbox {
    /// Starts the process.
    #[expect(clippy::new_without_default, reason = "it starts a process, which nobody expects of a default")]
    pub fn new() -> Self {
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

    /// The path of the namespace.
    pub fn path(&self) -> PathBuf {
        PathBuf::from(format!("/proc/{}/ns/net", self.child.id()))
    }

    /// Runs a function inside.
    pub fn run<T: Send>(&self, function: impl FnOnce() -> T + Send) -> T {
        let namespace = File::open(self.path()).expect("it lives");
        let enter = || {
            let kind = Some(LinkNameSpaceType::Network);
            move_into_link_name_space(namespace.as_fd(), kind).expect("it can be entered");
            function()
        };
        // On a thread that ends with it: the calling one never leaves its namespace.
        thread::scope(|scope| scope.spawn(enter).join().unwrap_or_else(|panic| resume_unwind(panic)))
    }

    /// Runs a command inside.
    pub fn command(&self, command: &[&str]) -> String {
        let net = format!("--net={}", self.path().display());
        let mut whole = vec!["nsenter", &net, "--"];
        whole.extend(command);
        succeed(&whole)
    }

    /// Starts a TCP server inside that tells each client its address.
    pub fn serve_tcp(&self, address: &str) {
        let listener = self.run(|| TcpListener::bind(address)).expect("the port is free");
        thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.expect("a client");
                let peer = stream.peer_addr().expect("connected").ip().to_canonical();
                write!(stream, "{peer}").expect("writable");
            }
        });
    }

    /// Starts a UDP server inside that tells each client its address.
    pub fn serve_udp(&self, address: &str) {
        let socket = self.run(|| UdpSocket::bind(address)).expect("the port is free");
        thread::spawn(move || {
            let mut buffer = [0; 64];
            while let Ok((_, peer)) = socket.recv_from(&mut buffer) {
                socket.send_to(peer.ip().to_canonical().to_string().as_bytes(), peer).expect("writable");
            }
        });
    }

    /// Asks a TCP server from inside.
    pub fn ask_tcp(&self, address: SocketAddr) -> Option<IpAddr> {
        self.run(|| ask_tcp(address))
    }

    /// Ends the process and with it the namespace.
    pub fn end(mut self) {
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
pub fn ask_tcp(address: SocketAddr) -> Option<IpAddr> {
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(2)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(2))).expect("a limit");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    answer.parse().ok()
}

/// Asks a UDP server what it takes us for; `None` when it does not answer.
pub fn ask_udp(address: SocketAddr) -> Option<IpAddr> {
    let any = if address.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let socket = UdpSocket::bind(any).expect("a free port");
    socket.set_read_timeout(Some(Duration::from_secs(1))).expect("a limit");
    socket.connect(address).ok()?;
    socket.send(b"?").ok()?;
    let mut buffer = [0; 64];
    let length = socket.recv(&mut buffer).ok()?;
    std::str::from_utf8(&buffer[..length]).ok()?.parse().ok()
}
