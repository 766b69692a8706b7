//! Disk limits, with the layers and without, and what `stats` says of them.

use std::fs;

use loam_tests::grootfs::{Layout, Store};
use loam_tests::{Need, needs};

const MIB: u64 = 1 << 20;
/// How far from its limit a container may be stopped, in bytes.
const TOLERANCE: u64 = 128 << 10;

/// An image of one layer with a file of 4 MiB.
fn image(store: &Store) -> String {
    let tar = store.tar("a.tar", "head -c 4194304 /dev/zero > large");
    Layout::default().layer(&fs::read(tar).unwrap()).write(&store.host().scratch().join("l"))
}

/// Writes until that is refused; gives how many bytes were written.
fn fill(store: &Store, id: &str) -> u64 {
    let root = store.directory().join("images").join(id).join("rootfs");
    let user = owner(store, id);
    let line = format!(
        "setpriv --reuid {user} --regid {user} --clear-groups dd if=/dev/zero of={0}/big bs=4096 2>/dev/null; \
         sync -f {0}; stat -c %s {0}/big",
        root.display()
    );
    store.host().sh(&line).stdout.trim().parse().unwrap()
}

fn owner(store: &Store, id: &str) -> u32 {
    use std::os::unix::fs::MetadataExt as _;
    fs::metadata(store.file(id, "")).unwrap().uid()
}

#[track_caller]
fn near(is: u64, wanted: u64) {
    assert!(is.abs_diff(wanted) <= TOLERANCE, "{is} is not {wanted}");
}

/// The promises, on whatever keeps limits in the store.
fn keeps_the_promises(store: Store) {
    let image = image(&store);
    let limit = (12 * MIB).to_string();
    // The layers count, unless they are excluded.
    store.create(&["--disk-limit-size-bytes", &limit], &image, "inclusive");
    near(fill(&store, "inclusive"), 8 * MIB);
    let [total, exclusive, quota, committed] = store.stats("inclusive");
    assert_eq!((quota, committed), (8 * MIB, 12 * MIB));
    near(exclusive, 8 * MIB);
    assert_eq!(total, exclusive + 4 * MIB);
    store.create(&["--disk-limit-size-bytes", &limit, "--exclude-image-from-quota"], &image, "exclusive");
    near(fill(&store, "exclusive"), 12 * MIB);
    assert_eq!(store.stats("exclusive")[2..], [12 * MIB, 16 * MIB]);
    store.create(&[], &image, "unlimited");
    let [total, exclusive, quota, committed] = store.stats("unlimited");
    assert_eq!((quota, committed, total), (0, 4 * MIB, exclusive + 4 * MIB));

    // By path, too.
    let path = store.directory().join("images/exclusive").display().to_string();
    assert_eq!(store.stats(&path)[2], 12 * MIB);
    store.finish();
}

#[test]
fn disk_files_keep_limits_with_and_without_the_layers() {
    keeps_the_promises(Store::mapped());
}

#[test]
fn privileged_images_have_limits_too() {
    keeps_the_promises(Store::privileged());
}

#[test]
fn project_quotas_keep_limits_in_a_store_of_its_own_file() {
    if !needs::met(&[Need::XfsProjectQuota]) {
        return;
    }
    let store = Store::bare();
    let init = ["init-store", "--uid-mapping", "0:4294967294:1", "--uid-mapping", "1:1:4294967293"];
    let groups = ["--gid-mapping", "0:4294967294:1", "--gid-mapping", "1:1:4294967293"];
    let size = ["--store-size-bytes", "734003200", "--with-direct-io"];
    store.run(&[&init[..], &groups, &size].concat()).ok();
    let mounted = store.host().sh(&format!("findmnt -n -o FSTYPE,OPTIONS {}", store.directory().display()));
    assert!(mounted.ok().starts_with("xfs") && mounted.stdout.contains("prjquota"), "{mounted:?}");
    assert!(mounted.stdout.contains("noatime"), "{mounted:?}");
    let backing = format!("{}.backing-store", store.directory().display());
    let direct = store.host().sh(&format!("losetup -n -O DIO -j {backing}"));
    assert_eq!(direct.ok().trim(), "1");
    // It is left as it is, whoever asks again; with other mappings it is refused.
    let again = [&init[..], &groups, &["--store-size-bytes", "734003200"]].concat();
    store.run(&again).ok();
    assert_eq!(store.host().sh(&format!("losetup -n -O DIO -j {backing}")).ok().trim(), "0");
    store.refuses(&["init-store"], "do not match those already configured in the store");
    let image = image(&store);
    store.create(&["--disk-limit-size-bytes", "12582912"], &image, "a");
    let projects = format!("lsattr -pd {}/snapshots/*", store.directory().display());
    assert!(!store.host().sh(&projects).ok().trim_start().starts_with("0 "), "it has a project");
    keeps_the_promises(store);
}

#[test]
fn an_image_that_is_too_large_is_refused_before_it_is_fetched() {
    let store = Store::mapped();
    let image = image(&store);
    let refuses = |limit: &str, sentence: &str| {
        store.refuses(&["create", "--disk-limit-size-bytes", limit, &image, "a"], sentence);
        assert!(!store.file("a", "").exists());
    };
    refuses("1000000", "layers exceed disk quota");
    assert_eq!(store.layers(), 0);
    // A bomb: small on its way, large on the disk.
    let tar = store.tar("bomb.tar", "head -c 20000000 /dev/zero > zeros");
    store.host().sh(&format!("gzip -k {}", tar.display())).ok();
    let blob = fs::read(format!("{}.gz", tar.display())).unwrap();
    let diff_id = loam_testkit::hostile::digest(&fs::read(&tar).unwrap());
    let descriptor = serde_json::json!({
        "mediaType": "application/vnd.oci.image.layer.v1.tar+gzip", "size": blob.len(),
        "digest": loam_testkit::hostile::digest(&blob),
    });
    let bomb = Layout::default().claimed(&descriptor, &diff_id, Some(&blob));
    let bomb = bomb.write(&store.host().scratch().join("bomb"));
    let flags = ["create", "--disk-limit-size-bytes", "5000000"];
    store.refuses(&[&flags[..], &[&bomb, "a"]].concat(), "uncompressed layer size exceeds quota");
    assert_eq!(store.layers(), 0);
    // What is there already counts as well.
    store.create(&[], &bomb, "b");
    store.refuses(&[&flags[..], &[&bomb, "a"]].concat(), "disk limit is smaller than volume size");
    store.create(&[&flags[1..], &["--exclude-image-from-quota"]].concat(), &bomb, "c");
    store.finish();
}
