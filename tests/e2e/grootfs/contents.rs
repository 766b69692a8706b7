//! What comes out of layers.

use std::fs;
use std::os::unix::fs::MetadataExt as _;

use loam_testkit::hostile::Image;
use loam_tests::grootfs::{Layout, MAPPED_ROOT, Store};
use loam_tests::{Need, Ran, needs};

#[test]
fn files_keep_modes_times_and_owners() {
    let store = Store::mapped();
    let script = "echo x > setuid; chmod 4755 setuid; mkdir -m 555 ro; touch -d @1000000000 old; \
                  echo y > readonly; chmod 444 readonly; ln -s /etc/passwd link; mkfifo fifo; \
                  mkdir -p home/u; chown 1000:1000 home/u; chmod 2750 home/u; touch ro/inside";
    let image = store.tar("a.tar", script).display().to_string();
    store.create(&[], &image, "a");
    let status = |name: &str| fs::symlink_metadata(store.file("a", name)).unwrap();
    assert_eq!((status("setuid").mode() & 0o7777, status("setuid").uid()), (0o4755, MAPPED_ROOT));
    assert_eq!((status("ro").mode() & 0o777, status("readonly").mode() & 0o777), (0o555, 0o444));
    assert_eq!(status("old").mtime(), 1_000_000_000);
    assert_eq!((status("home/u").uid(), status("home/u").mode() & 0o7777), (1000, 0o2750));
    assert!(status("link").is_symlink() && store.file("a", "ro/inside").exists());
    store.finish();
}

#[test]
fn layers_cover_each_other_as_they_say() {
    let store = Store::mapped();
    let low = store.tar(
        "low.tar",
        "mkdir d o k; echo l > d/gone; echo l > d/stays; echo l > o/hidden; echo l > file; ln -s file was-link; \
         echo l > k/f",
    );
    let high = store.tar(
        "high.tar",
        "mkdir d o; touch d/.wh.gone o/.wh..wh..opq .wh.k; echo h > o/new; rm -f file; ln -s d/stays file; \
         echo h > was-link",
    );
    let image = Layout::default().layer(&fs::read(low).unwrap()).layer(&fs::read(high).unwrap());
    let image = image.write(&store.host().scratch().join("l"));
    store.create(&[], &image, "a");
    let exists = |name: &str| fs::symlink_metadata(store.file("a", name)).is_ok();
    assert!(!exists("d/gone") && exists("d/stays"));
    assert!(!exists("o/hidden") && exists("o/new") && !exists("k"));
    assert_eq!(fs::read_link(store.file("a", "file")).unwrap().to_str(), Some("d/stays"));
    assert_eq!(fs::read_to_string(store.file("a", "was-link")).unwrap(), "h\n");
    store.finish();
}

#[test]
fn hostile_and_careless_tars_stay_within_the_image() {
    let store = Store::mapped();
    let write = |name: &str, bytes: &[u8]| {
        let path = store.host().scratch().join(name);
        fs::write(&path, bytes).unwrap();
        path.display().to_string()
    };
    // Directories that are not listed are made.
    let careless = write("careless.tar", &Image::tar(&[("a/b/c/file", b"deep")]));
    store.create(&[], &careless, "careless");
    assert_eq!(fs::read_to_string(store.file("careless", "a/b/c/file")).unwrap(), "deep");
    assert_eq!(fs::metadata(store.file("careless", "a/b")).unwrap().uid(), MAPPED_ROOT);
    let outside = store.host().scratch().join("escaped");
    let up = format!("{}{}", "../".repeat(12), outside.display());
    let hostile = write("hostile.tar", &Image::tar(&[(&up, b"out")]));
    let ran = store.run(&["create", &hostile, "hostile"]);
    assert!(!outside.exists(), "{ran:?}");
    assert!(ran.code == 1 || store.file("hostile", "").exists(), "{ran:?}");
    store.refuses(&["create", &write("no.tar", b"this is no archive at all"), "no"], "can't be unpacked");
    let left = store.host().sh(&format!("ls {}/staging | wc -l", store.directory().display()));
    assert_eq!(left.ok(), "0");
    store.finish();
}

#[test]
fn an_image_may_be_larger_than_memory() {
    if !needs::met(&[Need::NativeProcessor]) {
        return;
    }
    let store = Store::mapped();
    let image = store.tar("large.tar", "head -c 300000000 /dev/urandom > large").display().to_string();
    let line = format!(
        "prlimit --data=134217728 {} grootfs --store {} create {image} large",
        std::env::var("LOAM_PROGRAMS").unwrap() + "/loam",
        store.directory().display()
    );
    let ran: Ran = store.host().sh(&line);
    assert!(ran.ok().starts_with('{'), "{ran:?}");
    assert_eq!(fs::metadata(store.file("large", "large")).unwrap().len(), 300_000_000);
    store.finish();
}

#[test]
fn what_is_not_what_it_claims_leaves_nothing() {
    let store = Store::mapped();
    let tar = Image::tar(&[("file", b"contents")]);
    let honest = Layout::default().layer(&tar).write(&store.host().scratch().join("honest"));
    let digest = loam_testkit::hostile::digest(&tar);
    let other = loam_testkit::hostile::digest(b"other");
    let kind = "application/vnd.oci.image.layer.v1.tar";
    let claim =
        |digest: &str, size: usize| serde_json::json!({ "mediaType": kind, "digest": digest, "size": size });
    for (name, descriptor, diff_id, said) in [
        ("less", claim(&digest, tar.len() - 512), &digest, "more bytes came"),
        ("more", claim(&digest, tar.len() + 512), &digest, "bytes came where"),
        ("digest", claim(&other, tar.len()), &digest, "have the digest"),
        ("diff-id", claim(&digest, tar.len()), &other, "not the diff id"),
    ] {
        let layout = Layout::default().claimed(&descriptor, diff_id, Some(&tar));
        let image = layout.write(&store.host().scratch().join(name));
        store.refuses(&["create", &image, name], said);
        assert_eq!(store.layers(), 0, "{name}");
        assert!(!store.file(name, "").exists(), "{name}");
    }
    // Taken on trust, the same is kept apart from what is verified.
    let lie = Layout::default().claimed(&claim(&other, 5), &digest, Some(&Image::tar(&[("file", b"a lie")])));
    let lie = lie.write(&store.host().scratch().join("lie"));
    store.create(&["--skip-layer-validation"], &lie, "lie");
    assert_eq!(fs::read_to_string(store.file("lie", "file")).unwrap(), "a lie");
    store.create(&[], &honest, "honest");
    assert_eq!(fs::read_to_string(store.file("honest", "file")).unwrap(), "contents");
    assert_eq!(store.layers(), 2);
    store.finish();
}
