//! Whole pulls from a source that can lie.

use std::fs;
use std::sync::Arc;

use loam_model::{ContainerId, ErrorKind, Image, ImageSource, ImageStore, PullOptions, SnapshotRequest};
use loam_state::Database;

use super::*;
use crate::fixture::{Heard, Liar, Tar, is_root, leftovers, store};
use crate::hashing::sha256;
use crate::{SCHEMA, StoreConfig};

fn pull(store: &LayerStore, liar: &Liar, name: &str) -> Result<Image> {
    store.pull_from(liar, &ImageSource::Registry(name.to_owned()), &PullOptions::default(), &Heard::default())
}

fn layer(path: &str, data: &[u8]) -> Vec<u8> {
    Tar::default().directory("./", 0o755).file(path, data).end()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut encoder, bytes).expect("to memory");
    encoder.finish().expect("to memory")
}

fn container(fill: u8) -> ContainerId {
    ContainerId::from_random([fill; 32])
}

/// The lines of the table of layers.
fn layer_count(store: &LayerStore) -> i64 {
    store
        .database
        .read(|connection| connection.query_row("SELECT count(*) FROM layer", [], |row| row.get(0)))
        .expect("counts")
}

#[test]
fn an_image_is_pulled_named_resolved_and_removed() {
    if !is_root("an_image_is_pulled_named_resolved_and_removed") {
        return;
    }
    let root = tempfile::tempdir().expect("a temporary directory");
    let store = store(root.path());
    let tars = [layer("a", b"one"), layer("b", b"two"), layer("a", b"one")];
    let zstd = zstd::encode_all(&tars[1][..], 3).expect("to memory");
    let blobs =
        [(gzip(&tars[0]), sha256(&tars[0])), (zstd, sha256(&tars[1])), (tars[2].clone(), sha256(&tars[2]))];
    let liar = Liar::with(&blobs);
    let image = pull(&store, &liar, "fruit/plum").expect("pulls");
    assert_eq!(image.names, ["docker.io/fruit/plum:latest"]);
    assert_eq!((image.layers.len(), image.size), (3, 6), "a layer that is there twice counts once");
    assert_eq!(image.config.command, ["true"]);
    assert_eq!(sha256(&store.raw_config(&image.id).expect("there")), image.id);
    for word in ["fruit/plum", "docker.io/fruit/plum:latest", image.id.short(), &image.id.to_string()] {
        assert_eq!(store.resolve(word).expect(word).id, image.id);
    }
    assert_eq!(
        store.resolve("fruit/pear").expect_err("missing").to_string(),
        "there is no image `fruit/pear`"
    );
    assert_eq!(store.resolve(&image.id.hex()[..3]).expect_err("too short").kind(), ErrorKind::NotFound);
    store.tag(&image.id, "mine").expect("tags");
    let lines: Vec<Option<String>> = store.list().expect("lists").into_iter().map(|line| line.name).collect();
    assert_eq!(lines, [Some("docker.io/fruit/plum:latest".to_owned()), Some("mine:latest".to_owned())]);
    assert_eq!(leftovers(root.path()), [""; 0]);

    let fetched = liar.fetched.load(std::sync::atomic::Ordering::Relaxed);
    pull(&store, &liar, "fruit/plum").expect("pulls again");
    assert_eq!(liar.fetched.load(std::sync::atomic::Ordering::Relaxed), fetched, "nothing is fetched twice");

    let untagged = store.remove("mine", false).expect("untags");
    assert_eq!((untagged.untagged.as_slice(), untagged.deleted), (&["mine:latest".to_owned()][..], None));
    let removed = store.remove(image.id.short(), false).expect("removes");
    assert_eq!((removed.deleted, removed.layers.len()), (Some(image.id), 2));
    assert_eq!((layer_count(&store), store.list().expect("lists").len()), (0, 0));
    for place in ["layers", "blobs/sha256", "staging", "trash", "layer-locks"] {
        assert_eq!(fs::read_dir(root.path().join(place)).expect("there").count(), 0, "{place}");
    }
}

