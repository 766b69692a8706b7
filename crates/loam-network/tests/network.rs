//! Attaching and detaching with the real kernel: what passes, what does not, and what is left.

#![allow(clippy::print_stdout, reason = "a test that can't run says so")]

#[path = "../../loam-cni/tests/lab/host.rs"]
mod host;

use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::time::{Duration, Instant};

use host::{Sandbox, ask_tcp, ask_udp, eventually, inside, succeed};
use loam_model::{
    AttachRequest, Attachment, ContainerId, DetachRequest, ErrorKind, Failure, Network, NetworkName,
    PortMapping, Protocol,
};
use loam_network::{CniNetwork, NetworkConfig};

struct Engine {
    directory: tempfile::TempDir,
    network: CniNetwork,
}

impl Engine {
    fn new() -> Self {
        // In memory: on a file system of the host, files that others delete meanwhile would be measured.
        let directory = tempfile::tempdir_in("/run").expect("a temporary directory");
        let network = CniNetwork::new(Self::config(directory.path()));
        Self { directory, network }
    }

    fn config(directory: &Path) -> NetworkConfig {
        NetworkConfig::below(&directory.join("root"), &directory.join("run"))
    }

    fn attach(
        &self,
        id: &ContainerId,
        sandbox: &Sandbox,
        ports: &[PortMapping],
    ) -> Result<Attachment, Failure> {
        self.attach_to(&["loam"], id, sandbox, ports)
    }

    fn attach_to(
        &self,
        networks: &[&str],
        id: &ContainerId,
        sandbox: &Sandbox,
        ports: &[PortMapping],
    ) -> Result<Attachment, Failure> {
        let networks: Vec<NetworkName> = networks.iter().map(|name| name.parse().expect("valid")).collect();
        self.network.attach(&AttachRequest {
            container: id,
            name: "test",
            namespace: sandbox.path(),
            networks: &networks,
            ports,
        })
    }

    fn detach(&self, id: &ContainerId, sandbox: Option<&Sandbox>) {
        let namespace = sandbox.map(Sandbox::path);
        self.network.detach(&DetachRequest { container: id, namespace }).expect("detachable");
    }

    /// Fails when anything of any container is left in files or in the kernel.
    fn assert_nothing_left(&self, when: &str) {
        assert_eq!(self.network.attached().expect("readable"), [], "{when}");
        let root = self.directory.path();
        for directory in ["root/network/attachments", "root/network/results", "run/cni/ports"] {
            assert_eq!(names(&root.join(directory)), Vec::<String>::new(), "{when}: {directory}");
        }
        let addresses = names(&root.join("root/network/addresses/loam"));
        let addresses: Vec<_> = addresses.iter().filter(|name| name.parse::<IpAddr>().is_ok()).collect();
        assert!(addresses.is_empty(), "{when}: {addresses:?}");
        assert_eq!(names(&root.join("root/network/addresses/loam/.owners")), Vec::<String>::new(), "{when}");
        let rules = succeed(&["nft", "list", "ruleset"]);
        assert!(!rules.contains("comment"), "{when}: {rules}");
        eventually(&format!("{when}: no veth is left"), || {
            !succeed(&["ip", "-o", "link"]).contains("master loam0")
        });
    }
}

fn names(directory: &Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(directory) else { return Vec::new() };
    entries.map(|entry| entry.expect("readable").file_name().into_string().expect("text")).collect()
}

fn id(number: u8) -> ContainerId {
    ContainerId::from_random([number; 32])
}

fn port(host: u16, container: u16, protocol: Protocol) -> PortMapping {
    PortMapping { host_address: None, host_port: host, container_port: container, protocol }
}

fn addresses(attachment: &Attachment) -> (IpAddr, IpAddr) {
    let interface = &attachment.interfaces[0];
    assert_eq!(interface.addresses.len(), 2, "{interface:?}");
    (interface.addresses[0].addr(), interface.addresses[1].addr())
}

