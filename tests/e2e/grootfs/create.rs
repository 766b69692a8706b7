//! Creating and deleting root file systems.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::process::Stdio;

use loam_testkit::hostile::{Answer, Server};
use loam_tests::grootfs::{Layout, MAPPED_ROOT, Store};
use loam_tests::{Ran, until};
use serde_json::json;

#[test]
fn a_root_file_system_is_mounted_and_described_and_goes_again() {
    for (store, root) in [(Store::privileged(), 0), (Store::mapped(), MAPPED_ROOT)] {
        let tar = store.tar("a.tar", "echo hello > file; chown 7:8 file; mkdir d");
        let image = format!("oci:{}", store.host().scratch().join("layout").display());
        let layout = Layout::default().layer(&fs::read(&tar).unwrap());
        let image = layout.write(image.trim_start_matches("oci:").as_ref());
        let printed = store.create(&[], &image, "my image");
        let rootfs = store.directory().join("images/my image/rootfs");
        assert_eq!(
            printed,
            json!({
                "ociVersion": "", "root": { "path": rootfs },
                "process": { "user": { "uid": 0, "gid": 0 }, "env": ["PATH=/bin", "A=b"], "cwd": "" },
            })
        );
        assert_eq!(fs::read_to_string(store.file("my image", "file")).unwrap(), "hello\n");
        let owner = |name: &str| {
            let status = fs::metadata(store.file("my image", name)).unwrap();
            (status.uid(), status.gid())
        };
        assert_eq!((owner("file"), owner("d")), ((7, 8), (root, root)));
        // Who the container's root is can write, and only to this image.
        store
            .host()
            .sh(&format!(
                "setpriv --reuid {root} --regid {root} --clear-groups sh -c 'cd \"{0}\" && echo x > own && mkdir new'",
                rootfs.display()
            ))
            .ok();
        let other = store.create(&[], &image, "other")["root"]["path"].as_str().unwrap().to_owned();
        assert_eq!(store.host().sh(&format!("cat {other}/file")).ok(), "hello");
        assert_eq!(store.layers(), 1, "both stand on one layer");
        let listed = store.run(&["list"]);
        let images = store.directory().join("images");
        assert_eq!(listed.ok(), format!("{0}/my image\n{0}/other", images.display()));

        assert_eq!(store.run(&["delete", "my image"]).ok(), "Image my image deleted");
        assert_eq!(
            store.run(&["delete", &format!("{}/other", images.display())]).ok(),
            "Image other deleted"
        );
        assert_eq!(store.run(&["list"]).ok(), "Store empty");
        for gone in ["my image", "no-such", "/foreign/path", "a/b"] {
            assert!(store.run(&["delete", gone]).ok().ends_with("Skipping delete."), "{gone}");
        }
        store.finish();
    }
}

#[test]
fn a_tar_is_unpacked_once_as_long_as_it_stays() {
    let store = Store::mapped();
    let tar = store.tar("rootfs.tar", "echo 1 > file");
    let image = tar.display().to_string();
    store.create(&[], &image, "a");
    store.create(&[], &image, "b");
    assert_eq!(store.layers(), 1);
    store.host().sh(&format!("cd {0}.d && echo 2 > file && tar -cf {0} .", tar.display())).ok();
    store.create(&[], &image, "c");
    assert_eq!((store.layers(), fs::read_to_string(store.file("c", "file")).unwrap().as_str()), (2, "2\n"));
    let directory = tar.with_extension("tar.d").display().to_string();
    store.refuses(
        &["create", &directory, "d"],
        "invalid base image: directory provided instead of a tar file",
    );
    store.refuses(&["create", "/no/such.tar", "d"], "Image source doesn't exist");
    store.refuses(&["create", "oci:///no/such", "d"], "Image source doesn't exist");
    store.refuses(&["create", "raw:///x", "d"], "no scheme of an image");
    assert!(!store.file("d", "").exists(), "nothing half made");
    store.finish();
}

