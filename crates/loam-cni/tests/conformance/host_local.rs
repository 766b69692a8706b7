//! `host-local`: our files are those of the reference plugin, so that either goes on with what the other began.

use serde_json::{Value, json};

use crate::lab::{Lab, Way};

#[test]
fn addresses_are_kept_as_the_reference_keeps_them() {
    let name = "host_local::addresses_are_kept_as_the_reference_keeps_them";
    loam_testkit::lab::inside(name, || {
        let Some(reference) = loam_testkit::lab::reference_plugins() else {
            println!("skipped: {name}: needs containernetworking-plugins");
            return;
        };
        let (ours, theirs) = (Lab::new(Way::Program), Lab::new(Way::Reference(reference)));
        // One directory is used by both in turn.
        let directory = ours.directory.path().join("addresses");
        let config = json!({
            "cniVersion": "1.0.0", "name": "net", "type": "host-local",
            "ipam": {
                "type": "host-local", "dataDir": directory,
                "ranges": [[{ "subnet": "10.5.0.0/24" }], [{ "subnet": "fd05::/64" }]],
            },
        });
        let namespace = ours.container.path().display().to_string();
        let call = |lab: &Lab, verb: &str, container: &str| -> Result<Value, Value> {
            lab.call(verb, container, &namespace, "", &config)
        };
        let take = |lab: &Lab, container: &str| {
            let result = call(lab, "ADD", container).expect("free");
            result["ips"][0]["address"].as_str().expect("an address").to_owned()
        };
        assert_eq!(take(&ours, "a"), "10.5.0.2/24");
        assert_eq!(take(&theirs, "b"), "10.5.0.3/24");
        assert_eq!(take(&ours, "c"), "10.5.0.4/24");
        let read = |name: &str| std::fs::read_to_string(directory.join("net").join(name)).expect("readable");
        assert_eq!(read("10.5.0.2"), "a\r\neth0");
        assert_eq!(read("10.5.0.3"), "b\r\neth0");
        assert_eq!(read("last_reserved_ip.0"), "10.5.0.4");
        call(&theirs, "DEL", "a").expect("given back");
        call(&ours, "DEL", "b").expect("given back");
        call(&ours, "DEL", "a").expect("idempotent");
        assert!(!directory.join("net/10.5.0.2").exists() && !directory.join("net/10.5.0.3").exists());
        call(&theirs, "CHECK", "c").expect("there");
        call(&ours, "CHECK", "a").expect_err("gone");
        assert_eq!(take(&theirs, "d"), "10.5.0.5/24");
        call(&ours, "DEL", "c").expect("given back");
        call(&ours, "DEL", "d").expect("given back");
    });
}
