//! What containers may reach, tried with packets: two containers on a bridge of the host, and a machine outside.

mod leaving;
mod on_demand;

use std::io::Write;
use std::net::{IpAddr, SocketAddr};
use std::process::Command;
use std::time::{Duration, Instant};

use loam_cni::Host;
use loam_cni::firewall::Firewall;
use loam_cni::firewall::egress::{
    Action, AddressRange, ConnectionRate, EgressRecord, GuardedLink, Icmp, PortRange, Protocol, Rule,
    RuleList,
};
use loam_testkit::lab::{Sandbox, eventually, inside, succeed};

/// The host under test: 10.7.0.1 and fd07::1 for containers, 192.0.2.1 and fd99::1 for the machine outside.
struct Machine {
    firewall: Firewall,
    outside: Sandbox,
}

fn pid(sandbox: &Sandbox) -> String {
    let path = sandbox.path();
    path.to_str().and_then(|path| path.split('/').nth(2)).expect("a process id").to_owned()
}

fn wire(name: &str, sandbox: &Sandbox, addresses: &[&str], gateways: &[&str]) {
    succeed(&["ip", "link", "add", name, "type", "veth", "peer", "name", "eth0", "netns", &pid(sandbox)]);
    succeed(&["ip", "link", "set", name, "up"]);
    sandbox.command(&["sysctl", "-qw", "net.ipv6.conf.eth0.accept_dad=0"]);
    for address in addresses {
        sandbox.command(&["ip", "addr", "add", address, "dev", "eth0", "nodad"]);
    }
    sandbox.command(&["ip", "link", "set", "eth0", "up"]);
    sandbox.command(&["ip", "link", "set", "lo", "up"]);
    for gateway in gateways {
        sandbox.command(&["ip", "route", "add", "default", "via", gateway]);
    }
}

impl Machine {
    fn new() -> Self {
        let settings =
            ["net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1", "net.ipv6.conf.default.accept_dad=0"];
        for setting in settings {
            succeed(&["sysctl", "-qw", setting]);
        }
        succeed(&["ip", "link", "add", "br7", "type", "bridge"]);
        succeed(&["ip", "addr", "add", "10.7.0.1/24", "dev", "br7"]);
        succeed(&["ip", "addr", "add", "fd07::1/64", "dev", "br7", "nodad"]);
        succeed(&["ip", "link", "set", "br7", "up"]);
        let outside = Sandbox::new();
        wire("wire", &outside, &["192.0.2.2/24", "192.0.2.3/24", "fd99::2/64"], &["192.0.2.1", "fd99::1"]);
        succeed(&["ip", "addr", "add", "192.0.2.1/24", "dev", "wire"]);
        succeed(&["ip", "addr", "add", "fd99::1/64", "dev", "wire", "nodad"]);
        outside.serve_tcp("[::]:80");
        outside.serve_tcp("[::]:443");
        outside.serve_udp("0.0.0.0:53");
        let host = Host { state_directory: "/run/firewall".into(), ..Host::default() };
        Self { firewall: Firewall::open(&host).expect("nf_tables"), outside }
    }

    fn container(&self, number: u8) -> Sandbox {
        let sandbox = Sandbox::new();
        let addresses = [format!("10.7.0.{number}/24"), format!("fd07::{number}/64")];
        let name = format!("port{number}");
        wire(&name, &sandbox, &addresses.each_ref().map(String::as_str), &["10.7.0.1", "fd07::1"]);
        succeed(&["ip", "link", "set", &name, "master", "br7"]);
        sandbox
    }

    /// A container with a pair of its own, whose other end the host routes to.
    fn paired(&self, number: u8) -> Sandbox {
        let sandbox = Sandbox::new();
        let name = format!("port{number}");
        let addresses = [format!("10.7.0.{number}/32"), format!("fd07::{number}/128")];
        wire(&name, &sandbox, &addresses.each_ref().map(String::as_str), &[]);
        for (gateway, kind) in [("10.7.0.1", "-4"), ("fd07::1", "-6")] {
            sandbox.command(&["ip", kind, "route", "add", gateway, "dev", "eth0"]);
            sandbox.command(&["ip", kind, "route", "add", "default", "via", gateway, "dev", "eth0"]);
        }
        succeed(&["ip", "addr", "add", "10.7.0.1/32", "dev", &name]);
        succeed(&["ip", "addr", "add", "fd07::1/128", "dev", &name, "nodad"]);
        succeed(&["ip", "route", "add", &format!("10.7.0.{number}/32"), "dev", &name]);
        succeed(&["ip", "-6", "route", "add", &format!("fd07::{number}/128"), "dev", &name]);
        sandbox
    }

