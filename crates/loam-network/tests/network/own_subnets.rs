//! Networks with a subnet and a bridge for each container.

mod at_once;
mod killed;
mod roots;

use loam_model::{
    Attachment, DetachRequest, EgressPolicy, ErrorKind, Failure, Network, NetworkChoice, NetworkName,
    NetworkRules, NetworkSource, NetworkSpec, Protocol, SubnetSpec,
};
use loam_network::CniNetwork;
use loam_testkit::lab::{Sandbox, ask_tcp, inside, succeed};

use crate::bench::{Engine, at, id, port};
use crate::reach::outside;

/// An engine with the network `garden`, whose pool has room for two containers.
fn engine() -> Engine {
    engine_with("10.254.0.0/29")
}

fn engine_with(pool: &str) -> Engine {
    let engine = Engine::new();
    let subnet = SubnetSpec { subnet: pool.parse().expect("valid"), gateway: None, range: None };
    let spec = NetworkSpec { subnets: vec![subnet], subnet_per_container: true, ..NetworkSpec::default() };
    let made = engine.network.create_network(&NetworkSource::Spec(garden(), Box::new(spec))).expect("made");
    assert_eq!((made.interface, made.subnets.len()), (None, 1));
    engine
}

fn garden() -> NetworkName {
    "garden".parse().expect("valid")
}

fn choice(wish: &str) -> NetworkChoice {
    let mut choice = NetworkChoice::from(garden());
    choice.options.subnet =
        Some(wish).filter(|wish| !wish.is_empty()).map(|wish| wish.parse().expect("valid"));
    choice
}

fn attach(engine: &Engine, number: u8, sandbox: &Sandbox, wish: &str) -> Result<Attachment, Failure> {
    engine.attach_as(&[choice(wish)], &id(number), sandbox, &[])
}

fn address(engine: &Engine, number: u8, sandbox: &Sandbox, wish: &str) -> String {
    let made = attach(engine, number, sandbox, wish).expect("attachable");
    made.interfaces[0].addresses[0].to_string()
}

fn refused(engine: &Engine, number: u8, sandbox: &Sandbox, wish: &str) -> (ErrorKind, String) {
    let failure = attach(engine, number, sandbox, wish).expect_err("refused");
    assert!(!engine.network.attached().expect("readable").contains(&id(number)), "nothing is kept");
    (failure.kind(), failure.to_string())
}

/// The bridges that there are, in order.
fn bridges() -> Vec<String> {
    let said = succeed(&["ip", "-o", "link", "show", "type", "bridge"]);
    let mut names: Vec<String> =
        said.lines().filter_map(|line| line.split(": ").nth(1)).map(str::to_owned).collect();
    names.sort();
    names
}

fn reaches(from: &Sandbox, to: &str) -> bool {
    from.ask_tcp(to.parse().expect("valid")).is_some()
}