#[test]
fn mistakes_have_grootfs_s_words_on_standard_output() {
    let store = Store::bare();
    let image = store.tar("a.tar", "touch file").display().to_string();
    store.refuses(&["create", &image, "a"], "Store path is not initialized. Please run init-store.");
    assert!(store.run(&["delete", "a"]).ok().ends_with("Skipping delete."));
    assert_eq!(store.run(&["list"]).code, 1);
    store.run(&["clean"]).ok();
    store.run(&["init-store"]).ok();
    store.refuses(&["create", &image, "a/b"], "id `a/b` contains invalid characters: `/`");
    store.create(&[], &image, "a");
    store.refuses(&["create", &image, "a"], "image for id `a` already exists");
    store.refuses(&["create", &image], "invalid arguments - usage: create [options] <image> <id>");
    store.refuses(&["delete"], "id was not specified");
    store.refuses(&["stats", "b"], "not found");
    store.refuses(
        &["create", "--with-clean", "--without-clean", &image, "b"],
        "with-clean and without-clean cannot be used together",
    );
    store.refuses(&["create", "--disk-limit-size-bytes", "-1", &image, "b"], "disk limit cannot be negative");
    store.refuses(&["clean", "--threshold-bytes", "-1"], "clean threshold cannot be negative");
    store.refuses(&["create", "--no-such-flag", &image, "b"], "--no-such-flag");
    store.refuses(&["--config", "/no/such", "list"], "invalid config path");
    store.finish();
}

#[test]
fn without_a_mount_the_overlay_is_described() {
    for (store, root) in [(Store::privileged(), 0), (Store::mapped(), MAPPED_ROOT)] {
        let lower = fs::read(store.tar("a.tar", "echo low > a; echo low > b")).unwrap();
        let upper = fs::read(store.tar("b.tar", "echo high > b")).unwrap();
        let image = Layout::default().layer(&lower).layer(&upper).write(&store.host().scratch().join("l"));
        for flags in [&[][..], &["--disk-limit-size-bytes", "20000000"]] {
            let printed = store.create(&[&["--without-mount"], flags].concat(), &image, "x");
            let mount = &printed["mounts"][0];
            assert_eq!((&mount["destination"], &mount["type"]), (&json!("/"), &json!("overlay")));
            assert!(!store.file("x", "b").exists(), "it is not mounted");
            let options = mount["options"][0].as_str().unwrap();
            // As the container's root, whom an idmapped directory knows.
            let line = format!(
                "cd / && d=$(mktemp -d) && mount -t overlay overlay -o {} $d && cat $d/a $d/b && stat -c %u $d/a; \
                 umount $d; rmdir $d",
                options.split(",upperdir").next().unwrap()
            );
            assert_eq!(store.host().sh(&line).ok(), format!("low\nhigh\n{root}"), "{options}");
            let writable = options.split("upperdir=").nth(1).unwrap().split(',').next().unwrap();
            assert_eq!(
                store.host().sh(&format!("stat -c %u {writable}")).ok(),
                root.to_string(),
                "{options}"
            );
            store.run(&["delete", "x"]).ok();
        }
        store.finish();
    }
}

#[test]
fn many_at_once_share_one_download_and_an_id_is_given_once() {
    let store = Store::mapped();
    let layers: Vec<Vec<u8>> = (0..3)
        .map(|n| fs::read(store.tar(&format!("{n}.tar"), &format!("echo {n} > f{n}"))).unwrap())
        .collect();
    let layout = layers.iter().fold(Layout::default(), |layout, tar| layout.layer(tar));
    let image = layout.write(&store.host().scratch().join("l"));
    let mut running = Vec::new();
    for n in 0..6 {
        running.push(store.start(&["create", &image, &format!("i{n}")]));
        running.push(store.start(&["clean"]));
    }
    for child in running {
        Ran::of(&child.wait_with_output().unwrap()).ok();
    }
    for n in 0..6 {
        assert_eq!(fs::read_to_string(store.file(&format!("i{n}"), "f2")).unwrap(), "2\n");
    }
    assert_eq!(store.layers(), 3);
    let both: Vec<_> = (0..2).map(|_| store.start(&["create", &image, "same"])).collect();
    let codes: Vec<i32> =
        both.into_iter().map(|child| child.wait_with_output().unwrap().status.code().unwrap()).collect();
    assert_eq!(codes.iter().sum::<i32>(), 1, "one of them is refused: {codes:?}");
    assert!(store.file("same", "f0").exists());
    store.finish();
}

#[test]
fn a_slow_image_holds_up_no_other() {
    let store = Store::mapped();
    let silent = Server::start(|_| Answer::none().silence());
    let slow = format!("docker://{}/slow:1", silent.host());
    let mut waiting = store.command(&["create", &slow, "slow"]);
    let mut waiting = waiting.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    until("the registry is asked", || (!silent.requests().is_empty()).then_some(()));
    let image = store.tar("a.tar", "echo quick > file").display().to_string();
    store.create(&[], &image, "quick");
    store.run(&["clean"]).ok();
    assert!(waiting.try_wait().unwrap().is_none(), "it still waits");
    // What has been fetched by then is nobody's.
    waiting.kill().unwrap();
    waiting.wait().unwrap();
    drop(silent);
    store.finish();
}
