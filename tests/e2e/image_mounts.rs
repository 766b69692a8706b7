//! Images mounted for people to look into.

use loam_tests::{Host, Need, needs};

use crate::image_diff::load_two_layers;

#[test]
fn an_image_that_is_mounted_is_read_and_stays() {
    if !needs::met(&[Need::NativeProcessor]) {
        return;
    }
    let host = Host::with_small_image();
    load_two_layers(&host);
    for (image, look) in [("small", "test -x bin/busybox"), ("two", "test ! -e bin/vi && cat added")] {
        let path = host.loam(&["image", "mount", image]).ok().to_owned();
        host.sh(&format!("cd {path} && {look}")).ok();
        assert_ne!(host.sh(&format!("touch {path}/x")).code, 0, "read-only");
        let options = host.sh(&format!("findmnt -no OPTIONS {path}")).ok().to_owned();
        assert!(["ro", "nosuid", "nodev"].iter().all(|word| options.contains(word)), "{options}");
        assert_eq!(host.loam(&["image", "mount", image]).ok(), path, "counted, not done again");
        let listed = host.loam(&["image", "mount"]).ok().to_owned();
        assert!(listed.contains(&path) && listed.lines().count() == 2, "{listed}");
        host.loam(&["rmi", &image_id(&host, image)]).refused(125, "is mounted");
        assert_eq!(host.loam(&["image", "prune", "--all", "--threshold", "0"]).code, 0);
        host.sh(&format!("test -e {path}/etc")).ok();
        let held = host.loam(&["image", "unmount", image]);
        assert!(held.stderr.contains("once more"), "{held:?}");
        // Somebody who looks into it keeps it from going, unless it is forced.
        let busy = host.sh(&format!(
            "cd {path}; exec {} --root {} image unmount {image}",
            std::env::var("LOAM_PROGRAMS").unwrap() + "/loam",
            host.root().display()
        ));
        busy.refused(125, "it is in use");
        host.loam(&["image", "unmount", image]).ok();
        assert_ne!(host.sh(&format!("test -e {path}")).code, 0);
        host.loam(&["image", "unmount", image]).refused(125, &format!("`{image}` is not mounted"));
        if image == "small" {
            load_two_layers_again(&host);
        }
    }
    host.loam(&["image", "mount", "none"]).refused(125, "none");
    host.finish();
}

/// The first round's pruning has taken it.
fn load_two_layers_again(host: &Host) {
    let scratch = host.scratch().display().to_string();
    host.loam(&["pull", "--quiet", &format!("oci:{scratch}/two:two")]).ok();
    host.loam(&["tag", "localhost/two:two", "two"]).ok();
}

fn image_id(host: &Host, image: &str) -> String {
    let listed: serde_json::Value =
        serde_json::from_str(host.loam(&["image", "inspect", image]).ok()).unwrap();
    listed[0]["id"].as_str().unwrap().to_owned()
}

#[test]
fn a_mount_that_a_reboot_took_is_forgotten() {
    let host = Host::with_small_image();
    let path = host.loam(&["image", "mount", "small"]).ok().to_owned();
    host.loam(&["image", "mount", "small"]).ok();
    // A reboot leaves the state directory and no mount.
    host.sh(&format!("umount {path}")).ok();
    assert_eq!(host.loam(&["image", "mount", "--output", "json"]).ok(), "[]");
    let id = image_id(&host, "small");
    host.loam(&["image", "mount", "small"]).ok();
    assert_eq!(host.loam(&["image", "unmount", "--all"]).ok(), id);
    host.loam(&["image", "mount", "small"]).ok();
    host.sh(&format!("umount {path}")).ok();
    host.loam(&["rmi", &id]).ok();
    assert_eq!(
        host.sh(&format!("ls {}/mounts {}/layers", host.root().display(), host.root().display()))
            .ok()
            .lines()
            .filter(|line| !line.is_empty() && !line.ends_with(':'))
            .count(),
        0
    );
    host.finish();
}
