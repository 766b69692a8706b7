//! Rules on what attached containers may reach.

use std::net::SocketAddr;

use loam_cni::Host;
use loam_cni::firewall::Firewall;
use loam_cni::firewall::egress::{EgressRecord, RuleList};
use loam_model::{
    AddressRange, EgressAction, EgressList, EgressPolicy, EgressProtocol, EgressRule, ErrorKind, Network,
    NetworkRules, PortRange, Protocol,
};
use loam_testkit::lab::{Sandbox, ask_tcp, inside, succeed};

use crate::bench::{Engine, addresses, at, id, port};
use crate::connect::{OTHER, connect};
use crate::reach::outside;

fn tcp(first: u16, last: u16) -> EgressProtocol {
    EgressProtocol::Tcp(vec![PortRange { first, last }])
}

fn only(protocol: EgressProtocol, network: &str) -> EgressPolicy {
    let networks = vec![AddressRange::from(network.parse::<ipnet::IpNet>().expect("valid"))];
    let rules = vec![EgressRule { protocol, networks, ..EgressRule::default() }];
    let reject = EgressList { otherwise: EgressAction::Reject, ..EgressList::default() };
    EgressPolicy { to_others: EgressList { rules, ..reject.clone() }, to_host: reject, guarded: true }
}

#[test]
fn an_attached_container_reaches_what_it_may_until_it_is_detached() {
    inside("rules::an_attached_container_reaches_what_it_may_until_it_is_detached", || {
        let engine = Engine::new();
        let outside = outside();
        outside.serve_tcp("[::]:7");
        outside.serve_tcp("[::]:8");
        let one = Sandbox::new();
        let failure = engine.network.restrict(&id(1), &EgressPolicy::default()).expect_err("not attached");
        assert_eq!(failure.kind(), ErrorKind::NotFound);
        let attached = engine.attach(&id(1), &one, &[]).expect("attachable");
        let reaches = |from: &Sandbox, to: &str| from.ask_tcp(to.parse().expect("valid")).is_some();
        assert!(reaches(&one, "192.0.2.2:7") && reaches(&one, "192.0.2.2:8"));
        engine.network.restrict(&id(1), &only(tcp(7, 7), "192.0.2.0/24")).expect("settable");
        assert!(reaches(&one, "192.0.2.2:7") && !reaches(&one, "192.0.2.2:8"));
        let backwards = engine.network.restrict(&id(1), &only(tcp(9, 8), "192.0.2.0/24"));
        assert_eq!(backwards.expect_err("no range").kind(), ErrorKind::Invalid);
        assert!(reaches(&one, "192.0.2.2:7"), "nothing has changed");
        // What others begin is answered.
        one.serve_tcp("[::]:9");
        assert!(ask_tcp(SocketAddr::new(addresses(&attached).0, 9)).is_some());
        // Another container on the guarded bridge has no rules, and so nothing.
        let two = Sandbox::new();
        engine.attach(&id(2), &two, &[]).expect("attachable");
        assert!(!reaches(&two, "192.0.2.2:7"));
        engine.network.restrict(&id(2), &EgressPolicy::default()).expect("settable");
        assert!(reaches(&two, "192.0.2.2:8"));

        engine.detach(&id(1), Some(&one));
        engine.detach(&id(2), Some(&two));
        let left = succeed(&["nft", "list", "table", "inet", "loam"]);
        assert!(!left.contains("goto"), "{left}");
    });
}

