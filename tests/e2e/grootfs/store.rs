//! Making stores ready, and deleting them.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::fs::symlink;

use loam_tests::Ran;
use loam_tests::grootfs::{MAPPED_ROOT, Store};

#[test]
fn a_store_has_its_directories_and_keeps_its_mappings() {
    let store = Store::bare();
    let mapped = [
        "init-store",
        "--uid-mapping",
        "1:1:4294967293",
        "--uid-mapping",
        "0:4294967294:1",
        "--gid-mapping",
        "0:4294967294:1",
        "--gid-mapping",
        "1:1:4294967293",
    ];
    for bad in ["1:2", "0:4294967294:9"] {
        store.refuses(&["init-store", "--uid-mapping", bad, "--gid-mapping", bad], "parsing mapping");
    }
    store.refuses(&["init-store", "--uid-mapping", "0:5:1"], "have to be the same");
    store.run(&mapped).ok();
    store.run(&mapped).ok();
    store
        .refuses(&["init-store"], "provided UID mappings do not match those already configured in the store");
    let mappings = r#"["0:4294967294:1","1:1:4294967293"]"#;
    let written = fs::read_to_string(store.directory().join("meta/namespace.json")).unwrap();
    assert_eq!(written, format!(r#"{{"uid-mappings":{mappings},"gid-mappings":{mappings}}}"#));
    let images = fs::metadata(store.directory().join("images")).unwrap();
    assert_eq!((images.uid(), images.mode() & 0o777), (MAPPED_ROOT, 0o755));
    // The container's root may pass, and sees and writes nothing else.
    let directory = store.directory().display().to_string();
    let attempt = format!(
        "setpriv --reuid {MAPPED_ROOT} --regid {MAPPED_ROOT} --clear-groups sh -c \
         'ls {directory} || ls {directory}/layers || cat {directory}/loam.db || touch {directory}/x || ls {directory}/images'"
    );
    assert_eq!(store.host().sh(&attempt).ok(), "");
    store.finish();
}

#[test]
fn only_a_store_is_deleted_and_twice_is_no_mistake() {
    let store = Store::mapped();
    let image = store.tar("a.tar", "touch file").display().to_string();
    store.create(&[], &image, "a");
    store.create(&["--disk-limit-size-bytes", "3000000"], &image, "b");
    store.run(&["delete-store"]).ok();
    assert!(!store.directory().exists());
    store.run(&["delete-store"]).ok();
    let precious = store.host().scratch().join("precious");
    fs::create_dir_all(precious.join("images/x")).unwrap();
    for place in [&precious, &store.host().scratch()] {
        let mut command = store.host().grootfs_command(&["--store", place.to_str().unwrap(), "delete-store"]);
        let ran = Ran::of(&command.output().unwrap());
        assert!(ran.code == 1 && ran.stdout.contains("listing images"), "{ran:?}");
    }
    assert!(precious.join("images/x").exists());
    store.finish();
}

#[test]
fn a_store_may_be_a_link_to_another_disk() {
    let store = Store::bare();
    let real = store.host().scratch().join("disk");
    fs::create_dir(&real).unwrap();
    // As it is seen from the test, too.
    symlink("disk", store.directory()).unwrap();
    store.run(&["init-store"]).ok();
    let image = store.tar("a.tar", "echo there > file").display().to_string();
    store.create(&[], &image, "a");
    store.create(&["--disk-limit-size-bytes", "3000000"], &image, "b");
    for id in ["a", "b"] {
        assert_eq!(fs::read_to_string(store.file(id, "file")).unwrap(), "there\n");
        store.run(&["delete", id]).ok();
    }
    store.run(&["clean"]).ok();
    assert!(real.join("images").is_dir());
    store.finish();
}

#[test]
fn what_is_in_use_is_not_deleted() {
    let store = Store::mapped();
    let image = store.tar("a.tar", "echo here > file").display().to_string();
    let root = store.create(&[], &image, "a")["root"]["path"].as_str().unwrap().to_owned();
    let mut user = store.host().command("sh");
    user.args(["-c", &format!("cd {root} && exec sleep 1000")]);
    let mut user = user.spawn().unwrap();
    loam_tests::until("it is used", || {
        let place = format!("/proc/{}/cwd", user.id());
        fs::read_link(place).is_ok_and(|path| path.ends_with("rootfs")).then_some(())
    });
    store.refuses(&["delete", "a"], "can't be unmounted");
    assert_eq!(fs::read_to_string(store.file("a", "file")).unwrap(), "here\n");
    user.kill().unwrap();
    user.wait().unwrap();
    store.run(&["delete", "a"]).ok();
    store.finish();
}

#[test]
fn a_store_of_a_size_has_a_file_of_its_own_whatever_the_kernel_has() {
    let store = Store::bare();
    store.run(&["init-store", "--store-size-bytes", "419430400"]).ok();
    let backing = store.directory().with_extension("backing-store");
    let backing = store.host().path_from_outside(&backing);
    let status = fs::metadata(&backing).unwrap();
    assert_eq!((status.len(), status.mode() & 0o777), (419_430_400, 0o600));
    let mounts = format!("findmnt -n -o FSTYPE {}", store.directory().display());
    let kind = store.host().sh(&mounts).ok().to_owned();
    assert!(["xfs", "ext4"].contains(&kind.as_str()), "{kind}");
    let image = store.tar("a.tar", "echo kept > file").display().to_string();
    store.create(&["--disk-limit-size-bytes", "3000000"], &image, "a");
    assert_eq!(store.stats("a")[2], 3_000_000 - 5);
    store.run(&["delete", "a"]).ok();
    // After a reboot it is mounted again, with what was in it.
    let directory = store.directory().display().to_string();
    store.host().sh(&format!("umount {directory}")).ok();
    store.run(&["init-store"]).ok();
    assert_eq!((store.host().sh(&mounts).ok(), store.layers()), (kind.as_str(), 1));
    store.run(&["delete-store"]).ok();
    assert!(backing.exists(), "the file stays");
    store.run(&["init-store"]).ok();
    assert_eq!(store.layers(), 0, "and is empty");
    store.finish();
}

#[test]
fn the_program_is_grootfs_when_it_is_called_so() {
    let store = Store::mapped();
    let link = store.host().scratch().join("grootfs");
    symlink(std::env::var("LOAM_PROGRAMS").unwrap() + "/loam", &link).unwrap();
    let directory = store.directory().display().to_string();
    let line = format!("{} --store {directory} list", link.display());
    assert_eq!(store.host().sh(&line).ok(), "Store empty");
    let ran = store.host().loam(&["grootfs", "--store", &directory, "list"]);
    ran.refused(125, "`grootfs` has flags of its own");
    store.finish();
}
