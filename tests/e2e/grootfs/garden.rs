//! What Garden makes of `preloaded+layer`: a stack that lies on the cell, and a droplet that is fetched.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, symlink};

use loam_testkit::hostile::{Answer, Image, Server, digest};
use loam_testkit::registry::Registry;
use loam_tests::grootfs::{Layout, MAPPED_ROOT, Store};
use loam_tests::{Need, needs};
use serde_json::{Value, json};

/// The layout that Guardian writes: the stack's digest is made up, its blob a link to the tar.
fn layout(store: &Store, name: &str, stack: &std::path::Path, droplet: &Value, claimed: &str) -> String {
    let directory = store.host().scratch().join(name);
    let invented = digest(stack.display().to_string().as_bytes());
    let base = json!({ "mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": invented });
    let layout = Layout::default().claimed(&base, &invented, None).claimed(droplet, claimed, None);
    let image = layout.write_as_garden(&directory);
    symlink(stack, directory.join("blobs/sha256").join(&invented["sha256:".len()..])).unwrap();
    image
}

fn droplet(url: &str, digest: &str) -> Value {
    json!({
        "mediaType": "application/vnd.oci.image.layer.v1.tar+gzip", "digest": digest, "urls": [url],
        "annotations": { "org.cloudfoundry.experimental.image.base-directory": "/home/vcap" },
    })
}

/// A droplet, compressed by gzip.
fn compressed(store: &Store, file: &str, text: &str) -> Vec<u8> {
    let tar = store
        .tar(&format!("{file}.tar"), &format!("mkdir app; echo {text} > app/{file}; chown 2000:2000 app"));
    // As droplets are: nothing is said of the directory itself.
    store.host().sh(&format!("tar -C {0}.d -cf {0} app && gzip -k {0}", tar.display())).ok();
    fs::read(format!("{}.gz", tar.display())).unwrap()
}

#[test]
fn a_droplet_lies_below_its_directory_on_the_stack() {
    let store = Store::mapped();
    let stack =
        store.tar("stack.tar", "mkdir -p home/vcap bin; chown 2000:2000 home/vcap; chmod 750 home/vcap");
    let blob = compressed(&store, "one", "droplet");
    let claimed = digest(&blob);
    let served = blob.clone();
    let server = Server::start(move |_| Answer::new(200).body(served.clone()));
    let url = format!("http://{}/droplets/1?signature=secret", server.host());
    let image = layout(&store, "garden", &stack, &droplet(&url, &claimed), &claimed);
    store.refuses(&["create", &image, "no"], "");
    store.create(&["--skip-layer-validation"], &image, "a");
    assert_eq!(fs::read_to_string(store.file("a", "home/vcap/app/one")).unwrap(), "droplet\n");
    assert_eq!(fs::metadata(store.file("a", "home")).unwrap().uid(), MAPPED_ROOT);
    let home = fs::metadata(store.file("a", "home/vcap")).unwrap();
    assert_eq!((home.uid(), fs::metadata(store.file("a", "home/vcap/app")).unwrap().uid()), (2000, 2000));
    // Both layers are there by now.
    let asked = server.requests().len();
    store.create(&["--skip-layer-validation"], &image, "b");
    assert_eq!((server.requests().len(), store.layers()), (asked, 2));

    // Another droplet brings only itself; one for a directory that the stack lacks is refused.
    let mut elsewhere = droplet(&url, &claimed);
    elsewhere["annotations"]["org.cloudfoundry.experimental.image.base-directory"] = "/no/such".into();
    let image = layout(&store, "elsewhere", &stack, &elsewhere, &claimed);
    let create = |image: &str| store.run(&["create", "--skip-layer-validation", image, "c"]);
    assert!(create(&image).stdout.contains("base directory not found in parent layer"));
    elsewhere["annotations"]["org.cloudfoundry.experimental.image.base-directory"] = "/../etc".into();
    let image = layout(&store, "above", &stack, &elsewhere, &claimed);
    assert!(create(&image).stdout.contains("can't be unpacked below"));
    assert_eq!(store.layers(), 2);
    store.finish();
}

#[test]
fn a_layer_elsewhere_is_verified_and_may_want_a_certificate() {
    if !needs::met(&[Need::NativeProcessor]) {
        return;
    }
    let store = Store::mapped();
    let tar = Image::tar(&[("file", b"remote")]);
    let registry = Registry::with_client_certificates();
    // Any file below the registry's own paths will do: it is the handshake that counts.
    let (certificate, key) = registry.client_certificate();
    let certificates = store.host().scratch().join("certificates");
    fs::create_dir(&certificates).unwrap();
    let layer = |url: &str, size: usize| {
        let kind = "application/vnd.oci.image.layer.v1.tar";
        let descriptor = json!({ "mediaType": kind, "digest": digest(&tar), "size": size, "urls": [url] });
        Layout::default().claimed(&descriptor, &digest(&tar), None)
    };
    let served = tar.clone();
    let server = Server::start(move |_| Answer::new(200).body(served.clone()));
    let url = format!("http://{}/layer", server.host());
    let good = layer(&url, tar.len()).write(&store.host().scratch().join("good"));
    store.create(&[], &good, "a");
    assert_eq!(fs::read_to_string(store.file("a", "file")).unwrap(), "remote");

    let secured = format!("https://{}/v2/", registry.address());
    let image = layer(&secured, 2).write(&store.host().scratch().join("secured"));
    let config = store.host().scratch().join("config.yml");
    fs::write(
        &config,
        format!("create:\n  remote_layer_client_certificates_path: {}\n", certificates.display()),
    )
    .unwrap();
    let create = || {
        let mut command = store.host().grootfs_command(&["--config", config.to_str().unwrap()]);
        let store_path = store.directory().display().to_string();
        command.args(["--store", &store_path, "create", "--skip-layer-validation", &image, "b"]);
        loam_tests::Ran::of(&command.output().unwrap())
    };
    store.run(&["delete", "a"]).ok();
    store.run(&["clean"]).ok();
    fs::copy(registry.authority(), certificates.join("ca.crt")).unwrap();
    let refused = create();
    assert_eq!(refused.code, 1, "a certificate of one's own is wanted: {refused:?}");
    fs::copy(certificate, certificates.join("own.cert")).unwrap();
    fs::copy(key, certificates.join("own.key")).unwrap();
    // The registry answers `{}`, which is no tar, but it answers.
    let answered = create();
    assert!(answered.stdout.contains("can't be unpacked"), "{answered:?}");
    assert!(!answered.stdout.contains("certificate"), "{answered:?}");
    store.finish();
}