#[test]
fn an_address_is_given_back_by_one_that_reaches_nothing_and_taken_without_its_rules() {
    let name = "rules::an_address_is_given_back_by_one_that_reaches_nothing_and_taken_without_its_rules";
    inside(name, || {
        let engine = Engine::new();
        let outside = outside();
        outside.serve_tcp("[::]:7");
        engine.plugin(
            "probe",
            r#"if [ "$CNI_COMMAND" = DEL ]; then nft list table inet loam >"$HERE/at-del"
               else sed 's/.*"prevResult":\(.*\),"type":"probe"}/\1/'; fi"#,
        );
        let list = r#"{"cniVersion":"1.1.0","name":"open","plugins":[
            {"type":"bridge","bridge":"loam7","isDefaultGateway":true,"ipMasq":true,
             "ipam":{"type":"host-local","ranges":[[{"subnet":"10.97.0.0/30"}]]}},
            {"type":"probe"}]}"#;
        engine.configure("open.conflist", list);
        let reaches = |from: &Sandbox| from.ask_tcp("192.0.2.2:7".parse().expect("valid")).is_some();
        let (one, two) = (Sandbox::new(), Sandbox::new());
        engine.attach_to(&["open"], &id(1), &one, &[]).expect("attachable");
        let unguarded = EgressPolicy { guarded: false, ..only(tcp(7, 7), "192.0.2.0/24") };
        engine.network.restrict(&id(1), &unguarded).expect("settable");
        assert!(reaches(&one));
        engine.detach(&id(1), Some(&one));
        let at_del = engine.said("at-del");
        assert!(at_del.contains(id(1).as_str()) && !at_del.contains("dport 7"), "{at_del}");
        assert!(!succeed(&["nft", "list", "table", "inet", "loam"]).contains("goto"));

        // One that was killed between the address and its rules, as another state of that container tells.
        let host = Host { state_directory: engine.directory.path().join("run/cni"), ..Host::default() };
        let mut wall = Firewall::open(&host).expect("nf_tables");
        let left = EgressRecord {
            addresses: vec!["10.97.0.2".parse().expect("valid")],
            to_others: RuleList::reject(),
            to_host: RuleList::reject(),
            guarded: Vec::new(),
        };
        wall.restrict(id(9).as_str(), &left).expect("settable");
        let attached = engine.attach_to(&["open"], &id(2), &two, &[]).expect("attachable");
        assert_eq!(attached.interfaces[0].addresses[0].to_string(), "10.97.0.2/30");
        assert!(reaches(&two));
        wall.unrestrict(id(9).as_str()).expect("removable");
        assert!(reaches(&two));
        engine.detach(&id(2), Some(&two));

        // One whose attachment is not known any more has nothing for good.
        let lost = EgressRecord { to_others: RuleList::allow(), ..left.clone() };
        wall.restrict(id(9).as_str(), &lost).expect("settable");
        engine.attach_to(&["open"], &id(2), &two, &[]).expect("attachable");
        assert!(!wall.restricted().expect("readable").contains(&id(9).to_string()));

        // The container lives, and another state directory has the same subnet.
        let unguarded = EgressPolicy { guarded: false, ..only(tcp(7, 7), "192.0.2.0/24") };
        engine.network.restrict(&id(2), &unguarded).expect("settable");
        let elsewhere = Engine::new();
        elsewhere.configure("open.conflist", &list.replace(",\n            {\"type\":\"probe\"}", ""));
        let host = Host { state_directory: elsewhere.directory.path().join("run/cni"), ..Host::default() };
        let mut other = Firewall::open(&host).expect("nf_tables");
        let addresses = vec!["10.98.0.2".parse().expect("valid")];
        other.restrict(id(8).as_str(), &EgressRecord { addresses, ..left }).expect("settable");
        let failure = elsewhere.attach_to(&["open"], &id(3), &one, &[]).expect_err("it is another's");
        assert_eq!(failure.kind(), ErrorKind::AlreadyExists);
        let owner = format!("address `10.97.0.2` is that of container `{}`, which has rules", id(2));
        assert!(failure.chain().contains(&owner), "{}", failure.chain());
        assert!(reaches(&two), "nothing of it has changed");
        assert_eq!(elsewhere.network.attached().expect("readable"), []);
        engine.detach(&id(2), Some(&two));
    });
}