#[test]
fn a_lie_is_told_and_leaves_nothing() {
    if !is_root("a_lie_is_told_and_leaves_nothing") {
        return;
    }
    let tar = layer("a", &[b'x'; 100_000]);
    let other = layer("b", &[b'y'; 100_000]);
    let honest = || Liar::honest(std::slice::from_ref(&tar));
    let blob = sha256(&tar);
    let change = |lie: &dyn Fn(&mut Vec<u8>)| {
        let mut liar = honest();
        lie(liar.blobs.get_mut(&blob).expect("the layer"));
        liar
    };
    let zipped = gzip(&tar);
    let cut = {
        let mut liar = Liar::with(&[(zipped.clone(), sha256(&tar))]);
        liar.blobs.get_mut(&sha256(&zipped)).expect("the layer").truncate(zipped.len() / 2);
        liar
    };
    let bad_entry = Tar::default().file("fine", b"x").file("../evil", b"x").end();
    let cases = [
        ("other bytes", change(&|bytes| bytes[600] ^= 1), ErrorKind::Unavailable, "have the digest"),
        (
            "fewer bytes",
            change(&|bytes| bytes.truncate(5000)),
            ErrorKind::Unavailable,
            "5000 bytes came where",
        ),
        (
            "more bytes",
            change(&|bytes| bytes.extend([0; 2000])),
            ErrorKind::Unavailable,
            "more bytes came than",
        ),
        ("cut gzip", cut, ErrorKind::Unavailable, "bytes came where"),
        (
            "another diff id",
            Liar::with(&[(tar.clone(), sha256(&other))]),
            ErrorKind::Invalid,
            "not the diff id",
        ),
        ("an escape", Liar::honest(&[bad_entry]), ErrorKind::Invalid, "entry `../evil` leaves the layer"),
        ("no tar", Liar::honest(&[vec![7; 5000]]), ErrorKind::Invalid, "checksum"),
        ("xz", Liar::honest(&[b"\xfd7zXZ\0abc".to_vec()]), ErrorKind::Invalid, "compressed with xz"),
    ];
    for (case, liar, kind, cause) in cases {
        let root = tempfile::tempdir().expect("a temporary directory");
        let store = store(root.path());
        let failure = pull(&store, &liar, "x").expect_err(case);
        assert_eq!(failure.kind(), kind, "{case}: {}", failure.chain());
        let chain = failure.chain();
        assert!(chain.starts_with("layer `sha256:") && chain.contains(cause), "{case}: {chain}");
        assert_eq!(leftovers(root.path()), [""; 0], "{case}");
        assert_eq!((layer_count(&store), store.list().expect("lists").len()), (0, 0), "{case}");
        assert!(pull(&store, &honest(), "x").is_ok(), "{case}: works when the cause is gone");
    }
}

#[test]
fn one_bad_layer_leaves_none_of_the_good_ones() {
    if !is_root("one_bad_layer_leaves_none_of_the_good_ones") {
        return;
    }
    let root = tempfile::tempdir().expect("a temporary directory");
    let store = store(root.path());
    let mut layers: Vec<Vec<u8>> = (0..6).map(|i| layer(&format!("f{i}"), &[i; 50_000])).collect();
    layers.push(Tar::default().file("/absolute", b"x").end());
    let failure = pull(&store, &Liar::honest(&layers), "x").expect_err("a bad layer");
    assert!(failure.chain().ends_with("entry `/absolute` has an absolute path"), "{}", failure.chain());
    assert_eq!((leftovers(root.path()), layer_count(&store)), (vec![], 0));
    assert!(!root.path().join("layers").exists());
}

#[test]
fn a_bomb_is_stopped_by_the_limit() {
    if !is_root("a_bomb_is_stopped_by_the_limit") {
        return;
    }
    let root = tempfile::tempdir().expect("a temporary directory");
    let database = Database::open(&root.path().join("loam.db"), &[SCHEMA]).expect("a database");
    let config = StoreConfig { unpacked_limit: Some(1 << 20), ..StoreConfig::new(root.path()) };
    let store = LayerStore::open(config, database);
    let tar = layer("zeros", &vec![0; 8 << 20]);
    let failure = pull(&store, &Liar::with(&[(gzip(&tar), sha256(&tar))]), "x").expect_err("too large");
    assert_eq!(failure.kind(), ErrorKind::Exhausted);
    assert!(failure.chain().ends_with("it holds more than 1048576 bytes unpacked"), "{}", failure.chain());
    assert_eq!(leftovers(root.path()), [""; 0]);
}

