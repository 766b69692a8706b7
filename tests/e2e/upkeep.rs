//! Looking after the image store: archives out and in, figures, pruning, damage.

use std::fs;

use loam_tests::{Host, Need, needs};

#[test]
fn saved_images_are_read_by_others_and_loaded_again() {
    if !needs::met(&[Need::NativeProcessor]) {
        return;
    }
    let host = Host::with_small_image();
    host.loam(&["run", "--rm", "hello", "help"]).ok();
    host.loam(&["tag", "small", "quay.io/team/app:2"]).ok();
    let ids = |host: &Host| host.loam(&["images", "-q", "--no-trunc"]).ok().to_owned();
    let before = ids(&host);
    let archive = host.scratch().join("images.tar");
    let path = archive.display().to_string();
    host.loam(&["image", "save", "-o", &path, "small", "hello"]).ok();
    let listed = host.sh(&format!("skopeo list-tags docker-archive:{path} | jq -r '.Tags[]' | sort"));
    assert_eq!(listed.ok(), "hello:latest\nlocalhost/small:latest\nquay.io/team/app:2\nsmall:latest");
    // podman names what it loads as the archive does.
    let storage = host.scratch().join("podman").display().to_string();
    let podman = format!("podman --root {storage}/root --runroot {storage}/run --storage-driver vfs");
    let loaded =
        host.sh(&format!("{podman} load -q -i {path} && {podman} images --format '{{{{.Repository}}}}'"));
    assert!(loaded.ok().contains("quay.io/team/app"), "{loaded:?}");
    host.sh(&format!("{podman} rmi -af >/dev/null; rm -rf {storage}")).ok();

    host.loam(&["rmi", "-f", "small", "localhost/small", "quay.io/team/app:2", "hello"]).ok();
    assert_eq!(ids(&host), "");
    assert!(host.loam(&["image", "load", "-q", "-i", &path]).ok().contains("quay.io/team/app:2"));
    assert_eq!(ids(&host), before, "the same images, by the same names");
    assert_eq!(host.loam(&["run", "--rm", "quay.io/team/app:2", "echo", "ran"]).ok(), "ran");
    // From standard input, and an image that has no name.
    let names = || {
        let listed: serde_json::Value =
            serde_json::from_str(host.loam(&["images", "-o", "json"]).ok()).unwrap();
        listed.as_array().unwrap().iter().map(|image| image["name"].to_string()).collect::<Vec<_>>()
    };
    let known = names();
    let layout = host.scratch().join("nameless").display().to_string();
    host.sh(&format!(
        "skopeo copy -q oci-archive:{path}:2 oci:{layout} && tar -C {layout} -cf {layout}.tar ."
    ))
    .ok();
    let nameless = fs::read(format!("{layout}.tar")).unwrap();
    let loaded = host.loam_with_input(&["image", "load", "-q"], &nameless);
    assert!(loaded.ok().starts_with("loaded sha256:"), "{loaded:?}");
    assert_eq!(names(), known, "it gets no name, and takes none");
    fs::write(&archive, "no archive").unwrap();
    host.loam(&["image", "load", "-i", &path]).refused(125, "images.tar");
    host.loam_with_input(&["image", "load"], b"no archive").refused(125, "standard input");
    host.loam(&["image", "save", "-o", "/no/such/place.tar", "small"]).refused(125, "/no/such/place.tar");
    host.finish();
}

#[test]
fn pruning_leaves_what_is_needed() {
    let host = Host::with_small_image();
    host.loam(&["run", "--rm", "hello", "help"]).ok();
    host.start(&["--name", "c", "small", "sleep", "1000"]);
    host.loam(&["image", "pin", "hello"]).ok();
    assert_eq!(host.loam(&["image", "prune", "--all"]).ok(), "0 B reclaimed");
    let figures = host.loam(&["system", "df", "-o", "json"]);
    let figures: serde_json::Value = serde_json::from_str(figures.ok()).unwrap();
    assert_eq!((&figures["images"], &figures["images_in_use"]), (&2.into(), &1.into()), "{figures}");
    assert!(host.loam(&["system", "df", "-o", "prometheus"]).ok().contains("\nloam_store_images 2\n"));
    host.loam(&["image", "unpin", "hello"]).ok();
    assert!(host.loam(&["image", "prune", "--all", "--unused-for", "1h"]).ok().contains("0 B reclaimed"));
    assert!(host.loam(&["image", "prune", "--all"]).ok().contains("untagged hello:latest"));
    host.loam(&["rm", "-f", "c"]).ok();
    host.loam(&["image", "prune", "--all", "--threshold", "0"]).ok();
    assert_eq!(host.loam(&["images", "-q"]).ok(), "");
    host.loam(&["image", "prune", "--threshold", "101%"]).refused(125, "101%");
    host.finish();
}

#[test]
fn a_damaged_layer_is_named() {
    let host = Host::with_small_image();
    assert!(host.loam(&["system", "check"]).ok().ends_with("1 whole, 0 can't be verified, 0 damaged"));
    let file = format!("{}/layers/*/diff/bin/busybox", host.root().display());
    host.sh(&format!("printf x | dd of=$(echo {file}) conv=notrunc seek=100 bs=1 2>/dev/null")).ok();
    let checked = host.loam(&["system", "check"]);
    assert_eq!(checked.code, 1, "{checked:?}");
    assert!(checked.stdout.contains("damaged, of image"), "{checked:?}");
    let archive = host.scratch().join("a.tar");
    host.loam(&["image", "save", "-o", archive.to_str().unwrap(), "small"]).refused(125, "is damaged");
    assert_eq!(fs::read_dir(host.scratch()).unwrap().count(), 0, "nothing half made");
    host.finish();
}
