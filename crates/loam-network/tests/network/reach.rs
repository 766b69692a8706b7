//! What passes between containers, host and outside, and what does not.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use loam_model::Protocol;
use loam_testkit::lab::{Sandbox, ask_tcp, ask_udp, inside, succeed};

use crate::bench::{Engine, addresses, at, id, port};

/// A second machine on a wire to the host: 192.0.2.2 there, 192.0.2.1 here.
pub(crate) fn outside() -> Sandbox {
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
    inside("reach::containers_host_and_outside_reach_what_they_should", || {
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
    inside("reach::the_loopback_of_the_host_is_closed_to_neighbours", || {
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
fn a_flushed_table_is_restored_for_all() {
    inside("reach::a_flushed_table_is_restored_for_all", || {
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