    fn restrict(&mut self, name: &str, number: u8, to_others: RuleList, to_host: RuleList) {
        let record = record(number, to_others, to_host);
        self.firewall.restrict(name, &record).expect("settable");
        assert!(self.firewall.is_restricted(name, &record).expect("readable"));
    }
}

fn record(number: u8, to_others: RuleList, to_host: RuleList) -> EgressRecord {
    let addresses = [format!("10.7.0.{number}"), format!("fd07::{number}")];
    let addresses = addresses.map(|text| text.parse::<IpAddr>().expect("valid")).to_vec();
    EgressRecord { addresses, to_others, to_host, guarded: Vec::new() }
}

fn net(text: &str) -> AddressRange {
    text.parse::<ipnet::IpNet>().expect("valid").into()
}

fn tcp(port: u16) -> Protocol {
    Protocol::Tcp(vec![PortRange { first: port, last: port }])
}

fn allow(protocol: Protocol, networks: &[&str]) -> Rule {
    Rule { protocol, networks: networks.iter().map(|text| net(text)).collect(), ..Rule::default() }
}

fn only(rules: Vec<Rule>) -> RuleList {
    RuleList { rules, ..RuleList::reject() }
}

fn reaches(from: &Sandbox, to: &str) -> bool {
    from.ask_tcp(to.parse::<SocketAddr>().expect("valid")).is_some()
}

fn pings(from: &Sandbox, to: &str) -> bool {
    from.run(|| {
        let mut ping = Command::new("busybox");
        ping.args(["ping", "-c", "1", "-W", "1", to]).output().expect("busybox is installed").status.success()
    })
}

fn chains() -> Vec<String> {
    let listed = succeed(&["nft", "list", "chains", "inet"]);
    let names = listed.lines().filter_map(|line| line.trim().strip_prefix("chain ")?.strip_suffix(" {"));
    names.filter(|name| name.contains('-') && *name != "to-host").map(str::to_owned).collect()
}

#[test]
fn lists_decide_what_passes() {
    inside("lists_decide_what_passes", || {
        let mut machine = Machine::new();
        let (one, two) = (machine.container(5), machine.container(6));
        assert!(reaches(&one, "192.0.2.2:80") && reaches(&two, "192.0.2.2:80"), "nothing is set");

        let web = only(vec![allow(tcp(80), &["192.0.2.2/32", "fd99::/64"])]);
        machine.restrict("one", 5, web, RuleList::reject());
        assert!(reaches(&one, "192.0.2.2:80") && reaches(&one, "[fd99::2]:80"));
        let begun = Instant::now();
        for to in ["192.0.2.2:443", "192.0.2.3:80", "[fd99::2]:443"] {
            assert!(!reaches(&one, to), "{to}");
        }
        assert!(begun.elapsed() < Duration::from_secs(2), "refused, and told so");
        assert!(!pings(&one, "192.0.2.2"));
        assert!(reaches(&two, "192.0.2.2:443"), "the other container's list is its own");
        // Answers pass, whatever the list says.
        one.serve_tcp("[::]:9");
        assert!(reaches(&machine.outside, "10.7.0.5:9"));

        // The first rule that matches decides.
        let rules = vec![
            allow(tcp(443), &["192.0.2.3/32"]),
            Rule { action: Action::Reject, ..allow(Protocol::All, &["192.0.2.0/24"]) },
        ];
        machine.restrict("one", 5, RuleList { rules, ..RuleList::allow() }, RuleList::reject());
        assert!(reaches(&one, "192.0.2.3:443") && reaches(&one, "[fd99::2]:443"));
        assert!(!reaches(&one, "192.0.2.3:80") && !reaches(&one, "192.0.2.2:443"));

        machine.firewall.unrestrict("one").expect("removable");
        machine.firewall.unrestrict("one").expect("idempotent");
        assert!(reaches(&one, "192.0.2.2:443"));
        assert_eq!(chains(), Vec::<String>::new());
        assert_eq!(machine.firewall.restricted().expect("readable"), Vec::<String>::new());
    });
}