fn at(address: &str) -> SocketAddr {
    address.parse().expect("a socket address")
}

/// A second machine on a wire to the host: 192.0.2.2 there, 192.0.2.1 here.
fn outside() -> Sandbox {
    let outside = Sandbox::new();
    let netns = outside.path();
    let pid = netns.to_str().and_then(|path| path.split('/').nth(2)).expect("a process id").to_owned();
    succeed(&["ip", "link", "add", "wire", "type", "veth", "peer", "name", "wire", "netns", &pid]);
    succeed(&["ip", "addr", "add", "192.0.2.1/24", "dev", "wire"]);
    succeed(&["ip", "link", "set", "wire", "up"]);
    outside.command(&["ip", "addr", "add", "192.0.2.2/24", "dev", "wire"]);
    outside.command(&["ip", "link", "set", "wire", "up"]);
    outside.command(&["ip", "link", "set", "lo", "up"]);
    outside
}

#[test]
fn containers_host_and_outside_reach_what_they_should() {
    inside("containers_host_and_outside_reach_what_they_should", || {
        let engine = Engine::new();
        let outside = outside();
        let (one, two) = (Sandbox::new(), Sandbox::new());
        let ports = [port(8080, 80, Protocol::Tcp), port(8053, 53, Protocol::Udp)];
        let first = engine.attach(&id(1), &one, &ports).expect("attachable");
        let second = engine.attach(&id(2), &two, &[]).expect("attachable");
        assert_eq!(first.ports, ports);
        let ((one4, one6), (two4, two6)) = (addresses(&first), addresses(&second));
        one.serve_tcp("[::]:80");
        one.serve_udp("[::]:53");
        outside.serve_tcp("[::]:7");

        // Between containers, directly, with nothing rewritten.
        assert_eq!(two.ask_tcp(SocketAddr::new(one4, 80)), Some(two4));
        assert_eq!(two.ask_tcp(SocketAddr::new(one6, 80)), Some(two6));
        // From the host to the container.
        let gateway = first.interfaces[0].gateways[0];
        assert_eq!(ask_tcp(SocketAddr::new(one4, 80)), Some(gateway));
        assert!(ask_tcp(SocketAddr::new(one6, 80)).is_some());
        // Loopback in the container.
        assert_eq!(one.ask_tcp(at("127.0.0.1:80")), Some("127.0.0.1".parse().expect("valid")));
        // The published port: by loopback, by addresses of the host, from outside with the client's own address.
        assert_eq!(ask_tcp(at("127.0.0.1:8080")), Some(gateway));
        assert!(ask_tcp(SocketAddr::new(gateway, 8080)).is_some());
        assert!(ask_tcp(SocketAddr::new(first.interfaces[0].gateways[1], 8080)).is_some());
        assert_eq!(outside.ask_tcp(at("192.0.2.1:8080")), Some("192.0.2.2".parse().expect("valid")));
        // A connection to ::1 is refused at once, so that `localhost` falls back to 127.0.0.1.
        let begun = Instant::now();
        assert_eq!(ask_tcp(at("[::1]:8080")), None);
        assert!(begun.elapsed() < Duration::from_millis(500));
        // UDP.
        assert_eq!(ask_udp(at("127.0.0.1:8053")), Some(gateway));
        assert_eq!(outside.run(|| ask_udp(at("192.0.2.1:8053"))), Some("192.0.2.2".parse().expect("valid")));
        // Containers reach published ports by the host's address, their own too.
        assert!(two.ask_tcp(SocketAddr::new(gateway, 8080)).is_some());
        assert!(one.ask_tcp(SocketAddr::new(gateway, 8080)).is_some());
        // Only addresses of this host are redirected (CVE-2025-67499): the same port elsewhere is elsewhere.
        outside.serve_tcp("[::]:8080");
        assert_eq!(two.ask_tcp(at("192.0.2.2:8080")), Some("192.0.2.1".parse().expect("valid")));
        // To the outside, masqueraded.
        assert_eq!(one.ask_tcp(at("192.0.2.2:7")), Some("192.0.2.1".parse().expect("valid")));

        engine.detach(&id(1), Some(&one));
        assert_eq!(ask_tcp(at("127.0.0.1:8080")), None);
        assert_eq!(ask_udp(at("127.0.0.1:8053")), None);
        engine.detach(&id(2), Some(&two));
        engine.detach(&id(2), Some(&two));
        engine.assert_nothing_left("after detaching");
    });
}

