//! Containers that leave while others get their addresses.

use std::net::IpAddr;

use loam_cni::Host;
use loam_cni::firewall::Firewall;
use loam_cni::firewall::egress::RuleList;
use loam_cni::nftables::{Batch, Element, NftablesError, NftablesSocket};
use loam_testkit::lab::{inside, succeed};

use crate::{Machine, allow, chains, only, reaches, record, tcp};

/// How often two containers race for an address.
const ROUNDS: u32 = 40;

fn addresses(number: u8) -> Vec<IpAddr> {
    record(number, RuleList::allow(), RuleList::allow()).addresses
}

#[test]
fn a_container_that_leaves_reaches_nothing_until_its_rules_are_gone() {
    inside("leaving::a_container_that_leaves_reaches_nothing_until_its_rules_are_gone", || {
        let mut machine = Machine::new();
        let one = machine.container(5);
        let web = || only(vec![allow(tcp(80), &["192.0.2.0/24"])]);
        machine.firewall.close("one").expect("nothing is set");
        machine.restrict("one", 5, web(), RuleList::allow());
        assert!(reaches(&one, "192.0.2.2:80"));
        for _ in 0..2 {
            machine.firewall.close("one").expect("closable");
            assert!(!reaches(&one, "192.0.2.2:80"));
        }
        assert_eq!(chains().len(), 4, "its own lists are gone: {:?}", chains());
        // Also in a table that is made anew.
        succeed(&["nft", "flush", "ruleset"]);
        machine.firewall.restore().expect("restored");
        assert!(!reaches(&one, "192.0.2.2:80"));
        machine.firewall.unrestrict("one").expect("removable");
        assert!(reaches(&one, "192.0.2.2:80"), "over an unguarded bridge");
        assert_eq!(chains(), Vec::<String>::new());
        // Without the table there is nothing to close, and it is closed when it comes back.
        machine.restrict("one", 5, web(), RuleList::allow());
        succeed(&["nft", "flush", "ruleset"]);
        machine.firewall.close("one").expect("closable");
        machine.firewall.restore().expect("restored");
        assert!(!reaches(&one, "192.0.2.2:80"));
    });
}

#[test]
fn what_comes_late_changes_nothing_of_an_address_s_new_owner() {
    inside("leaving::what_comes_late_changes_nothing_of_an_address_s_new_owner", || {
        let mut machine = Machine::new();
        let web = || only(vec![allow(tcp(80), &["192.0.2.0/24"])]);
        let secure = || only(vec![allow(tcp(443), &["192.0.2.0/24"])]);
        let sandbox = machine.container(5);
        // The new owner has rules.
        machine.restrict("one", 5, web(), RuleList::reject());
        machine.restrict("two", 5, secure(), RuleList::reject());
        let now = record(5, secure(), RuleList::reject());
        machine.firewall.close("one").expect("it has none of its own");
        assert!(machine.firewall.is_restricted("two", &now).expect("readable"));
        succeed(&["nft", "flush", "ruleset"]);
        machine.firewall.restore().expect("restored");
        assert!(machine.firewall.is_restricted("two", &now).expect("readable"));
        machine.firewall.unrestrict("one").expect("removable");
        assert!(machine.firewall.is_restricted("two", &now).expect("readable"));
        machine.firewall.unrestrict("two").expect("removable");
        // It has none, and is rid of those of the one before.
        machine.restrict("one", 5, RuleList::reject(), RuleList::reject());
        assert!(!reaches(&sandbox, "192.0.2.2:80"));
        machine.firewall.claim("one", &addresses(5)).expect("its own");
        assert!(!reaches(&sandbox, "192.0.2.2:80"));
        machine.firewall.claim("two", &addresses(5)).expect("claimable");
        assert!(reaches(&sandbox, "192.0.2.2:80"));
        machine.firewall.unrestrict("one").expect("removable");
        assert!(reaches(&sandbox, "192.0.2.2:80"));
    });
}

#[test]
fn a_change_for_tables_that_others_have_changed_is_refused() {
    inside("leaving::a_change_for_tables_that_others_have_changed_is_refused", || {
        let mut machine = Machine::new();
        machine.restrict("one", 5, RuleList::allow(), RuleList::reject());
        let mut socket = NftablesSocket::open().expect("nf_tables");
        let IpAddr::V4(address) = addresses(5)[0] else { panic!("the first is of IPv4") };
        let key = address.octets().to_vec();
        let mut removal = Batch::new("loam");
        removal.delete_elements("to-others4", &[Element { key: key.clone(), ..Element::default() }]);
        removal.only_at(socket.generation().expect("told"));
        // Between the look and the change the address gets another owner.
        machine.restrict("two", 5, RuleList::allow(), RuleList::reject());
        assert!(matches!(socket.commit(&removal), Err(NftablesError::Changed)));
        let found = socket.element("loam", "to-others4", &key).expect("readable").expect("still there");
        assert_eq!(found.comment.as_deref(), Some("two"));
        removal.only_at(socket.generation().expect("told"));
        socket.commit(&removal).expect("nothing has changed");
    });
}

#[test]
fn an_address_that_changes_hands_this_moment_is_its_new_owner_s() {
    inside("leaving::an_address_that_changes_hands_this_moment_is_its_new_owner_s", || {
        let mut machine = Machine::new();
        let web = only(vec![allow(tcp(80), &["192.0.2.0/24"])]);
        // Others have the lists too, so that no chains come and go, for which the kernel takes its time.
        machine.restrict("three", 6, web.clone(), RuleList::reject());
        machine.restrict("four", 7, web.clone(), RuleList::allow());
        let before = record(5, web.clone(), RuleList::reject());
        let after = record(5, web, RuleList::allow());
        let mut other = Firewall::open(&Host { state_directory: "/run/firewall".into(), ..Host::default() })
            .expect("open");
        for round in 0..ROUNDS {
            machine.firewall.restrict("one", &before).expect("settable");
            std::thread::scope(|scope| {
                let leaving = scope.spawn(|| other.unrestrict("one"));
                machine.firewall.restrict("two", &after).expect("settable");
                leaving.join().expect("no panic").expect("removable");
            });
            assert!(machine.firewall.is_restricted("two", &after).expect("readable"), "round {round}");
            machine.firewall.unrestrict("two").expect("removable");
        }
    });
}
