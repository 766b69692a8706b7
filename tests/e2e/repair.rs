//! Damaged layers that are fetched again.

use loam_testkit::registry::Registry;
use loam_tests::{Host, Need, needs};

/// Changes a byte of a file in every layer.
fn damage(host: &Host) {
    let file = format!("{}/layers/*/diff/var/www/index.html", host.root().display());
    host.sh(&format!("for file in {file}; do printf x | dd of=$file conv=notrunc bs=1 2>/dev/null; done"))
        .ok();
}

fn layers(host: &Host) -> String {
    host.sh(&format!("ls {}/layers", host.root().display())).ok().to_owned()
}

#[test]
fn a_damaged_layer_comes_again_from_its_registry() {
    if !needs::met(&[Need::NativeProcessor]) {
        return;
    }
    let host = Host::new();
    let registry = Registry::plain();
    loam_testkit::images::push_small(&registry);
    let name = format!("{}/small:latest", registry.address());
    host.loam_outside(&["pull", "--quiet", &name]).ok();
    let old = layers(&host);
    let id = host.start(&["--name", "c", "--network", "none", &name, "sleep", "1000"]);
    damage(&host);
    assert_eq!(host.loam(&["system", "check"]).code, 1);
    let repaired = host.loam_outside(&["system", "check", "--repair"]);
    assert_eq!(repaired.code, 0, "{repaired:?}");
    assert!(repaired.stdout.contains(&format!("repaired from {}/small", registry.address())), "{repaired:?}");
    assert!(
        repaired.stdout.contains(&id[..12]) && repaired.stdout.ends_with("1 damaged, 1 repaired\n"),
        "{repaired:?}"
    );
    assert!(host.loam(&["system", "check"]).ok().contains("1 whole"));
    // Who runs keeps the files that it has; new containers, and itself after a start, get the new ones.
    assert!(layers(&host).contains(&old) && layers(&host).lines().count() == 2, "{}", layers(&host));
    host.loam(&["exec", "c", "true"]).ok();
    assert_eq!(host.loam(&["run", "--rm", "--network", "none", &name, "echo", "ran"]).ok(), "ran");
    host.loam(&["stop", "-t", "0", "c"]).ok();
    host.loam(&["start", "c"]).ok();
    host.loam(&["exec", "c", "true"]).ok();
    host.loam(&["rm", "-f", "c"]).ok();
    host.loam(&["image", "prune"]).ok();
    assert!(layers(&host) != old && layers(&host).lines().count() == 1, "the damaged files are gone");

    // With nobody on it, they go at once; and the whole directory may be gone.
    host.sh(&format!("rm -rf {}/layers/*/diff", host.root().display())).ok();
    let repaired = host.loam_outside(&["system", "check", "--repair", "--quiet", "--output", "json"]);
    let json: serde_json::Value = serde_json::from_str(repaired.ok()).unwrap();
    assert_eq!(json[0]["state"], "damaged");
    assert!(json[0]["repair"]["done"]["source"].as_str().unwrap().ends_with("/small"), "{json}");
    assert_eq!(layers(&host).lines().count(), 1);
    assert_eq!(host.loam(&["run", "--rm", "--network", "none", &name, "echo", "ran"]).ok(), "ran");
    host.finish();
}

#[test]
fn what_has_no_source_or_none_that_answers_is_named_and_stays() {
    if !needs::met(&[Need::NativeProcessor]) {
        return;
    }
    let host = Host::with_small_image();
    damage(&host);
    let before = layers(&host);
    let left = host.loam_outside(&["system", "check", "--repair"]);
    assert_eq!(left.code, 1, "{left:?}");
    assert!(left.stdout.contains("not repaired: no registry is known that has it"), "{left:?}");
    // A registry that is not there, and one that does not have it.
    let registry = Registry::plain();
    host.loam(&["tag", "small", "127.0.0.1:1/small:1"]).ok();
    host.loam(&["tag", "small", &format!("{}/none:1", registry.address())]).ok();
    let left = host.loam_outside(&["system", "check", "--repair"]);
    assert_eq!(left.code, 1, "{left:?}");
    assert!(
        left.stdout.contains("127.0.0.1:1") && left.stdout.ends_with("1 damaged, 0 repaired\n"),
        "{left:?}"
    );
    assert_eq!(layers(&host), before);
    host.finish();
}