#[test]
fn many_pulls_at_once_fetch_a_layer_once() {
    if !is_root("many_pulls_at_once_fetch_a_layer_once") {
        return;
    }
    let root = tempfile::tempdir().expect("a temporary directory");
    let layers: Vec<Vec<u8>> = (0..5).map(|i| layer(&format!("f{i}"), &vec![i; 300_000])).collect();
    let liar = Liar::honest(&layers);
    let backwards = Liar::honest(&layers.iter().rev().cloned().collect::<Vec<_>>());
    std::thread::scope(|scope| {
        for pulled in [&liar, &backwards, &liar, &backwards] {
            // A store and a database of its own each, as processes have.
            let root = root.path();
            scope.spawn(move || pull(&store(root), pulled, "x").expect("pulls"));
        }
    });
    let fetched = [&liar, &backwards].map(|l| l.fetched.load(std::sync::atomic::Ordering::Relaxed));
    // Besides the layers, each pull may fetch its configuration.
    assert!(fetched.iter().sum::<usize>() <= 5 + 4, "{fetched:?}");
    assert_eq!((layer_count(&store(root.path())), leftovers(root.path())), (5, vec![]));
}

#[test]
fn a_layer_takes_from_those_below_what_its_archive_leaves_out() {
    if !is_root("a_layer_takes_from_those_below_what_its_archive_leaves_out") {
        return;
    }
    use std::os::unix::fs::MetadataExt;
    let root = tempfile::tempdir().expect("a temporary directory");
    let store = store(root.path());
    let base = Tar::default()
        .raw(b'5', b"./", b"", b"", |h| h.set_mode(0o751))
        .raw(b'5', b"etc", b"", b"", |h| {
            h.set_mode(0o700);
            h.set_uid(12);
        })
        .raw(b'0', b"etc/original", b"", b"text", |h| h.set_gid(34))
        .end();
    let upper = Tar::default()
        .file("etc/new", b"x")
        .link("etc/copy", "etc/original")
        .link("etc/copy2", "etc/original")
        .end();
    let image = pull(&store, &Liar::honest(&[base, upper.clone()]), "x").expect("pulls");
    let id = container(1);
    store
        .create_snapshot(&SnapshotRequest { container: &id, image: &image.id, ephemeral: true })
        .expect("snapshot");
    let plan = store.rootfs(&id, None).expect("a plan");
    let at = |name: &str| fs::symlink_metadata(plan.lower[0].join(name)).expect(name);
    assert_eq!((at("").mode() & 0o7777, at("").mtime()), (0o751, 1_000_000_000));
    assert_eq!((at("etc").mode() & 0o7777, at("etc").uid(), at("etc").mtime()), (0o700, 12, 1_000_000_000));
    assert_eq!(
        (at("etc/copy").gid(), at("etc/copy").nlink(), at("etc/copy").mtime()),
        (34, 2, 1_000_000_000)
    );
    assert_eq!(fs::read(plan.lower[0].join("etc/copy2")).expect("copied"), b"text");
    let upper_root = fs::metadata(plan.upper.expect("writable")).expect("there");
    assert_eq!((upper_root.mode() & 0o7777, upper_root.mtime()), (0o751, 1_000_000_000));

    let root = tempfile::tempdir().expect("a temporary directory");
    let failure =
        pull(&crate::fixture::store(root.path()), &Liar::honest(&[upper]), "x").expect_err("no target");
    assert!(
        failure.chain().contains("a hard link to `etc/original`, which is no file"),
        "{}",
        failure.chain()
    );
    assert_eq!(leftovers(root.path()), [""; 0]);
}