#[test]
fn the_loopback_of_the_host_is_closed_to_neighbours() {
    inside("the_loopback_of_the_host_is_closed_to_neighbours", || {
        let engine = Engine::new();
        let one = Sandbox::new();
        let secret = std::net::TcpListener::bind("127.0.0.1:7777").expect("a free port");
        let attachment = engine.attach(&id(1), &one, &[port(8080, 80, Protocol::Tcp)]).expect("attachable");
        let gateway = attachment.interfaces[0].gateways[0].to_string();
        // The container routes 127.0.0.1 over the bridge (CVE-2020-8558).
        std::fs::read_to_string("/proc/sys/net/ipv4/conf/loam0/route_localnet")
            .map(|value| assert_eq!(value.trim(), "1"))
            .expect("readable");
        one.run(|| std::fs::write("/proc/sys/net/ipv4/conf/all/route_localnet", "1")).expect("writable");
        one.command(&["ip", "addr", "del", "127.0.0.1/8", "dev", "lo"]);
        one.command(&["ip", "route", "add", "127.0.0.0/8", "via", &gateway, "dev", "eth0"]);
        assert_eq!(one.ask_tcp(at("127.0.0.1:7777")), None);
        secret.set_nonblocking(true).expect("a socket");
        assert_eq!(secret.accept().expect_err("nobody came").kind(), std::io::ErrorKind::WouldBlock);
        // The host does not take routes from containers.
        for key in ["accept_ra", "accept_redirects"] {
            let value = std::fs::read_to_string(format!("/proc/sys/net/ipv6/conf/loam0/{key}"));
            assert_eq!(value.expect("readable").trim(), "0", "{key}");
        }
    });
}

#[test]
fn ports_that_are_taken_are_refused_by_name() {
    inside("ports_that_are_taken_are_refused_by_name", || {
        let engine = Engine::new();
        let (one, two) = (Sandbox::new(), Sandbox::new());
        let program = std::net::TcpListener::bind("0.0.0.0:9000").expect("a free port");
        let failure = engine.attach(&id(1), &one, &[port(9000, 80, Protocol::Tcp)]).expect_err("taken");
        assert_eq!(failure.kind(), ErrorKind::AlreadyExists);
        assert_eq!(failure.to_string(), "host port `9000/tcp` is taken by another program");
        engine.assert_nothing_left("after a refusal");
        drop(program);
        let held = engine.attach(&id(1), &one, &[port(9000, 80, Protocol::Tcp)]).expect("free now");
        assert_eq!(held.reservations.len(), 2);
        std::net::TcpListener::bind("0.0.0.0:9000").expect_err("the port is reserved");
        std::net::TcpListener::bind("[::]:9000").expect_err("the port is reserved");
        let failure = engine.attach(&id(2), &two, &[port(9000, 80, Protocol::Tcp)]).expect_err("taken");
        let owner = id(1);
        let expected = format!("host port `9000/tcp` is taken by container `{}`", owner.short());
        assert_eq!(failure.to_string(), expected);
        // Without the reservation, as after the shim was killed, the kernel's table still refuses.
        drop(held);
        let failure = engine.attach(&id(2), &two, &[port(9000, 80, Protocol::Tcp)]).expect_err("taken");
        assert_eq!((failure.kind(), failure.to_string()), (ErrorKind::AlreadyExists, expected));
        // One that is free is found.
        let free = engine.attach(&id(2), &two, &[port(0, 80, Protocol::Tcp)]).expect("any port will do");
        assert!(free.ports[0].host_port > 0);
        engine.detach(&id(1), Some(&one));
        engine.detach(&id(2), Some(&two));
        engine.assert_nothing_left("after detaching");
    });
}

