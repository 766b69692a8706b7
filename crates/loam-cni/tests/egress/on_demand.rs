//! The chains that look at what containers send are there once a container has rules, and not before.

use loam_cni::firewall::{Firewall, NetworkRecord};
use loam_cni::{Host, firewall::egress::RuleList};
use loam_testkit::lab::{inside, succeed};

use super::{Machine, reaches, record};

/// A firewall with another directory of records.
fn other() -> Firewall {
    Firewall::open(&Host { state_directory: "/run/other".into(), ..Host::default() }).expect("nf_tables")
}

fn network() -> NetworkRecord {
    NetworkRecord { sources: vec!["10.7.0.0/24".parse().expect("valid")] }
}

fn hooked() -> Vec<bool> {
    let table = succeed(&["nft", "list", "table", "inet", "loam"]);
    ["forward", "egress", "to-host", "senders"]
        .map(|name| table.contains(&format!("chain {name} {{")))
        .to_vec()
}

#[test]
fn no_packet_passes_them_as_long_as_nobody_has_rules() {
    inside("on_demand::no_packet_passes_them_as_long_as_nobody_has_rules", || {
        let mut machine = Machine::new();
        let one = machine.container(5);
        machine.firewall.masquerade("seven", &network()).expect("settable");
        assert!(machine.firewall.is_masqueraded(&network()).expect("readable"), "it is whole without");
        assert_eq!(hooked(), [true, false, false, false]);
        assert!(reaches(&one, "192.0.2.2:80"));
        let nothing = record(5, RuleList::reject(), RuleList::reject());
        machine.firewall.restrict("one", &nothing).expect("settable");
        assert_eq!(hooked(), [true; 4]);
        assert!(!reaches(&one, "192.0.2.2:80"));
        // One of them alone is missing.
        succeed(&["nft", "delete", "chain", "inet", "loam", "egress"]);
        assert!(!machine.firewall.is_restricted("one", &nothing).expect("readable"));
        assert!(machine.firewall.is_broken().expect("readable"));
        machine.firewall.restore().expect("restored");
        assert!(!reaches(&one, "192.0.2.2:80"));
    });
}

#[test]
fn another_state_directory_leaves_them_and_mends_them() {
    inside("on_demand::another_state_directory_leaves_them_and_mends_them", || {
        let mut machine = Machine::new();
        let one = machine.container(5);
        machine.restrict("one", 5, RuleList::reject(), RuleList::reject());
        let mut other = other();
        other.masquerade("seven", &network()).expect("settable");
        assert_eq!(hooked(), [true; 4]);
        assert!(!reaches(&one, "192.0.2.2:80"));
        succeed(&["nft", "flush", "chain", "inet", "loam", "to-host"]);
        assert!(other.is_broken().expect("readable"), "they are there by halves");
        other.restore().expect("restored");
        assert!(!machine.firewall.is_broken().expect("readable"));
        // After a flush they come with who needs them.
        succeed(&["nft", "flush", "ruleset"]);
        other.restore().expect("restored");
        assert_eq!(hooked(), [true, false, false, false]);
        assert!(reaches(&one, "192.0.2.2:80") && machine.firewall.is_broken().expect("readable"));
        machine.firewall.restore().expect("restored");
        assert_eq!(hooked(), [true; 4]);
        assert!(!reaches(&one, "192.0.2.2:80") && !other.is_broken().expect("readable"));
    });
}
