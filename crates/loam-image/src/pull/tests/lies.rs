//! Sources that lie, and layers that are not what they should be.

use loam_model::{ErrorKind, ImageStore};
use loam_state::Database;

use super::{gzip, layer, layer_count, pull};
use crate::fixture::{Liar, Tar, config, is_root, leftovers, store};
use crate::hashing::sha256;
use crate::{LayerStore, SCHEMA, StoreConfig};

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
    let config = StoreConfig { unpacked_limit: Some(1 << 20), ..config(root.path()) };
    let store = LayerStore::open(config, database);
    let tar = layer("zeros", &vec![0; 8 << 20]);
    let failure = pull(&store, &Liar::with(&[(gzip(&tar), sha256(&tar))]), "x").expect_err("too large");
    assert_eq!(failure.kind(), ErrorKind::Exhausted);
    assert!(failure.chain().ends_with("it takes more than 1048576 bytes unpacked"), "{}", failure.chain());
    assert_eq!(leftovers(root.path()), [""; 0]);
}

#[test]
fn copies_for_hard_links_into_lower_layers_are_charged() {
    if !is_root("copies_for_hard_links_into_lower_layers_are_charged") {
        return;
    }
    let root = tempfile::tempdir().expect("a temporary directory");
    let database = Database::open(&root.path().join("loam.db"), &[SCHEMA]).expect("a database");
    let config = StoreConfig { unpacked_limit: Some(8 << 20), ..config(root.path()) };
    let store = LayerStore::open(config, database);
    // One file of a mebibyte with many names, and as many links to those names in the layer above.
    let names =
        (0..20).fold(Tar::default().file("f", &vec![1; 1 << 20]), |tar, i| tar.link(&format!("n{i}"), "f"));
    let links = (0..20).fold(Tar::default(), |tar, i| tar.link(&format!("l{i}"), &format!("n{i}")));
    let failure = pull(&store, &Liar::honest(&[names.end(), links.end()]), "x").expect_err("20 copies");
    assert_eq!(failure.kind(), ErrorKind::Exhausted);
    assert!(failure.chain().ends_with("it takes more than 8388608 bytes unpacked"), "{}", failure.chain());
    assert_eq!((leftovers(root.path()), layer_count(&store)), (vec![], 0));
}

#[test]
fn what_has_no_end_is_refused_while_it_is_imported() {
    if !is_root("what_has_no_end_is_refused_while_it_is_imported") {
        return;
    }
    let root = tempfile::tempdir().expect("a temporary directory");
    let store = store(root.path());
    let tar = layer("a", b"x");
    let mut endless = std::io::Read::chain(&tar[..], std::io::repeat(0));
    let failure = store.import(&mut endless, "x", &loam_model::ImageConfig::default()).expect_err("endless");
    assert_eq!(
        failure.chain(),
        "the root file system can't be unpacked: the archive is malformed: more than 1048576 bytes follow its end"
    );
    assert_eq!(leftovers(root.path()), [""; 0]);
}