#[test]
fn protocols_are_told_apart() {
    inside("protocols_are_told_apart", || {
        let mut machine = Machine::new();
        let one = machine.container(5);
        let dns = |one: &Sandbox| {
            one.run(|| loam_testkit::lab::ask_udp("192.0.2.2:53".parse().expect("valid"))).is_some()
        };
        let mut set = |rules| machine.restrict("one", 5, only(rules), RuleList::allow());
        let everywhere = Vec::<&str>::new();
        set(vec![allow(Protocol::Udp(vec![PortRange { first: 50, last: 60 }]), &everywhere)]);
        assert!(dns(&one) && !reaches(&one, "192.0.2.2:80") && !pings(&one, "192.0.2.2"));
        set(vec![allow(Protocol::Udp(vec![PortRange { first: 54, last: 60 }]), &everywhere)]);
        assert!(!dns(&one));
        set(vec![allow(Protocol::Icmp(Some(Icmp { kind: 8, code: Some(0) })), &everywhere)]);
        assert!(pings(&one, "192.0.2.2") && !pings(&one, "fd99::2") && !dns(&one));
        set(vec![allow(Protocol::Icmp(Some(Icmp { kind: 13, code: None })), &everywhere)]);
        assert!(!pings(&one, "192.0.2.2"));
        set(vec![allow(Protocol::IcmpV6(None), &everywhere)]);
        assert!(pings(&one, "fd99::2") && !pings(&one, "192.0.2.2"));
        set(vec![allow(Protocol::Tcp(Vec::new()), &everywhere)]);
        assert!(reaches(&one, "192.0.2.2:80") && reaches(&one, "[fd99::2]:443") && !dns(&one));
        set(vec![allow(Protocol::All, &["0.0.0.0/0"])]);
        assert!(dns(&one) && pings(&one, "192.0.2.2") && !pings(&one, "fd99::2"));
    });
}

#[test]
fn the_host_has_a_list_of_its_own() {
    inside("the_host_has_a_list_of_its_own", || {
        let mut machine = Machine::new();
        let one = machine.container(5);
        for port in [80, 81] {
            let listener = std::net::TcpListener::bind(("::", port)).expect("a free port");
            std::thread::spawn(move || {
                for stream in listener.incoming() {
                    write!(stream.expect("a client"), "192.0.2.1").expect("writable");
                }
            });
        }
        machine.restrict("one", 5, RuleList::allow(), only(vec![allow(tcp(81), &["10.7.0.1/32"])]));
        assert!(reaches(&one, "10.7.0.1:81"));
        for to in ["10.7.0.1:80", "192.0.2.1:81", "[fd07::1]:81"] {
            assert!(!reaches(&one, to), "{to}");
        }
        assert!(reaches(&one, "192.0.2.2:80") && reaches(&one, "[fd99::2]:80"), "the way through the host");
        machine.restrict("one", 5, RuleList::allow(), RuleList::allow());
        assert!(reaches(&one, "10.7.0.1:80") && reaches(&one, "[fd07::1]:80"));
    });
}

#[test]
fn equal_lists_share_a_chain_and_the_last_one_takes_it_away() {
    inside("equal_lists_share_a_chain_and_the_last_one_takes_it_away", || {
        let mut machine = Machine::new();
        let list = || only(vec![allow(tcp(80), &["192.0.2.0/24"])]);
        machine.restrict("one", 5, list(), RuleList::reject());
        machine.restrict("two", 6, list(), RuleList::reject());
        // One for each of two families, of what is passed on and of what is for the host.
        assert_eq!(chains().len(), 4, "{:?}", chains());
        machine.restrict("one", 5, RuleList::allow(), RuleList::reject());
        assert_eq!(chains().len(), 6, "{:?}", chains());
        machine.firewall.unrestrict("two").expect("removable");
        assert_eq!(chains().len(), 4, "{:?}", chains());
        // An address that another container had before, and whose end nobody was told.
        machine.restrict("three", 5, list(), RuleList::reject());
        machine.firewall.unrestrict("one").expect("removable");
        let now = record(5, list(), RuleList::reject());
        assert!(machine.firewall.is_restricted("three", &now).expect("readable"));
        machine.firewall.unrestrict("three").expect("removable");
        assert_eq!(chains(), Vec::<String>::new());
    });
}

#[test]
fn a_flushed_table_comes_back_with_all_lists() {
    inside("a_flushed_table_comes_back_with_all_lists", || {
        let mut machine = Machine::new();
        let one = machine.container(5);
        let list = only(vec![allow(tcp(80), &["192.0.2.0/24"])]);
        machine.restrict("one", 5, list.clone(), RuleList::reject());
        succeed(&["nft", "flush", "ruleset"]);
        assert!(reaches(&one, "192.0.2.2:443"), "nothing is there");
        let now = record(5, list, RuleList::reject());
        assert!(!machine.firewall.is_restricted("one", &now).expect("readable"));
        machine.firewall.restore().expect("restorable");
        assert!(machine.firewall.is_restricted("one", &now).expect("readable"));
        assert!(reaches(&one, "192.0.2.2:80") && !reaches(&one, "192.0.2.2:443"));
        // And by the next change for whichever container.
        succeed(&["nft", "flush", "chain", "inet", "loam", "egress"]);
        machine.restrict("two", 6, RuleList::allow(), RuleList::allow());
        assert!(!reaches(&one, "192.0.2.2:443"));
    });
}