#[test]
fn a_namespace_that_is_gone_is_detached_at_once_and_leaves_nothing() {
    inside("a_namespace_that_is_gone_is_detached_at_once_and_leaves_nothing", || {
        let engine = Engine::new();
        let one = Sandbox::new();
        let attachment = engine.attach(&id(1), &one, &[port(8080, 80, Protocol::Tcp)]).expect("attachable");
        let (address, _) = addresses(&attachment);
        drop(attachment);
        // Somebody keeps the namespace, and a server in it.
        one.serve_tcp("0.0.0.0:80");
        let kept = one.path();
        let kept = loam_cni::namespace::Namespace::open(&kept).expect("it lives");
        one.end();
        assert!(ask_tcp(SocketAddr::new(address, 80)).is_some());
        engine.detach(&id(1), None);
        assert_eq!(ask_tcp(SocketAddr::new(address, 80)), None, "the port of the bridge is shut");
        drop(kept);
        // The same container lives again, at once.
        let again = Sandbox::new();
        engine.attach(&id(1), &again, &[port(8080, 80, Protocol::Tcp)]).expect("attachable");
        again.serve_tcp("0.0.0.0:80");
        assert!(ask_tcp(at("127.0.0.1:8080")).is_some());
        again.end();
        engine.detach(&id(1), None);
    });
}

#[test]
fn a_flushed_table_is_restored_for_all() {
    inside("a_flushed_table_is_restored_for_all", || {
        let engine = Engine::new();
        let (one, two) = (Sandbox::new(), Sandbox::new());
        engine.attach(&id(1), &one, &[port(8080, 80, Protocol::Tcp)]).expect("attachable");
        one.serve_tcp("0.0.0.0:80");
        let before = succeed(&["nft", "list", "ruleset"]);
        for flush in [&["nft", "flush", "ruleset"][..], &["nft", "flush", "table", "inet", "loam"]] {
            succeed(flush);
            engine.attach(&id(2), &two, &[]).expect("attachable");
            assert!(ask_tcp(at("127.0.0.1:8080")).is_some());
            assert_eq!(succeed(&["nft", "list", "ruleset"]), before);
            engine.detach(&id(2), Some(&two));
        }
        succeed(&["nft", "flush", "ruleset"]);
        engine.detach(&id(1), Some(&one));
        engine.assert_nothing_left("after a flush");
    });
}

