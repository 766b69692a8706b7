//! Networks that are made and removed.

use loam_model::{
    EgressPolicy, ErrorKind, Failure, Network, NetworkDescription, NetworkName, NetworkRules, NetworkSource,
    NetworkSpec, Protocol, SubnetSpec,
};
use loam_testkit::lab::{Sandbox, ask_tcp, eventually, inside, succeed};

use crate::bench::{Engine, id, port};

fn make(engine: &Engine, name: &str, spec: NetworkSpec) -> Result<NetworkDescription, Failure> {
    let name: NetworkName = name.parse().expect("valid");
    engine.network.create_network(&NetworkSource::Spec(name, Box::new(spec)))
}

fn with_subnet(text: &str) -> NetworkSpec {
    let subnet = SubnetSpec { subnet: text.parse().expect("valid"), gateway: None, range: None };
    NetworkSpec { subnets: vec![subnet], ..NetworkSpec::default() }
}

#[test]
fn a_network_is_made_used_and_removed_without_a_trace() {
    inside("making::a_network_is_made_used_and_removed_without_a_trace", || {
        let engine = Engine::new();
        let made = make(&engine, "blue", NetworkSpec::default()).expect("made");
        let bridge = made.interface.clone().expect("it has a bridge");
        assert_eq!(made.subnets[0].to_string(), "10.99.0.0/24");
        let (one, two) = (Sandbox::new(), Sandbox::new());
        let attachment =
            engine.attach_to(&["blue"], &id(1), &one, &[port(8080, 80, Protocol::Tcp)]).expect("attachable");
        assert_eq!(attachment.interfaces[0].addresses[0].to_string(), "10.99.0.2/24");
        // The default network, made later, takes what is left.
        engine.attach(&id(2), &two, &[]).expect("attachable");
        let names: Vec<_> = engine.network.networks().expect("readable").networks;
        let interfaces: Vec<_> = names.iter().filter_map(|network| network.interface.clone()).collect();
        assert!(interfaces.len() == 2 && interfaces[0] != interfaces[1], "{interfaces:?}");
        let blue: NetworkName = "blue".parse().expect("valid");
        let failure = engine.network.remove_network(&blue).expect_err("in use");
        assert_eq!(failure.kind(), ErrorKind::Conflict);
        assert!(failure.to_string().contains(id(1).short()), "{failure}");
        engine.detach(&id(1), Some(&one));
        assert!(succeed(&["nft", "list", "ruleset"]).contains("10.99.0.0"));
        engine.network.remove_network(&blue).expect("free");
        assert!(!succeed(&["nft", "list", "ruleset"]).contains("10.99.0.0"), "no masquerade is left");
        eventually("the bridge is gone", || !succeed(&["ip", "-o", "link"]).contains(&format!("{bridge}:")));
        let root = engine.directory.path();
        for left in ["root/networks/blue.conflist", "root/network/addresses/blue", "run/cni/networks/blue"] {
            assert!(!root.join(left).exists(), "{left}");
        }
        assert_eq!(engine.network.remove_network(&blue).expect_err("gone").kind(), ErrorKind::NotFound);
        let default = NetworkName::default_network();
        assert_eq!(engine.network.remove_network(&default).expect_err("stays").kind(), ErrorKind::Conflict);
        engine.detach(&id(2), Some(&two));
    });
}

/// As when another state directory has started a network of its own on a link that was free when this one was made.
#[test]
fn a_bridge_that_another_network_has_taken_stays_as_it_is() {
    inside("making::a_bridge_that_another_network_has_taken_stays_as_it_is", || {
        let engine = Engine::new();
        let spec = NetworkSpec { subnets: Vec::new(), ..NetworkSpec::default() };
        let bridge = make(&engine, "blue", spec).expect("made").interface.expect("it has a bridge");
        succeed(&["ip", "link", "add", &bridge, "up", "type", "bridge"]);
        succeed(&["ip", "address", "add", "10.200.0.1/24", "dev", &bridge]);
        let addresses = || succeed(&["ip", "-o", "address", "show", "dev", &bridge, "scope", "global"]);
        let before = addresses();
        let sandbox = Sandbox::new();
        let failure = engine.attach_to(&["blue"], &id(1), &sandbox, &[]).expect_err("the link is another's");
        assert!(failure.chain().contains("10.200.0.1/24"), "{}", failure.chain());
        assert_eq!(addresses(), before);
        engine.detach(&id(1), Some(&sandbox));
        engine.network.remove_network(&"blue".parse().expect("valid")).expect("free");
        assert_eq!(addresses(), before, "the bridge is not ours to remove");
    });
}