#[test]
fn connections_are_limited_for_each_destination() {
    inside("connections_are_limited_for_each_destination", || {
        let mut machine = Machine::new();
        let (one, two) = (machine.container(5), machine.container(6));
        let rate = Some(ConnectionRate { per_second: 1, burst: 3 });
        let list = || RuleList { rate, ..RuleList::allow() };
        machine.restrict("one", 5, list(), RuleList::allow());
        machine.restrict("two", 6, list(), RuleList::allow());
        let count = |from: &Sandbox, to: &str| (0..12).filter(|_| reaches(from, to)).count();
        let passed = count(&one, "192.0.2.2:80");
        assert!((3..=6).contains(&passed), "{passed} of 12 with a burst of 3 and one a second");
        assert!(
            reaches(&one, "192.0.2.2:443") && reaches(&one, "192.0.2.3:80"),
            "others have counts of their own"
        );
        assert!(reaches(&two, "192.0.2.2:80"), "so has the other container");
        let passed = count(&one, "[fd99::2]:80");
        assert!((3..=6).contains(&passed), "{passed} of 12 by IPv6");
        machine.firewall.unrestrict("one").expect("removable");
        machine.firewall.unrestrict("two").expect("removable");
        assert!(!succeed(&["nft", "list", "table", "inet", "loam"]).contains("rate-"));
    });
}

#[test]
fn over_a_guarded_bridge_nothing_passes_without_a_list() {
    inside("over_a_guarded_bridge_nothing_passes_without_a_list", || {
        let mut machine = Machine::new();
        let (one, two) = (machine.container(5), machine.container(6));
        let guarded = EgressRecord {
            guarded: vec![GuardedLink { name: "br7".into(), own: false }],
            ..record(5, RuleList::allow(), RuleList::allow())
        };
        machine.firewall.restrict("one", &guarded).expect("settable");
        assert!(reaches(&one, "192.0.2.2:80") && reaches(&one, "[fd99::2]:80"));
        assert!(!reaches(&two, "192.0.2.2:80") && !reaches(&two, "[fd99::2]:80"));
        // An address that is not its own.
        one.command(&["ip", "addr", "add", "10.7.0.77/24", "dev", "eth0"]);
        one.command(&["ip", "route", "replace", "default", "via", "10.7.0.1", "src", "10.7.0.77"]);
        assert!(!reaches(&one, "192.0.2.2:80"));

        machine.firewall.unrestrict("one").expect("removable");
        let ruled = succeed(&["nft", "list", "set", "inet", "loam", "ruled"]);
        assert!(ruled.contains("br7"), "a bridge stays guarded");
    });
}

#[test]
fn logging_has_the_container_s_prefix_and_its_limit() {
    inside("logging_has_the_container_s_prefix_and_its_limit", || {
        let mut machine = Machine::new();
        let list = RuleList {
            rules: vec![Rule { log: true, ..allow(tcp(80), &["192.0.2.0/24"]) }],
            log_prefix: "some-handle ".into(),
            logs_per_second: Some(7),
            log_refused: true,
            ..RuleList::reject()
        };
        machine.restrict("one", 5, list, RuleList::allow());
        let shown = succeed(&["nft", "list", "table", "inet", "loam"]);
        let rule = "meta l4proto . th dport tcp . 80 ct state invalid,new,untracked limit rate 7/second burst 7 packets log prefix \"some-handle \" comment \"to 192.0.2.0-192.0.2.255\"";
        assert_eq!(shown.matches(rule).count(), 1, "{shown}");
        let last = "\t\tct state invalid,new,untracked limit rate 7/second burst 7 packets log prefix \"some-handle \"";
        assert_eq!(shown.matches(last).count(), 2, "for both families: {shown}");
    });
}

