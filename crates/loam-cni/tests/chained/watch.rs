//! Watching over our table.

use std::time::{Duration, Instant};

use loam_cni::Host;
use loam_cni::firewall::{Firewall, Watch};
use loam_testkit::lab::inside;
use serde_json::json;

use crate::machine::Machine;

#[test]
fn a_flushed_table_is_restored_within_a_second() {
    inside("watch::a_flushed_table_is_restored_within_a_second", || {
        let machine = Machine::new(None);
        let mut bridge = machine.bridge();
        bridge["ipMasq"] = json!(true);
        let previous = machine.call("ADD", "bridge", &bridge).expect("attachable");
        bridge["prevResult"] = previous.clone();
        let ports = Machine::chained(
            "portmap",
            &previous,
            &json!({
                "runtimeConfig": { "portMappings": [{ "hostPort": 8080, "containerPort": 80 }] },
            }),
        );
        machine.call("ADD", "portmap", &ports).expect("published");
        machine.container.serve_tcp("0.0.0.0:80");
        let published = "127.0.0.1:8080".parse().expect("valid");
        assert!(machine.host.ask_tcp(published).is_some());
        machine.host.run(|| {
            let mut watch = Watch::begin(&Host::default()).expect("it begins");
            // Changes of ours and of others are no reason to do anything.
            machine.call("ADD", "portmap", &ports).expect("published already");
            machine.host.command(&["nft", "add", "table", "inet", "other"]);
            machine.host.command(&["nft", "delete", "table", "inet", "other"]);
            assert!(!watch.restored(Some(Duration::from_millis(300))).expect("it watches"));
            for flush in [
                &["nft", "flush", "ruleset"][..],
                &["nft", "delete", "table", "inet", "loam"],
                &["nft", "flush", "chain", "inet", "loam", "postrouting"],
            ] {
                machine.host.command(flush);
                machine.call("CHECK", "portmap", &ports).expect_err("flushed");
                machine.call("CHECK", "bridge", &bridge).expect_err("flushed");
                let flushed = Instant::now();
                assert!(watch.restored(Some(Duration::from_secs(5))).expect("it watches"), "{flush:?}");
                assert!(flushed.elapsed() < Duration::from_secs(1), "{flush:?}: {:?}", flushed.elapsed());
                assert!(machine.host.ask_tcp(published).is_some(), "{flush:?}");
                machine.call("CHECK", "portmap", &ports).expect("restored");
                machine.call("CHECK", "bridge", &bridge).expect("restored");
            }
            // A watch that begins after the flush mends at once.
            machine.host.command(&["nft", "flush", "ruleset"]);
            drop(Watch::begin(&Host::default()).expect("it begins"));
            assert!(machine.host.ask_tcp(published).is_some());
        });
    });
}

#[test]
fn a_host_without_rules_of_ours_is_left_alone() {
    inside("watch::a_host_without_rules_of_ours_is_left_alone", || {
        let machine = Machine::new(None);
        machine.host.run(|| {
            let mut watch = Watch::begin(&Host::default()).expect("it begins");
            machine.host.command(&["nft", "add", "table", "inet", "loam"]);
            machine.host.command(&["nft", "flush", "ruleset"]);
            assert!(!watch.restored(Some(Duration::from_millis(300))).expect("it watches"));
        });
        assert_eq!(machine.host.command(&["nft", "list", "ruleset"]), "");
    });
}

#[test]
fn the_table_of_bridges_is_restored_too() {
    inside("watch::the_table_of_bridges_is_restored_too", || {
        let machine = Machine::new(None);
        let mut bridge = machine.bridge();
        bridge["macspoofchk"] = json!(true);
        machine.call("ADD", "bridge", &bridge).expect("attachable");
        machine.host.serve_tcp("0.0.0.0:80");
        let passes = || {
            machine.container.command(&["ip", "neigh", "flush", "dev", "eth0"]);
            machine.host.command(&["ip", "neigh", "flush", "dev", "br0"]);
            machine.container.ask_tcp("10.5.0.1:80".parse().expect("valid")).is_some()
        };
        assert!(passes());
        machine.container.command(&["ip", "link", "set", "eth0", "address", "0e:00:00:00:00:66"]);
        assert!(!passes(), "it has another's address");
        let flushes = [
            &["nft", "flush", "ruleset"][..],
            &["nft", "delete", "table", "bridge", "loam"],
            &["nft", "flush", "chain", "bridge", "loam", "prerouting"],
        ];
        machine.host.run(|| {
            let mut watch = Watch::begin(&Host::default()).expect("it begins");
            for flush in flushes {
                machine.host.command(flush);
                assert!(watch.restored(Some(Duration::from_secs(5))).expect("it watches"), "{flush:?}");
                assert!(!passes(), "{flush:?}");
            }
        });
        // What `loam network reload` does.
        for flush in flushes {
            machine.host.command(flush);
            assert!(passes(), "{flush:?}");
            let restore = || Firewall::open(&Host::default()).and_then(|mut wall| wall.restore());
            machine.host.run(restore).expect("restorable");
            assert!(!passes(), "{flush:?}");
        }
        machine.call("DEL", "bridge", &bridge).expect("detachable");
        machine.host.command(&["nft", "flush", "ruleset"]);
        let restore = || Firewall::open(&Host::default()).and_then(|mut wall| wall.restore());
        machine.host.run(restore).expect("restorable");
        let tables = machine.host.command(&["nft", "list", "tables"]);
        assert!(!tables.contains("bridge"), "nobody needs it: {tables}");
    });
}
