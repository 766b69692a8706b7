//! Programs that run on the host beside a case.

use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command as Program, Stdio};

use loam_testkit::lab::{Sandbox, eventually};

use super::lab::Way;

/// A program that a case needs.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Service {
    /// A DHCP server on a link, with one address to give, and further options.
    DhcpServer(&'static str, &'static [&'static str]),
    /// The daemon that the reference's `dhcp` plugin can't do without. Ours starts what it needs.
    DhcpDaemon,
}

/// Where the daemon listens when nobody says otherwise.
const DAEMON: &str = "/run/cni/dhcp.sock";

impl Service {
    /// What is executed; `None` when this way of calling does without.
    pub(crate) fn words(self, way: &Way, directory: &Path) -> Option<Vec<String>> {
        match (self, way) {
            (Service::DhcpServer(link, more), _) => {
                let leases = format!("--dhcp-leasefile={}", directory.join("dnsmasq.leases").display());
                let interface = format!("--interface={link}");
                let fixed = [
                    "dnsmasq",
                    "--keep-in-foreground",
                    "--conf-file=/dev/null",
                    "--port=0",
                    "--no-ping",
                    "--log-facility=/dev/null",
                    "--user=root",
                    "--pid-file=",
                    "--dhcp-authoritative",
                    "--dhcp-range=10.5.0.50,10.5.0.50,255.255.255.0,2m",
                    &leases,
                    &interface,
                ];
                Some(fixed.iter().chain(more).map(|word| (*word).to_owned()).collect())
            }
            (Service::DhcpDaemon, Way::Reference(plugins)) => {
                Some(vec![plugins.join("dhcp").display().to_string(), "daemon".to_owned()])
            }
            (Service::DhcpDaemon, _) => None,
        }
    }

    /// Whether it can be asked.
    pub(crate) fn is_ready(self, host: &Sandbox) -> bool {
        match self {
            // Port 67, in hexadecimal.
            Service::DhcpServer(..) => host.run(|| {
                std::fs::read_to_string("/proc/thread-self/net/udp").is_ok_and(|text| text.contains(":0043 "))
            }),
            Service::DhcpDaemon => UnixStream::connect(DAEMON).is_ok(),
        }
    }
}

/// A program that runs, and ends with this.
#[derive(Debug)]
pub(crate) struct Running(Child);

impl Running {
    /// Starts a program and waits until it is ready.
    pub(crate) fn new(mut program: Program, name: &str, is_ready: impl FnMut() -> bool) -> Self {
        program.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let running = Self(program.spawn().expect("it can be executed"));
        eventually(name, is_ready);
        running
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.kill().expect("it lives");
        self.0.wait().expect("it was ours");
        // Killed, the reference's daemon leaves its socket behind, and another one can't be started.
        if UnixStream::connect(DAEMON).is_err() {
            drop(std::fs::remove_file(DAEMON));
        }
    }
}