#[test]
fn over_an_own_link_nothing_passes_from_another_s_address() {
    inside("over_an_own_link_nothing_passes_from_another_s_address", || {
        let mut machine = Machine::new();
        let (one, two) = (machine.paired(5), machine.paired(6));
        let own = |number: u8, to_others| EgressRecord {
            guarded: vec![GuardedLink { name: format!("port{number}"), own: true }],
            ..record(number, to_others, RuleList::allow())
        };
        machine.firewall.restrict("one", &own(5, RuleList::reject())).expect("settable");
        machine.firewall.restrict("two", &own(6, RuleList::allow())).expect("settable");
        assert!(reaches(&two, "192.0.2.2:80") && reaches(&two, "[fd99::2]:80"));
        assert!(!reaches(&one, "192.0.2.2:80") && !reaches(&one, "[fd99::2]:80"));
        // With the other's address it would have the other's rules.
        let count = || succeed(&["nft", "list", "table", "inet", "seen"]);
        for sandbox in [&one, &two] {
            sandbox.command(&[
                "sysctl",
                "-qw",
                "net.ipv6.conf.eth0.accept_dad=0",
                "net.ipv6.conf.eth0.dad_transmits=0",
            ]);
        }
        for (family, to, forged) in [("ip", "192.0.2.2", "10.7.0.6"), ("ip6", "fd99::2", "fd07::6")] {
            succeed(&[
                "nft",
                "add table inet seen; add chain inet seen c { type filter hook forward priority 10; }",
            ]);
            // Not the last packets of the connections before.
            let rule = format!("add rule inet seen c {family} saddr {forged} udp dport 53 counter");
            succeed(&["nft", &rule]);
            one.command(&["ip", "addr", "add", forged, "dev", "eth0"]);
            let text = format!(
                "import socket as s; k = s.socket(s.AF_INET6 if ':' in '{to}' else s.AF_INET, s.SOCK_DGRAM); \
                 k.bind(('{forged}', 0)); k.sendto(b'x', ('{to}', 53))"
            );
            one.command(&["python3", "-c", &text]);
            assert!(count().contains("packets 0"), "{family}: {}", count());
            two.command(&["python3", "-c", &text]);
            eventually("the packet of the owner is seen", || count().contains("packets 1"));
            succeed(&["nft", "delete", "table", "inet", "seen"]);
        }
        machine.firewall.unrestrict("one").expect("removable");
        machine.firewall.unrestrict("two").expect("removable");
        let left = succeed(&["nft", "list", "table", "inet", "loam"]);
        assert!(!left.contains("port5") && !left.contains("port6"), "{left}");
    });
}

#[test]
fn long_lists_are_set() {
    inside("long_lists_are_set", || {
        let mut machine = Machine::new();
        let one = machine.container(5);
        let rule = |number: u16| {
            allow(tcp(1000 + number), &[&format!("198.51.{}.{}/32", number / 250, number % 250)])
        };
        for length in [500, 5000] {
            let mut rules: Vec<Rule> = (0..length).map(rule).collect();
            rules.push(allow(tcp(80), &["192.0.2.2/32"]));
            machine.restrict("one", 5, only(rules), RuleList::reject());
            assert!(reaches(&one, "192.0.2.2:80") && !reaches(&one, "192.0.2.2:443"));
        }
    });
}

#[test]
fn what_can_t_be_set_changes_nothing_and_stands_in_nobody_s_way() {
    inside("what_can_t_be_set_changes_nothing_and_stands_in_nobody_s_way", || {
        let mut machine = Machine::new();
        let one = machine.container(5);
        let list = || only(vec![allow(tcp(80), &["192.0.2.0/24"])]);
        machine.restrict("one", 5, list(), RuleList::reject());
        // An address twice is one key twice.
        let addresses = vec!["10.7.0.7".parse().expect("valid"); 2];
        let bad = EgressRecord { addresses, ..record(5, RuleList::allow(), RuleList::allow()) };
        machine.firewall.restrict("one", &bad).expect_err("the kernel refuses it");
        machine.firewall.restrict("two", &bad).expect_err("the kernel refuses it");
        let kept = machine.firewall.restrictions("one").expect("readable");
        assert_eq!(kept, Some(record(5, list(), RuleList::reject())));
        assert_eq!(machine.firewall.restricted().expect("readable"), ["one"]);
        assert!(reaches(&one, "192.0.2.2:80") && !reaches(&one, "192.0.2.2:443"));
        succeed(&["nft", "flush", "ruleset"]);
        machine.firewall.restore().expect("restorable");
        assert!(!reaches(&one, "192.0.2.2:443"));
        machine.firewall.unrestrict("one").expect("removable");
        // A chain that a killed change left.
        machine.restrict("one", 5, RuleList::allow(), RuleList::reject());
        succeed(&["nft", "add", "chain", "inet", "loam", "others4-0123456789abcdef01234567"]);
        machine.firewall.sweep_restrictions().expect("sweepable");
        assert_eq!(chains().len(), 4, "{:?}", chains());
    });
}