#[test]
fn an_attachment_killed_at_any_point_is_undone() {
    const ATTACHER: &str = "LOAM_TEST_ATTACHER";
    const STEP: Duration = Duration::from_micros(150);
    let name = "an_attachment_killed_at_any_point_is_undone";
    if let Some(arguments) = std::env::var_os(ATTACHER) {
        // The process that is killed: attaches and waits.
        let arguments = arguments.into_string().expect("text");
        let (directory, namespace) = arguments.split_once(' ').expect("two words");
        let network = CniNetwork::new(Engine::config(Path::new(directory)));
        let request = AttachRequest {
            container: &id(1),
            name: "test",
            namespace: namespace.into(),
            networks: &["loam".parse().expect("valid")],
            ports: &[port(8080, 80, Protocol::Tcp)],
        };
        let attached = network.attach(&request).expect("attachable");
        println!("attached");
        std::thread::park();
        drop(attached);
        return;
    }
    inside(name, || {
        let engine = Engine::new();
        // Begin with the default network made, so that the kills fall into the attachment itself.
        let warm = Sandbox::new();
        engine.attach(&id(9), &warm, &[]).expect("attachable");
        engine.detach(&id(9), Some(&warm));
        let (mut finished, mut half) = (0, 0);
        for step in 0..400u32 {
            let sandbox = Sandbox::new();
            let argument = format!("{} {}", engine.directory.path().display(), sandbox.path().display());
            let mut child = std::process::Command::new(std::env::current_exe().expect("a path"))
                .args(["--exact", name, "--nocapture", "--test-threads=1"])
                .env(ATTACHER, argument)
                .stdout(std::process::Stdio::null())
                .spawn()
                .expect("it runs");
            // The file is the first thing that is written; from then on time is counted.
            let file = engine.directory.path().join("root/network/attachments").join(id(1).as_str());
            eventually("the attachment begins", || file.exists());
            let begun = Instant::now();
            while begun.elapsed() < STEP * step {
                std::hint::spin_loop();
            }
            child.kill().expect("it lives");
            child.wait().expect("it was ours");
            let whole =
                engine.directory.path().join("root/network/results").join(format!("loam-{}-eth0", id(1)));
            if whole.exists() {
                finished += 1;
            } else {
                half += 1;
            }
            assert_eq!(engine.network.attached().expect("readable"), [id(1)]);
            engine.detach(&id(1), (step % 2 == 0).then_some(&sandbox));
            sandbox.end();
            engine.assert_nothing_left(&format!("killed after {:?}", STEP * step));
            if finished == 3 {
                break;
            }
        }
        println!("{half} killed half way, {finished} when attached");
        assert!(half > 3 && finished == 3, "{half} {finished}");
    });
}

#[test]
fn two_networks_have_one_default_route() {
    inside("two_networks_have_one_default_route", || {
        let engine = Engine::new();
        let conf = engine.directory.path().join("root/networks");
        std::fs::create_dir_all(&conf).expect("writable");
        let other = r#"{"cniVersion":"1.0.0","name":"other","plugins":[{"type":"bridge","bridge":"other0",
            "isDefaultGateway":true,"ipam":{"type":"host-local","subnet":"10.77.0.0/24"},
            "dns":{"nameservers":["10.77.0.1"],"search":["other.test"]}}]}"#;
        std::fs::write(conf.join("other.conflist"), other).expect("writable");
        let one = Sandbox::new();
        let attachment = engine.attach_to(&["loam", "other"], &id(1), &one, &[]).expect("attachable");
        assert_eq!(attachment.interfaces[1].name, "eth1");
        assert_eq!(attachment.interfaces[1].addresses[0].to_string(), "10.77.0.2/24");
        assert_eq!(attachment.name_servers, ["10.77.0.1".parse::<IpAddr>().expect("valid")]);
        assert_eq!(attachment.search_domains, ["other.test"]);
        let routes = one.command(&["ip", "route", "show", "default"]);
        assert_eq!(routes.lines().count(), 1, "{routes}");
        assert!(routes.contains("dev eth0"), "{routes}");
        let failure =
            engine.attach_to(&["other"], &id(2), &one, &[port(1, 1, Protocol::Tcp)]).expect_err("no portmap");
        assert_eq!(failure.kind(), ErrorKind::Invalid);
        let failure = engine.attach_to(&["none"], &id(2), &one, &[]).expect_err("no network");
        assert_eq!(
            (failure.kind(), failure.to_string().as_str()),
            (ErrorKind::NotFound, "network `none` does not exist")
        );
        engine.detach(&id(1), Some(&one));
        engine.assert_nothing_left("after detaching from two networks");
        eventually("no veth is left", || !succeed(&["ip", "-o", "link"]).contains("master other0"));
    });
}