#[test]
fn what_others_have_is_refused_by_name() {
    inside("making::what_others_have_is_refused_by_name", || {
        let engine = Engine::new();
        let (driver, parent) = (Some("macvlan".to_owned()), Some("nowhere0".to_owned()));
        let failure = make(&engine, "lent", NetworkSpec { driver, parent, ..NetworkSpec::default() });
        assert!(failure.expect_err("no such link").to_string().contains("no interface `nowhere0`"));
        succeed(&["ip", "link", "add", "outer", "type", "bridge"]);
        succeed(&["ip", "addr", "add", "192.0.2.1/24", "dev", "outer"]);
        succeed(&["ip", "link", "set", "outer", "up"]);
        make(&engine, "a", with_subnet("10.1.0.0/16")).expect("free");
        let bridge = |name: &str| NetworkSpec {
            options: [("bridge".to_owned(), name.to_owned())].into(),
            ..NetworkSpec::default()
        };
        make(&engine, "b", bridge("mine0")).expect("free");
        for (name, spec, said) in [
            ("a", NetworkSpec::default(), "network `a` exists already"),
            ("loam", NetworkSpec::default(), "network `loam` exists already"),
            (
                "host",
                NetworkSpec::default(),
                "`host` can't be the name of a network: it means something else",
            ),
            (
                "c",
                with_subnet("10.1.2.0/24"),
                "subnet `10.1.2.0/24` overlaps with `10.1.0.0/16` of network `a`",
            ),
            (
                "c",
                with_subnet("192.0.0.0/16"),
                "subnet `192.0.0.0/16` overlaps with `192.0.2.0/24`, which the host has a route to",
            ),
            ("c", bridge("mine0"), "the interface `mine0` belongs to network `b`"),
            ("c", bridge("outer"), "the interface `outer` belongs to this host"),
        ] {
            assert_eq!(make(&engine, name, spec).expect_err(said).to_string(), said);
        }
        let text = r#"{"cniVersion":"1.0.0","name":"d","plugins":[{"type":"bridge","bridge":"mine0"}]}"#;
        let failure = engine.network.create_network(&NetworkSource::Configuration(text.to_owned()));
        assert_eq!(failure.expect_err("taken").to_string(), "the interface `mine0` belongs to network `b`");
        let driver = Some("no-such-driver".to_owned());
        let failure =
            make(&engine, "c", NetworkSpec { driver, ..NetworkSpec::default() }).expect_err("unknown");
        assert!(failure.chain().contains("failed to find plugin `no-such-driver`"), "{}", failure.chain());
        assert_eq!(engine.network.networks().expect("readable").networks.len(), 3);
    });
}

#[test]
fn an_internal_network_leads_nowhere_and_an_isolated_one_not_even_to_each_other() {
    let name = "making::an_internal_network_leads_nowhere_and_an_isolated_one_not_even_to_each_other";
    inside(name, || {
        let engine = Engine::new();
        make(&engine, "inner", NetworkSpec { internal: true, ..NetworkSpec::default() }).expect("made");
        make(&engine, "apart", NetworkSpec { isolate: true, ..NetworkSpec::default() }).expect("made");
        let sandboxes: Vec<Sandbox> = (0..4).map(|_| Sandbox::new()).collect();
        let mut addresses = Vec::new();
        for (number, (sandbox, network)) in
            (1..).zip(sandboxes.iter().zip(["inner", "inner", "apart", "apart"]))
        {
            let made = engine.attach_to(&[network], &id(number), sandbox, &[]).expect("attachable");
            sandbox.serve_tcp("0.0.0.0:80");
            assert_eq!(made.interfaces[0].gateways.is_empty(), network == "inner");
            addresses.push(std::net::SocketAddr::new(made.interfaces[0].addresses[0].addr(), 80));
        }
        assert!(sandboxes[0].ask_tcp(addresses[1]).is_some(), "they reach each other");
        assert_eq!(sandboxes[0].command(&["ip", "route", "show", "default"]), "");
        assert!(loam_testkit::lab::ask_tcp(addresses[0]).is_none(), "this host is not on it");
        assert!(loam_testkit::lab::ask_tcp(addresses[2]).is_some(), "this host is on the other");
        assert!(sandboxes[2].ask_tcp(addresses[3]).is_none(), "they are kept from each other");
        (1..=4).for_each(|number| engine.detach(&id(number), None));
    });
}