#[test]
fn snapshots_hold_their_image() {
    if !is_root("snapshots_hold_their_image") {
        return;
    }
    let root = tempfile::tempdir().expect("a temporary directory");
    let store = store(root.path());
    let image = pull(&store, &Liar::honest(&[layer("a", b"x"), layer("b", b"y")]), "x").expect("pulls");
    let (one, two) = (container(1), container(2));
    let request = SnapshotRequest { container: &one, image: &image.id, ephemeral: false };
    store.create_snapshot(&request).expect("makes");
    let plan = store.rootfs(&one, None).expect("a plan");
    fs::write(plan.upper.as_ref().expect("writable").join("written"), vec![1; 10_000]).expect("writes");
    store.create_snapshot(&request).expect("is there already");
    assert!(plan.upper.as_ref().expect("writable").join("written").exists());
    assert!(store.snapshot_usage(&one).expect("counts") >= 10_000);
    assert_eq!((plan.lower.len(), plan.volatile), (2, false));
    assert!(plan.lower[0].join("b").exists() && plan.lower[1].join("a").exists());
    store
        .create_snapshot(&SnapshotRequest { container: &two, image: &image.id, ephemeral: true })
        .expect("makes");
    assert!(store.rootfs(&two, None).expect("a plan").volatile);
    assert_eq!(store.snapshots().expect("lists"), [one.clone(), two.clone()]);

    let conflict = store.remove("x", false).expect_err("in use");
    assert_eq!(conflict.kind(), ErrorKind::Conflict);
    assert_eq!(conflict.to_string(), "the image `x` is in use by container `010101010101`, `020202020202`");
    let removed = store.remove("x", true).expect("by force");
    assert_eq!((removed.untagged.len(), removed.deleted), (1, None));
    assert!(store.rootfs(&one, None).is_ok());
    for name in ["work/work/incompat/volatile", "work/work"] {
        fs::create_dir_all(root.path().join("snapshots").join(two.as_str()).join(name))
            .expect("as overlayfs does");
    }
    store.remove_snapshot(&two).expect("drops");
    store.remove_snapshot(&two).expect("is gone already");
    assert_eq!(layer_count(&store), 2);
    store.remove_snapshot(&one).expect("drops");
    assert_eq!((layer_count(&store), store.list().expect("lists").len()), (0, 0));
    assert_eq!(fs::read_dir(root.path().join("snapshots")).expect("there").count(), 0);
    assert_eq!(fs::read_dir(root.path().join("layers")).expect("there").count(), 0);
    assert_eq!(store.rootfs(&one, None).expect_err("gone").kind(), ErrorKind::NotFound);
}

#[test]
fn an_image_without_layers_and_one_with_a_layer_twice_can_be_mounted() {
    if !is_root("an_image_without_layers_and_one_with_a_layer_twice_can_be_mounted") {
        return;
    }
    let root = tempfile::tempdir().expect("a temporary directory");
    let store = store(root.path());
    for (fill, layers, count) in
        [(3, vec![], 1), (4, vec![layer("a", b""), layer("b", b""), layer("a", b"")], 2)]
    {
        let image = pull(&store, &Liar::honest(&layers), "x").expect("pulls");
        let id = container(fill);
        store
            .create_snapshot(&SnapshotRequest { container: &id, image: &image.id, ephemeral: true })
            .expect("makes");
        let plan = store.rootfs(&id, None).expect("a plan");
        assert_eq!(plan.lower.len(), count);
        assert!(plan.lower.iter().all(|lower| lower.is_dir()));
    }
    assert_eq!(store.list().expect("lists").iter().filter(|line| line.name.is_none()).count(), 1);
}

#[test]
fn a_tar_is_imported_twice_and_stored_once() {
    if !is_root("a_tar_is_imported_twice_and_stored_once") {
        return;
    }
    let root = tempfile::tempdir().expect("a temporary directory");
    let store = store(root.path());
    let tar = gzip(&layer("bin/x", b"#!"));
    let config = loam_model::ImageConfig { command: vec!["/bin/x".to_owned()], ..Default::default() };
    let image = store.import(&mut &tar[..], "mine:1", &config).expect("imports");
    assert_eq!((image.names.as_slice(), &image.config), (&["mine:1".to_owned()][..], &config));
    let again =
        store.import(&mut &tar[..], "localhost/other", &loam_model::ImageConfig::default()).expect("imports");
    assert_ne!(image.id, again.id);
    assert_eq!((layer_count(&store), leftovers(root.path())), (1, vec![]));
    let failure = store.import(&mut &tar[..20], "cut", &config).expect_err("cut short");
    assert!(failure.chain().starts_with("the root file system can't be unpacked: "), "{}", failure.chain());
    assert_eq!(leftovers(root.path()), [""; 0]);
}