#[test]
fn each_container_has_a_bridge_which_goes_with_it() {
    inside("own_subnets::each_container_has_a_bridge_which_goes_with_it", || {
        let engine = engine();
        let outside = outside();
        outside.serve_tcp("0.0.0.0:7");
        let (one, two, three) = (Sandbox::new(), Sandbox::new(), Sandbox::new());
        assert_eq!(address(&engine, 1, &one, ""), "10.254.0.2/30");
        assert_eq!(address(&engine, 2, &two, ""), "10.254.0.6/30");
        assert_eq!(bridges(), ["loam-0afe0000", "loam-0afe0004"]);
        let exhausted = "insufficient subnets remaining in the pool".to_owned();
        assert_eq!(refused(&engine, 3, &three, ""), (ErrorKind::Exhausted, exhausted));
        one.serve_tcp("0.0.0.0:80");
        assert_eq!(one.ask_tcp(at("192.0.2.2:7")), "192.0.2.1".parse().ok(), "masqueraded");
        assert!(reaches(&two, "10.254.0.2:80") && ask_tcp(at("10.254.0.2:80")).is_some());
        for (number, sandbox) in [(1, &one), (2, &two)] {
            let request = DetachRequest { container: &id(number), namespace: Some(sandbox.path()) };
            engine.network.check(&request).expect("as it was made");
        }
        engine.network.collect(None).expect("nothing to collect");
        engine.network.status(&garden()).expect("well");
        assert!(reaches(&two, "10.254.0.2:80"), "what is used is not collected");

        // What the guard of a bridge needs goes with it, too.
        engine
            .network
            .restrict(&id(1), &EgressPolicy { guarded: true, ..EgressPolicy::default() })
            .expect("settable");
        assert!(succeed(&["nft", "list", "ruleset"]).contains("\"loam-0afe0000\""));
        engine.detach(&id(1), Some(&one));
        assert_eq!(bridges(), ["loam-0afe0004"]);
        let rules = succeed(&["nft", "list", "ruleset"]);
        assert!(!rules.contains("loam-0afe0000") && !rules.contains("10.254.0.0/30"), "{rules}");
        let failure = engine.network.remove_network(&garden()).expect_err("in use");
        assert_eq!(failure.kind(), ErrorKind::Conflict);
        assert_eq!(address(&engine, 3, &three, ""), "10.254.0.2/30", "what is free is given again");
        // A namespace that is gone takes nothing along that stays.
        three.end();
        engine.detach(&id(3), None);
        engine.detach(&id(2), Some(&two));
        assert_eq!(bridges(), Vec::<String>::new());
        engine.network.remove_network(&garden()).expect("free");
        let rules = succeed(&["nft", "list", "ruleset"]);
        assert!(!rules.contains("10.254.0"), "{rules}");
        engine.assert_nothing_left("after all");
    });
}

#[test]
fn a_subnet_that_is_asked_for_is_shared_with_others_who_ask_for_it() {
    inside("own_subnets::a_subnet_that_is_asked_for_is_shared_with_others_who_ask_for_it", || {
        let engine = engine();
        let (one, two, three) = (Sandbox::new(), Sandbox::new(), Sandbox::new());
        assert_eq!(address(&engine, 1, &one, "10.9.0.0/24"), "10.9.0.2/24");
        assert_eq!(address(&engine, 2, &two, "10.9.0.77/24"), "10.9.0.77/24");
        assert_eq!(bridges(), ["loam-0a090000"]);
        one.serve_tcp("0.0.0.0:80");
        assert_eq!(
            two.ask_tcp(at("10.9.0.2:80")),
            "10.9.0.77".parse().ok(),
            "by the bridge, with nothing rewritten"
        );
        let refuse = |wish: &str| refused(&engine, 3, &three, wish);
        for (wish, kind, said) in [
            ("10.9.0.2/24", ErrorKind::AlreadyExists, "the requested IP is already allocated"),
            ("10.9.0.1/24", ErrorKind::Invalid, "a container IP must not equal the gateway IP"),
            ("10.9.0.255/24", ErrorKind::Invalid, "a container IP must not equal the broadcast IP"),
            (
                "10.9.0.4",
                ErrorKind::AlreadyExists,
                "the requested subnet (10.9.0.4/30) overlaps an existing subnet (10.9.0.0/24)",
            ),
            (
                "10.254.0.4",
                ErrorKind::AlreadyExists,
                "the requested subnet (10.254.0.4/30) overlaps the dynamic allocation range (10.254.0.0/29)",
            ),
        ] {
            assert_eq!(refuse(wish), (kind, said.to_owned()), "{wish}");
        }
        assert_eq!(address(&engine, 3, &three, "10.9.0.0/24"), "10.9.0.3/24");
        engine.detach(&id(1), Some(&one));
        engine.detach(&id(3), Some(&three));
        assert_eq!(bridges(), ["loam-0a090000"], "somebody is there");
        two.serve_tcp("0.0.0.0:80");
        assert!(ask_tcp(at("10.9.0.77:80")).is_some());
        engine.detach(&id(2), Some(&two));
        assert_eq!(bridges(), Vec::<String>::new());
        assert_eq!(address(&engine, 1, &one, "10.9.0.0/16"), "10.9.0.2/16", "it overlaps nobody's any more");
        engine.detach(&id(1), Some(&one));
        engine.assert_nothing_left("after all");
    });
}