#[test]
fn a_failure_in_the_chain_undoes_what_was_done() {
    inside("a_failure_in_the_chain_undoes_what_was_done", || {
        let engine = Engine::new();
        let conf = engine.directory.path().join("root/networks");
        std::fs::create_dir_all(&conf).expect("writable");
        let broken = r#"{"cniVersion":"1.1.0","name":"loam","plugins":[
            {"type":"bridge","bridge":"loam0","isGateway":true,"ipMasq":true,
             "ipam":{"type":"host-local","ranges":[[{"subnet":"10.90.0.0/30"}]]}},
            {"type":"no-such-plugin"}]}"#;
        std::fs::write(conf.join("loam.conflist"), broken).expect("writable");
        let one = Sandbox::new();
        let failure = engine.attach(&id(1), &one, &[]).expect_err("the last plugin is missing");
        assert!(failure.chain().contains("no-such-plugin"), "{}", failure.chain());
        // DEL of the missing plugin fails too: the attachment is kept until it can be undone.
        assert_eq!(engine.network.attached().expect("readable"), [id(1)]);
        let good = broken.replace("no-such-plugin", "loopback");
        std::fs::write(conf.join("loam.conflist"), good).expect("writable");
        let two = Sandbox::new();
        let failure = engine.attach(&id(2), &two, &[]).expect_err("the only address is taken");
        assert_eq!(failure.kind(), ErrorKind::Exhausted);
        assert_eq!(engine.network.attached().expect("readable"), [id(1)]);
    });
}

#[test]
fn plugins_of_others_are_executed_in_the_same_chain() {
    inside("plugins_of_others_are_executed_in_the_same_chain", || {
        let Some(directory) =
            ["/opt/cni/bin", "/usr/lib/cni"].into_iter().find(|path| Path::new(path).join("tuning").exists())
        else {
            println!(
                "skipped: plugins_of_others_are_executed_in_the_same_chain: needs containernetworking-plugins"
            );
            return;
        };
        let engine = Engine::new();
        let conf = engine.directory.path().join("root/networks");
        std::fs::create_dir_all(&conf).expect("writable");
        let list = r#"{"cniVersion":"1.0.0","name":"loam","plugins":[
            {"type":"bridge","bridge":"loam0","isGateway":true,
             "ipam":{"type":"host-local","ranges":[[{"subnet":"10.90.0.0/24"}],[{"subnet":"fd00:90::/64"}]]}},
            {"type":"tuning","sysctl":{"net.core.somaxconn":"77"},"mtu":1400}]}"#;
        std::fs::write(conf.join("loam.conflist"), list).expect("writable");
        let one = Sandbox::new();
        let attachment = engine.attach(&id(1), &one, &[]).expect("attachable");
        assert_eq!(addresses(&attachment).0.to_string(), "10.90.0.2");
        assert!(one.command(&["ip", "link", "show", "eth0"]).contains("mtu 1400"), "{directory}");
        engine.detach(&id(1), Some(&one));
        engine.assert_nothing_left("after a chain of two owners");
    });
}

#[test]
fn many_containers_at_once_get_addresses_of_their_own() {
    inside("many_containers_at_once_get_addresses_of_their_own", || {
        let engine = Engine::new();
        let sandboxes: Vec<Sandbox> = (0..16).map(|_| Sandbox::new()).collect();
        let mut taken: Vec<IpAddr> = std::thread::scope(|scope| {
            let engine = &engine;
            let all: Vec<_> = (0u8..)
                .zip(&sandboxes)
                .map(|(number, sandbox)| {
                    let wanted = [port(0, 80, Protocol::Tcp)];
                    scope.spawn(move || engine.attach(&id(number), sandbox, &wanted).expect("attachable"))
                })
                .collect();
            all.into_iter()
                .flat_map(|one| {
                    let (four, six) = addresses(&one.join().expect("no panic"));
                    [four, six]
                })
                .collect()
        });
        taken.sort();
        taken.dedup();
        assert_eq!(taken.len(), 32);
        std::thread::scope(|scope| {
            for number in 0..16 {
                let engine = &engine;
                scope.spawn(move || engine.detach(&id(number), None));
            }
        });
        sandboxes.into_iter().for_each(Sandbox::end);
        engine.assert_nothing_left("after many");
    });
}
