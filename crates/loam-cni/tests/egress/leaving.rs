//! Containers that leave while others get their addresses.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use loam_cni::Host;
use loam_cni::firewall::egress::{EgressRecord, RuleList};
use loam_cni::firewall::{Firewall, FirewallError};
use loam_cni::nftables::{Batch, Element, NftablesError, NftablesSocket};
use loam_testkit::lab::{inside, succeed};

use crate::{Machine, allow, chains, only, reaches, record, tcp};

/// Where the machine's records are.
const RECORDS: &str = "/run/firewall/egress";

/// How often two containers race for an address.
const ROUNDS: u32 = 40;
/// By how much later than before one goes, while the table is restored.
const STEP: Duration = Duration::from_micros(500);

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

fn web() -> RuleList {
    only(vec![allow(tcp(80), &["192.0.2.0/24"])])
}

/// A firewall with another directory of records.
fn firewall(directory: &str) -> Firewall {
    Firewall::open(&Host { state_directory: directory.into(), ..Host::default() }).expect("nf_tables")
}

#[test]
fn a_closing_that_was_killed_after_its_record_is_done_again() {
    inside("leaving::a_closing_that_was_killed_after_its_record_is_done_again", || {
        let mut machine = Machine::new();
        let one = machine.container(5);
        machine.restrict("one", 5, web(), RuleList::allow());
        // As it is when only the record was written.
        let closed = record(5, RuleList::reject(), RuleList::reject());
        let text = serde_json::to_vec(&closed).expect("JSON");
        std::fs::write(format!("{RECORDS}/one"), text).expect("writable");
        assert!(reaches(&one, "192.0.2.2:80"));
        machine.firewall.close("one").expect("closable");
        assert!(!reaches(&one, "192.0.2.2:80"));
        assert_eq!(chains().len(), 4, "the lists of before are gone: {:?}", chains());
        machine.firewall.unrestrict("one").expect("removable");
        assert_eq!(chains(), Vec::<String>::new());
    });
}

#[test]
fn one_that_stays_reaches_nothing_by_addresses_that_it_gives_back() {
    inside("leaving::one_that_stays_reaches_nothing_by_addresses_that_it_gives_back", || {
        let mut machine = Machine::new();
        let (five, six) = (machine.container(5), machine.container(6));
        // Both are of one container, each on a network.
        let both = [addresses(5), addresses(6)].concat();
        let whole = EgressRecord { addresses: both, ..record(5, web(), RuleList::reject()) };
        machine.firewall.restrict("one", &whole).expect("settable");
        machine.firewall.close_some("two", &addresses(6)).expect("it has no rules");
        for _ in 0..2 {
            machine.firewall.close_some("one", &addresses(6)).expect("closable");
            assert!(reaches(&five, "192.0.2.2:80") && !reaches(&six, "192.0.2.2:80"));
        }
        assert_eq!(machine.firewall.restricted().expect("readable"), ["one"]);
        let left = record(5, web(), RuleList::reject());
        assert_eq!(machine.firewall.restrictions("one").expect("readable"), Some(left.clone()));
        succeed(&["nft", "flush", "ruleset"]);
        machine.firewall.restore().expect("restored");
        assert!(machine.firewall.is_restricted("one", &left).expect("readable"));
        assert!(reaches(&five, "192.0.2.2:80") && !reaches(&six, "192.0.2.2:80"));
        // Killed then: another container gets the address, and keeps it when all of it is done again.
        machine.firewall.claim("two", &addresses(6)).expect("given back");
        assert!(reaches(&six, "192.0.2.2:80"));
        machine.restrict("two", 6, web(), RuleList::reject());
        machine.firewall.close_some("one", &addresses(6)).expect("closable");
        assert!(reaches(&six, "192.0.2.2:80"));
        succeed(&["nft", "flush", "ruleset"]);
        machine.firewall.restore().expect("restored");
        assert!(reaches(&six, "192.0.2.2:80"), "whoever has it comes last");
        machine.firewall.unrestrict("one").expect("removable");
        assert!(reaches(&six, "192.0.2.2:80"));
        machine.firewall.unrestrict("two").expect("removable");
        assert_eq!((loam_names(), chains()), (Vec::new(), Vec::new()));
    });
}

fn loam_names() -> Vec<String> {
    let entries = std::fs::read_dir(RECORDS).expect("it is there");
    entries.map(|entry| entry.expect("readable").file_name().into_string().expect("text")).collect()
}

#[test]
fn an_address_of_one_that_stays_is_not_to_be_had() {
    inside("leaving::an_address_of_one_that_stays_is_not_to_be_had", || {
        let mut machine = Machine::new();
        let sandbox = machine.container(5);
        let taken =
            |claimed: Result<(), FirewallError>| matches!(claimed, Err(FirewallError::AddressTaken { .. }));
        machine.restrict("one", 5, web(), RuleList::reject());
        let error = machine.firewall.claim("two", &addresses(5)).expect_err("it is another's");
        assert_eq!(error.to_string(), "address `10.7.0.5` is that of container `one`, which has rules");
        assert!(reaches(&sandbox, "192.0.2.2:80") && !reaches(&sandbox, "192.0.2.2:443"));
        // Another state directory knows nothing of it, but that it is not alone.
        let mut other = firewall("/run/other");
        other.restrict("three", &record(6, web(), RuleList::reject())).expect("settable");
        assert!(taken(other.claim("three", &addresses(5))));
        assert!(taken(machine.firewall.claim("two", &addresses(6))));
        // What the own records can't explain is nobody's, once nobody else can.
        std::fs::remove_file(format!("{RECORDS}/one")).expect("there");
        assert!(taken(machine.firewall.claim("two", &addresses(5))));
        other.unrestrict("three").expect("removable");
        machine.restrict("one", 5, web(), RuleList::reject());
        let text = serde_json::to_vec(&record(7, web(), RuleList::reject())).expect("JSON");
        std::fs::write(format!("{RECORDS}/one"), text).expect("writable");
        machine.firewall.claim("two", &addresses(5)).expect("its record has other addresses");
        assert!(reaches(&sandbox, "192.0.2.2:443"), "over an unguarded bridge");
        succeed(&["nft", "flush", "ruleset"]);
        machine.restrict("one", 5, web(), RuleList::reject());
        std::fs::remove_file(format!("{RECORDS}/one")).expect("there");
        machine.firewall.claim("two", &addresses(5)).expect("nobody has a record of it");
        assert!(reaches(&sandbox, "192.0.2.2:443"));
    });
}

#[test]
fn a_restore_brings_back_nothing_of_one_that_goes_meanwhile() {
    inside("leaving::a_restore_brings_back_nothing_of_one_that_goes_meanwhile", || {
        let mut machine = Machine::new();
        let mut other = firewall("/run/firewall");
        // Enough of others that there is time.
        for number in 20..60 {
            machine.restrict(&format!("other{number}"), number, web(), RuleList::reject());
        }
        for round in 0..ROUNDS {
            machine.restrict("one", 5, web(), RuleList::reject());
            succeed(&["nft", "flush", "ruleset"]);
            std::thread::scope(|scope| {
                let restoring = scope.spawn(|| machine.firewall.restore());
                let begun = Instant::now();
                while begun.elapsed() < STEP * round {
                    std::hint::spin_loop();
                }
                other.unrestrict("one").expect("removable");
                restoring.join().expect("no panic").expect("restored");
            });
            let table = succeed(&["nft", "list", "map", "inet", "loam", "to-others4"]);
            assert!(!table.contains("10.7.0.5 "), "round {round}: {table}");
        }
    });
}