#[test]
fn every_network_of_a_container_with_rules_is_guarded() {
    inside("rules::every_network_of_a_container_with_rules_is_guarded", || {
        let engine = Engine::new();
        engine.configure("other.conflist", OTHER);
        let one = Sandbox::new();
        engine.attach_to(&["loam", "other"], &id(1), &one, &[]).expect("attachable");
        engine.network.restrict(&id(1), &only(tcp(7, 7), "192.0.2.0/24")).expect("settable");
        let ruled = || succeed(&["nft", "list", "set", "inet", "loam", "ruled"]);
        assert!(ruled().contains("\"loam0\"") && ruled().contains("\"other0\""), "{}", ruled());
        engine.detach(&id(1), Some(&one));
        // One that comes later is guarded, too.
        let two = Sandbox::new();
        engine.configure("late.conflist", &OTHER.replace("\"other", "\"late").replace("10.77", "10.78"));
        engine.attach(&id(2), &two, &[]).expect("attachable");
        engine.network.restrict(&id(2), &only(tcp(7, 7), "192.0.2.0/24")).expect("settable");
        assert!(!ruled().contains("late0"));
        connect(&engine, &two, 2, "late").expect("connectable");
        assert!(ruled().contains("\"late0\""), "{}", ruled());
        engine.detach(&id(2), Some(&two));
    });
}

#[test]
fn a_port_of_a_program_is_not_added() {
    inside("rules::a_port_of_a_program_is_not_added", || {
        let engine = Engine::new();
        let one = Sandbox::new();
        engine.attach(&id(1), &one, &[]).expect("attachable");
        let listener = std::net::TcpListener::bind("0.0.0.0:8080").expect("a free port");
        let publish = || engine.network.publish(&id(1), &one.path(), &[port(8080, 80, Protocol::Tcp)]);
        let failure = publish().expect_err("taken");
        assert_eq!(failure.kind(), ErrorKind::AlreadyExists);
        assert_eq!(failure.to_string(), "host port `8080/tcp` is taken by another program");
        drop(listener);
        publish().expect("free");
        engine.detach(&id(1), Some(&one));
    });
}

#[test]
fn ports_are_added_to_an_attached_container() {
    inside("rules::ports_are_added_to_an_attached_container", || {
        let engine = Engine::new();
        let (one, two) = (Sandbox::new(), Sandbox::new());
        let publish = |number: u8, sandbox: &Sandbox, host: u16, container: u16| {
            engine.network.publish(&id(number), &sandbox.path(), &[port(host, container, Protocol::Tcp)])
        };
        assert_eq!(publish(1, &one, 8080, 80).expect_err("not attached").kind(), ErrorKind::NotFound);
        // What reserves the first port lets go of it again with the attachment.
        let attached = engine.attach(&id(1), &one, &[port(8080, 80, Protocol::Tcp)]).expect("attachable");
        engine.attach(&id(2), &two, &[]).expect("attachable");
        one.serve_tcp("[::]:80");
        two.serve_tcp("[::]:80");
        publish(1, &one, 8081, 80).expect("free");
        publish(2, &two, 8082, 80).expect("free");
        for host in ["127.0.0.1:8080", "127.0.0.1:8081", "127.0.0.1:8082"] {
            assert!(ask_tcp(at(host)).is_some(), "{host}");
        }
        let taken = publish(2, &two, 8081, 80).expect_err("the other's");
        assert_eq!(taken.kind(), ErrorKind::AlreadyExists);
        assert!(taken.to_string().starts_with("host port `8081/tcp` is taken by container"), "{taken}");
        assert!(ask_tcp(at("127.0.0.1:8082")).is_some(), "what it had it has");
        drop(attached);
        engine.detach(&id(1), Some(&one));
        engine.detach(&id(2), Some(&two));
        for host in ["127.0.0.1:8080", "127.0.0.1:8081", "127.0.0.1:8082"] {
            assert!(ask_tcp(at(host)).is_none(), "{host}");
        }
    });
}