#[test]
fn subnets_stay_taken_when_the_engine_comes_again() {
    inside("own_subnets::subnets_stay_taken_when_the_engine_comes_again", || {
        let mut engine = engine();
        let (one, two, three) = (Sandbox::new(), Sandbox::new(), Sandbox::new());
        address(&engine, 1, &one, "");
        address(&engine, 2, &two, "10.9.0.5/24");
        engine.network = CniNetwork::new(Engine::config(engine.directory.path()));
        // What describes the kernel is empty after a restart of the machine.
        std::fs::remove_dir_all(engine.directory.path().join("run")).expect("there");
        assert_eq!(refused(&engine, 3, &three, "10.9.0.5/24").1, "the requested IP is already allocated");
        assert_eq!(address(&engine, 3, &three, ""), "10.254.0.6/30");
        for (number, sandbox) in [(1, &one), (2, &two), (3, &three)] {
            engine.detach(&id(number), Some(sandbox));
        }
        assert_eq!(bridges(), Vec::<String>::new());
    });
}

#[test]
fn other_networks_keep_their_subnets_and_give_none() {
    inside("own_subnets::other_networks_keep_their_subnets_and_give_none", || {
        let engine = engine();
        let (one, two) = (Sandbox::new(), Sandbox::new());
        engine.attach(&id(1), &one, &[]).expect("attachable");
        let said = "the requested subnet (10.90.0.0/24) overlaps an existing subnet (10.90.0.0/16)";
        assert_eq!(refused(&engine, 2, &two, "10.90.0.0/24").1, said);
        succeed(&["ip", "link", "add", "lan", "type", "bridge"]);
        succeed(&["ip", "addr", "add", "10.91.0.7/24", "dev", "lan"]);
        succeed(&["ip", "link", "set", "lan", "up"]);
        let failure = refused(&engine, 2, &two, "10.91.0.0/24").1;
        assert!(failure.contains("overlaps an existing subnet (10.91.0."), "the host's own: {failure}");
        succeed(&["ip", "link", "del", "lan"]);
        let mut wish = choice("10.9.0.0/24");
        wish.name = NetworkName::default_network();
        let failure = engine.attach_as(&[wish], &id(2), &two, &[]).expect_err("one subnet for all");
        assert_eq!(failure.to_string(), "network `loam` can't give a subnet that is asked for");
        let mut wish = choice("");
        wish.options.addresses = vec!["10.254.0.3".parse().expect("valid")];
        let failure = engine.attach_as(&[wish], &id(2), &two, &[]).expect_err("by its subnet only");
        assert_eq!(failure.to_string(), "network `garden` can't give an address that is asked for");
        // A container on both: with the default route by the bridge of its own, and a published port there.
        let choices = [choice(""), NetworkChoice::from(NetworkName::default_network())];
        let made =
            engine.attach_as(&choices, &id(2), &two, &[port(8080, 80, Protocol::Tcp)]).expect("attachable");
        assert_eq!(made.interfaces.len(), 2);
        assert!(two.command(&["ip", "route", "show", "default"]).contains("via 10.254.0.1 dev eth0"));
        two.serve_tcp("0.0.0.0:80");
        assert!(ask_tcp(at("127.0.0.1:8080")).is_some());
        engine.detach(&id(2), Some(&two));
        engine.detach(&id(1), Some(&one));
        assert_eq!(bridges(), ["loam0"]);
        engine.assert_nothing_left("after all");
    });
}
