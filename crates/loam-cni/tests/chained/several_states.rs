//! Several state directories that share the tables of one host.

use std::path::Path;
use std::time::{Duration, Instant};

use loam_cni::Host;
use loam_cni::firewall::{Firewall, Mapping, NetworkRecord, PortsRecord, TransportProtocol, Watch};
use loam_cni::protocol::Owner;
use loam_testkit::lab::{inside, succeed};
use serde_json::json;

use crate::machine::Machine;

fn host(name: &str) -> Host {
    Host { state_directory: Path::new("/run").join(name), ..Host::default() }
}

fn record(port: u16) -> PortsRecord {
    let mapping = Mapping {
        host_address: None,
        host_port: port,
        protocol: TransportProtocol::Tcp,
        target: "10.7.0.2".parse().expect("valid"),
        target_port: 80,
    };
    PortsRecord { network: "net".into(), mappings: vec![mapping], ..PortsRecord::default() }
}

const OWNER: Owner<'static> = Owner { container: "one", interface: "eth0" };

/// The firewalls of two state directories, each with a port.
fn two() -> [Firewall; 2] {
    [("here", 8080), ("there", 8081)].map(|(name, port)| {
        let mut firewall = Firewall::open(&host(name)).expect("nf_tables");
        firewall.publish(&OWNER, &record(port)).expect("published");
        firewall
    })
}

fn has(firewall: &mut Firewall, port: u16) -> bool {
    firewall.is_published(&OWNER, &record(port).mappings).expect("readable")
}

fn table() -> String {
    succeed(&["nft", "list", "table", "inet", "loam"])
}

#[test]
fn what_one_restores_takes_nothing_from_the_other() {
    inside("several_states::what_one_restores_takes_nothing_from_the_other", || {
        let [mut here, mut there] = two();
        assert!(has(&mut here, 8080) && has(&mut there, 8081));
        here.restore().expect("restored");
        assert!(has(&mut here, 8080) && has(&mut there, 8081));
        // A part of the table is gone.
        succeed(&["nft", "flush", "chain", "inet", "loam", "postrouting"]);
        here.restore().expect("restored");
        assert!(has(&mut here, 8080) && has(&mut there, 8081));
    });
}

#[test]
fn what_one_has_restored_is_not_whole_for_the_other_which_adds_its_own() {
    inside("several_states::what_one_has_restored_is_not_whole_for_the_other_which_adds_its_own", || {
        let [mut here, mut there] = two();
        succeed(&["nft", "flush", "ruleset"]);
        here.restore().expect("restored");
        assert!(has(&mut here, 8080) && !has(&mut there, 8081));
        assert!(there.is_broken().expect("readable") && !here.is_broken().expect("readable"));
        // Any change of its own puts all of it back.
        let network = NetworkRecord { sources: vec!["10.7.0.0/24".parse().expect("valid")] };
        there.masquerade("net", &network).expect("settable");
        assert!(has(&mut here, 8080) && has(&mut there, 8081), "{}", table());
    });
}

#[test]
fn the_watch_of_each_restores_its_own() {
    inside("several_states::the_watch_of_each_restores_its_own", || {
        let [mut here, mut there] = two();
        let mut watch = Watch::begin(&host("there")).expect("it begins");
        succeed(&["nft", "flush", "ruleset"]);
        // Faster than the watch of the other.
        here.restore().expect("restored");
        assert!(watch.restored(Some(Duration::from_secs(5))).expect("it watches"));
        assert!(has(&mut here, 8080) && has(&mut there, 8081));
    });
}

#[test]
fn the_table_of_bridges_is_shared_too() {
    inside("several_states::the_table_of_bridges_is_shared_too", || {
        let machine = Machine::new(None);
        let mut bridge = machine.bridge();
        bridge["macspoofchk"] = json!(true);
        machine.call("ADD", "bridge", &bridge).expect("attachable");
        machine.host.run(|| {
            // Another state directory restores what was flushed: as if it had a container with the same wish.
            succeed(&["cp", "-r", "/run/loam/cni", "/run/there"]);
            let mut here = Firewall::open(&Host::default()).expect("nf_tables");
            let mut there = Firewall::open(&host("there")).expect("nf_tables");
            machine.host.command(&["nft", "flush", "ruleset"]);
            there.restore().expect("restored");
            assert!(!there.is_broken().expect("readable") && here.is_broken().expect("readable"));
            here.restore().expect("restored");
            assert!(!there.is_broken().expect("readable") && !here.is_broken().expect("readable"));
        });
    });
}

#[test]
fn a_table_that_is_defined_otherwise_is_made_anew() {
    inside("several_states::a_table_that_is_defined_otherwise_is_made_anew", || {
        for other in [
            "set inet loam sources4 { type ipv6_addr; }",
            "chain inet loam prerouting { type filter hook prerouting priority 0; }",
            "chain inet loam published { type filter hook prerouting priority 0; }",
            "map inet loam ports4 { type ipv4_addr : verdict; }",
        ] {
            let [mut here, _] = two();
            succeed(&["nft", "flush", "ruleset"]);
            succeed(&["nft", "add", "table", "inet", "loam"]);
            succeed(&["nft", &format!("add {other}")]);
            here.restore().expect(other);
            assert!(has(&mut here, 8080), "{other}: {}", table());
        }
    });
}

#[test]
fn a_restore_brings_back_no_port_of_one_that_goes_meanwhile() {
    inside("several_states::a_restore_brings_back_no_port_of_one_that_goes_meanwhile", || {
        let [mut here, _] = two();
        let mut other = Firewall::open(&host("here")).expect("nf_tables");
        // Enough of others that there is time.
        for port in 9000..9060 {
            let container = format!("other{port}");
            let owner = Owner { container: &container, interface: "eth0" };
            here.publish(&owner, &record(port)).expect("published");
        }
        let leaving = Owner { container: "leaving", interface: "eth0" };
        for round in 0..40 {
            here.publish(&leaving, &record(8082)).expect("published");
            succeed(&["nft", "flush", "ruleset"]);
            std::thread::scope(|scope| {
                let restoring = scope.spawn(|| here.restore());
                let begun = Instant::now();
                while begun.elapsed() < Duration::from_micros(500) * round {
                    std::hint::spin_loop();
                }
                other.withdraw(&leaving, &[]).expect("withdrawn");
                restoring.join().expect("no panic").expect("restored");
            });
            let owner = here.owner_of(&record(8082).mappings[0]).expect("readable");
            assert_eq!(owner, None, "round {round}");
        }
    });
}