#[test]
fn what_a_killed_process_left_is_swept_and_what_a_living_one_holds_is_not() {
    if !is_root("what_a_killed_process_left_is_swept_and_what_a_living_one_holds_is_not") {
        return;
    }
    let root = tempfile::tempdir().expect("a temporary directory");
    let store = Arc::new(store(root.path()));
    let image = pull(&store, &Liar::honest(&[layer("a", b"x")]), "x").expect("pulls");
    let held = crate::staging::StagedLayer::new(&store.places).expect("stages");
    let mut published = crate::staging::StagedLayer::new(&store.places).expect("stages");
    published.publish().expect("publishes");
    for garbage in ["staging/dead/diff/x", "layers/dead2/diff", "trash/old/deep"] {
        fs::create_dir_all(root.path().join(garbage)).expect("garbage");
    }
    store.sweep();
    let exists = |path: String| root.path().join(path).exists();
    assert!(exists(format!("staging/{}", held.id())) && exists(format!("layers/{}", published.id())));
    assert!(!exists("staging/dead".into()) && !exists("layers/dead2".into()) && !exists("trash/old".into()));
    drop((held, published));
    assert_eq!(leftovers(root.path()), [""; 0]);
    assert_eq!(fs::read_dir(root.path().join("layers")).expect("there").count(), 1);
    assert!(store.resolve(image.id.short()).is_ok());
}

#[test]
fn a_removal_during_a_pull_makes_it_go_round_again() {
    if !is_root("a_removal_during_a_pull_makes_it_go_round_again") {
        return;
    }
    let root = tempfile::tempdir().expect("a temporary directory");
    let store = store(root.path());
    let (base, upper) = (layer("a", b"x"), layer("b", b"y"));
    pull(&store, &Liar::honest(std::slice::from_ref(&base)), "base").expect("pulls");
    let liar = Liar::honest(&[base, upper]);
    // The base is there when the pull looks, and is removed before it commits.
    struct Meddler<'a>(&'a LayerStore, std::sync::Once);
    impl PullProgress for Meddler<'_> {
        fn layer(&self, _: &Digest, progress: loam_model::LayerProgress) {
            if matches!(progress, loam_model::LayerProgress::Started { .. }) {
                self.1.call_once(|| drop(self.0.remove("base", false).expect("removes")));
            }
        }
        fn note(&self, _: &str) {}
    }
    let meddler = Meddler(&store, std::sync::Once::new());
    let source = ImageSource::Registry("whole".to_owned());
    let image = store.pull_from(&liar, &source, &PullOptions::default(), &meddler).expect("pulls");
    assert_eq!((image.layers.len(), layer_count(&store)), (2, 2));
    for diff_id in &image.layers {
        let row = store.database.read(|c| catalog::layer(c, diff_id)).expect("reads").expect("recorded");
        assert!(store.places.diff(&row.directory).is_dir());
    }
}

#[test]
fn a_built_in_image_is_installed_once() {
    if !is_root("a_built_in_image_is_installed_once") {
        return;
    }
    let liar = Liar::honest(&[layer("hello", b"#!")]);
    let manifest = liar.top().expect("a manifest");
    let index = serde_json::json!({ "schemaVersion": 2, "manifests": [
        { "mediaType": manifest.media_type, "digest": manifest.digest, "size": manifest.bytes.len() },
    ]});
    let mut tar = Tar::default()
        .file("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#)
        .file("index.json", index.to_string().as_bytes())
        .file(&format!("blobs/sha256/{}", manifest.digest.hex()), &manifest.bytes);
    for (digest, bytes) in &liar.blobs {
        tar = tar.file(&format!("./blobs/sha256/{}", digest.hex()), bytes);
    }
    let tar = tar.end();
    let root = tempfile::tempdir().expect("a temporary directory");
    let store = store(root.path());
    let image = store.install_builtin(&tar, "hello").expect("installs");
    assert_eq!(image.names, ["hello:latest"]);
    assert_eq!(store.resolve("hello").expect("there").id, image.id);
    assert_eq!(store.install_builtin(&tar, "hello").expect("is there"), image);
    let options = PullOptions { only_if_missing: true, ..PullOptions::default() };
    let nowhere = ImageSource::OciLayout { directory: "/nonexistent".into(), tag: None };
    let options = PullOptions { name: Some("hello".to_owned()), ..options };
    assert_eq!(store.pull(&nowhere, &options, &Heard::default()).expect("is there"), image);
}