/// A bridge with everything that leaves something on the host.
fn heavy(name: &str, bridge: &str, subnet: &str) -> String {
    format!(
        r#"{{"cniVersion":"1.1.0","name":"{name}","plugins":[
            {{"type":"bridge","bridge":"{bridge}","isGateway":true,"macspoofchk":true,
              "ipam":{{"type":"host-local","ranges":[[{{"subnet":"{subnet}"}}]]}}}},
            {{"type":"portmap","capabilities":{{"portMappings":true}}}},
            {{"type":"firewall","backend":"nftables","ingressPolicy":"same-bridge"}}]}}"#
    )
}

#[test]
fn of_a_removed_network_nothing_stays_and_of_others_everything() {
    inside("making::of_a_removed_network_nothing_stays_and_of_others_everything", || {
        let engine = Engine::new();
        engine.configure("a.conflist", &heavy("a", "mine0", "10.77.0.0/24"));
        engine.configure("b.conflist", &heavy("b", "other0", "10.78.0.0/24"));
        let (one, two) = (Sandbox::new(), Sandbox::new());
        for (number, network, sandbox) in [(1, "a", &one), (2, "b", &two)] {
            let ports = [port(8080 + u16::from(number), 80, Protocol::Tcp)];
            engine.attach_to(&[network], &id(number), sandbox, &ports).expect("attachable");
            engine
                .network
                .restrict(&id(number), &EgressPolicy { guarded: true, ..EgressPolicy::default() })
                .expect("settable");
        }
        // What the gateway of VLAN 7 is, which not every kernel has: `printf mine0.7 | sha256sum`.
        for (port, gateway) in [("gate-549e6da488", "mine0.7"), ("gate-0000000000", "mine0.8")] {
            succeed(&["ip", "link", "add", port, "type", "veth", "peer", "name", gateway]);
        }
        succeed(&["ip", "link", "set", "gate-549e6da488", "master", "mine0"]);
        // What a container that nobody knows any more had of its own.
        for set in ["own { \"vethdead0000000\" }", "senders4 { \"vethdead0000000\" . 10.99.9.9 }"] {
            succeed(&["nft", &format!("add element inet loam {set}")]);
        }
        let rules = || succeed(&["nft", "list", "ruleset"]);
        // Bridges of ports, guarded, within (twice), ruled.
        assert_eq!(
            (rules().matches("mine0").count(), rules().matches("other0").count()),
            (5, 5),
            "{}",
            rules()
        );
        engine.detach(&id(1), Some(&one));
        engine.network.remove_network(&"a".parse().expect("valid")).expect("free");
        let left = rules();
        for gone in ["mine0", "10.77.0", "vethdead", "10.99.9.9"] {
            assert!(!left.contains(gone), "{gone}: {left}");
        }
        assert_eq!(left.matches("other0").count(), 5, "{left}");
        eventually("its links are gone", || {
            let links = succeed(&["ip", "-o", "link"]);
            !["mine0:", "mine0.7", "gate-549"].iter().any(|link| links.contains(link))
        });
        assert!(succeed(&["ip", "-o", "link"]).contains("mine0.8"), "that was not ours");
        two.serve_tcp("0.0.0.0:80");
        assert!(ask_tcp("10.78.0.2:80".parse().expect("valid")).is_some(), "the other network works");
        engine.detach(&id(2), Some(&two));
    });
}
