//! Networks whose addresses come from a DHCP server.

use std::fs;
use std::process::{Child, Stdio};

use loam_tests::{Host, until};

/// A server (dnsmasq), which ends with this.
struct Server(Child);

impl Server {
    /// Makes a bridge, whose address does not follow its ports, and serves addresses on it.
    fn new(host: &Host) -> Self {
        let bridge = "ip link add lan0 address 02:00:00:00:00:01 type bridge && ip link set lan0 up && \
                      ip addr add 10.63.0.1/24 dev lan0";
        host.sh(bridge).ok();
        let leases = host.scratch().join("leases");
        let child = host
            .command("dnsmasq")
            .args([
                "--keep-in-foreground",
                "--conf-file=/dev/null",
                "--port=0",
                "--interface=lan0",
                "--no-ping",
            ])
            .args(["--log-facility=/dev/null", "--user=root", "--pid-file=", "--dhcp-authoritative"])
            .arg("--dhcp-range=10.63.0.50,10.63.0.60,255.255.255.0,2m")
            .arg(format!("--dhcp-leasefile={}", leases.display()))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .expect("dnsmasq can be executed");
        let server = Self(child);
        // Port 67, in hexadecimal.
        until("the server listens", || {
            host.sh("grep :0043 /proc/net/udp").stdout.contains(":0043").then_some(())
        });
        server
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.0.kill().expect("it lives");
        self.0.wait().expect("it was ours");
    }
}

#[test]
fn addresses_of_a_server_are_held_and_given_back() {
    let host = Host::with_small_image();
    let server = Server::new(&host);
    let list = host.scratch().join("lan.conflist");
    let text = r#"{ "cniVersion": "1.1.0", "name": "lan", "plugins": [
        { "type": "bridge", "bridge": "lan0", "ipam": { "type": "dhcp" } } ] }"#;
    fs::write(&list, text).expect("writable");
    host.loam(&["network", "create", "--conf", list.to_str().expect("text")]).ok();
    host.start(&["--name", "one", "--network", "lan", "small", "sleep", "1000"]);
    let address = host.loam(&["exec", "one", "ip", "addr", "show", "dev", "eth0"]);
    assert!(
        address.ok().contains("inet 10.63.0.5") || address.ok().contains("inet 10.63.0.60"),
        "{address:?}"
    );
    host.loam(&["exec", "one", "ping", "-c", "1", "-W", "5", "10.63.0.1"]).ok();
    assert_eq!(host.loam(&["network", "check", "lan"]).ok(), "lan: well");
    let socket = host.run_directory().join("cni/dhcp.sock");
    assert!(socket.exists(), "a keeper listens");

    // One that ends by itself takes its namespace along before it is detached.
    host.loam(&["run", "--rm", "--network", "lan", "small", "true"]).ok();
    let leases = || fs::read_to_string(host.scratch().join("leases")).unwrap_or_default();
    until("its address is given back", || (leases().lines().count() == 1).then_some(()));
    host.loam(&["rm", "-f", "one"]).ok();
    until("the other one too", || leases().is_empty().then_some(()));
    until("the keeper has ended", || (!socket.exists()).then_some(()));
    drop(server);
    host.finish();
}
