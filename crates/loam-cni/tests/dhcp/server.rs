//! DHCP servers on the host's bridge.

use std::fs;
use std::net::UdpSocket;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use loam_testkit::lab::{Sandbox, eventually, inside};

use crate::lab::Lab;

/// Runs a test with dnsmasq on the host's bridge, which has these options more.
pub(crate) fn with_dnsmasq(test: &str, more: &[&str], body: impl FnOnce(Lab, Server)) {
    with(test, "dnsmasq", |lab| Server::dnsmasq(&lab.host, lab.directory.path(), more), body);
}

/// Runs a test with udhcpd there, whose leases are of so many seconds.
pub(crate) fn with_udhcpd(test: &str, seconds: u32, body: impl FnOnce(Lab, Server)) {
    with(test, "busybox", |lab| Server::udhcpd(&lab.host, lab.directory.path(), seconds), body);
}

fn with(test: &str, program: &str, start: impl FnOnce(&Lab) -> Server, body: impl FnOnce(Lab, Server)) {
    if !have(test, program) {
        return;
    }
    inside(test, || {
        let lab = Lab::new();
        let server = start(&lab);
        body(lab, server);
    });
}

/// Whether a server's program is there; a test that can't run says so by name.
fn have(test: &str, program: &str) -> bool {
    let found = ["/usr/sbin", "/usr/bin", "/sbin", "/bin"]
        .iter()
        .any(|place| Path::new(place).join(program).exists());
    if !found {
        println!("skipped: {test}: needs {program}");
    }
    found
}

/// A server, which ends with this.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    log: PathBuf,
}

impl Server {
    /// dnsmasq with addresses 10.5.0.50 to 10.5.0.60 for two minutes, its shortest time; `more` options.
    fn dnsmasq(host: &Sandbox, directory: &Path, more: &[&str]) -> Self {
        let leases = format!("--dhcp-leasefile={}", directory.join("dnsmasq.leases").display());
        let mut words = vec![
            "dnsmasq",
            "--keep-in-foreground",
            "--conf-file=/dev/null",
            "--port=0",
            "--interface=br0",
            "--no-ping",
            "--log-dhcp",
            "--log-facility=-",
            "--user=root",
            "--pid-file=",
            "--dhcp-authoritative",
            "--dhcp-range=10.5.0.50,10.5.0.60,255.255.255.0,2m",
            leases.as_str(),
        ];
        words.extend(more);
        Self::start(host, directory, &words, "DHCP, IP range")
    }

    /// udhcpd with addresses 10.5.0.50 to 10.5.0.60 for a number of seconds.
    fn udhcpd(host: &Sandbox, directory: &Path, seconds: u32) -> Self {
        let leases = directory.join("udhcpd.leases");
        fs::write(&leases, "").expect("writable");
        let config = directory.join("udhcpd.conf");
        let text = format!(
            "interface br0\nstart 10.5.0.50\nend 10.5.0.60\nmin_lease 1\nlease_file {}\npidfile {}\n\
             option subnet 255.255.255.0\noption router 10.5.0.1\noption lease {seconds}\n",
            leases.display(),
            directory.join("udhcpd.pid").display(),
        );
        fs::write(&config, text).expect("writable");
        let config = config.display().to_string();
        let words = ["busybox", "udhcpd", "-f", "-a", "1", &config];
        Self::start(host, directory, &words, "started")
    }

    fn start(host: &Sandbox, directory: &Path, words: &[&str], ready: &str) -> Self {
        let log = directory.join(format!("{}.log", words[0]));
        let output = fs::OpenOptions::new().create(true).append(true).open(&log).expect("writable");
        let child = Command::new("nsenter")
            .arg(format!("--net={}", host.path().display()))
            .arg("--")
            .args(words)
            .stdin(Stdio::null())
            .stdout(output.try_clone().expect("duplicated"))
            .stderr(output)
            .spawn()
            .expect("nsenter runs");
        let server = Self { child, log };
        eventually("the server is ready", || server.said(ready) > 0);
        server
    }

    /// How many lines of its log have a text.
    pub(crate) fn said(&self, text: &str) -> usize {
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        log.lines().filter(|line| line.contains(text)).count()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.child.kill().expect("it lives");
        self.child.wait().expect("it was ours");
    }
}

/// A server that answers whatever a test wants: gets a request's type, gives options and address of the answer.
pub(crate) struct Liar {
    end: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// An answer: its bytes from the options on, and `yiaddr`.
pub(crate) type Lie = (Vec<u8>, [u8; 4]);

impl Liar {
    pub(crate) fn new(host: &Sandbox, lie: impl Fn(u8) -> Vec<Lie> + Send + 'static) -> Self {
        let socket = host.run(|| UdpSocket::bind("0.0.0.0:67")).expect("the port is free");
        socket.set_broadcast(true).expect("allowed");
        socket.set_read_timeout(Some(Duration::from_millis(50))).expect("a limit");
        let end = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&end);
        let thread = std::thread::spawn(move || {
            let mut request = [0; 1500];
            while !told.load(Ordering::Relaxed) {
                let Ok(length) = socket.recv(&mut request) else { continue };
                let kind = kind(&request[..length]);
                for (options, yours) in lie(kind) {
                    let mut answer = request[..240].to_vec();
                    answer[0] = 2;
                    answer[16..20].copy_from_slice(&yours);
                    answer.extend(options);
                    socket.send_to(&answer, "10.5.0.255:68").expect("sent");
                }
            }
        });
        Self { end, thread: Some(thread) }
    }
}

/// The type of a request, which ours put first.
fn kind(request: &[u8]) -> u8 {
    assert_eq!(request[240..242], [53, 1], "the type comes first");
    request[242]
}

impl Drop for Liar {
    fn drop(&mut self) {
        self.end.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.join().expect("it ends");
        }
    }
}
