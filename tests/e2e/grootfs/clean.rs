//! Cleaning, thresholds, metrics.

use std::fs;
use std::net::UdpSocket;

use loam_tests::grootfs::{Layout, Store};
use loam_tests::{Ran, until};

fn images(store: &Store) -> [String; 2] {
    ["one", "two"].map(|name| {
        let tar = store
            .tar(&format!("{name}.tar"), &format!("echo {name} > f; head -c 1000000 /dev/zero > z{name}"));
        Layout::default().layer(&fs::read(tar).unwrap()).write(&store.host().scratch().join(name))
    })
}

#[test]
fn what_no_image_needs_goes_once_the_threshold_is_reached() {
    let store = Store::mapped();
    let [one, two] = images(&store);
    store.create(&[], &one, "a");
    store.create(&["--disk-limit-size-bytes", "9000000"], &two, "b");
    store.run(&["delete", "a"]).ok();
    // What a command that was killed has left goes in any case.
    fs::create_dir(store.directory().join("layers/killed")).unwrap();
    assert_eq!(store.layers(), 3);
    // Two layers of a megabyte, and eight of limit.
    let clean = |bytes: &str| store.run(&["clean", "--threshold-bytes", bytes]).ok().to_owned();
    assert_eq!(clean("11000000"), "threshold not reached: skipping clean");
    assert_eq!(store.layers(), 2);
    assert_eq!(clean("9500000"), "clean completed");
    assert_eq!(store.layers(), 1);
    assert_eq!(fs::read_to_string(store.file("b", "f")).unwrap(), "two\n");
    store.run(&["delete", "b"]).ok();
    assert_eq!(store.run(&["clean"]).ok(), "clean completed");
    assert_eq!(store.layers(), 0);
    store.run(&["generate-volume-size-metadata"]).ok();
    store.finish();
}

#[test]
fn a_create_cleans_up_behind_itself_and_says_so_in_a_file() {
    let store = Store::mapped();
    let [one, two] = images(&store);
    store.create(&[], &one, "a");
    store.run(&["delete", "a"]).ok();
    let log = store.host().scratch().join("clean.log");
    let config = store.host().scratch().join("config.yml");
    let text = format!(
        "store: {}\nlog_level: info\ncreate:\n  with_clean: true\n  clean_log_file: {}\nclean:\n  \
         threshold_bytes: 0\ninit:\n  store_size_bytes: 12345\n",
        store.directory().display(),
        log.display()
    );
    fs::write(&config, text).unwrap();
    let run = |words: &[&str]| {
        let mut command = store.host().grootfs_command(&["--config", config.to_str().unwrap()]);
        Ran::of(&command.args(words).output().unwrap())
    };
    assert!(run(&["create", &two, "b"]).ok().starts_with('{'));
    until("the layer is gone", || (store.layers() == 1).then_some(()));
    until("the log is written", || {
        fs::read_to_string(&log).is_ok_and(|text| text.contains("grootfs.clean.removed")).then_some(())
    });
    assert_eq!(run(&["capacity"]).ok(), r#"{"capacity":12345}"#);
    assert_eq!(store.run(&["capacity"]).ok(), r#"{"capacity":0}"#);
    store.create(&["--without-clean"], &one, "c");
    store.finish();
}

#[test]
fn figures_go_to_the_metron_agent() {
    let store = Store::mapped();
    let [one, _] = images(&store);
    let agent = UdpSocket::bind("127.0.0.1:0").unwrap();
    agent.set_read_timeout(Some(std::time::Duration::from_secs(20))).unwrap();
    let endpoint = agent.local_addr().unwrap().to_string();
    store.run(&["--metron-endpoint", &endpoint, "create", &one, "a"]).ok();
    store.run(&["--metron-endpoint", &endpoint, "stats", "a"]).ok();
    let mut heard = String::new();
    for _ in 0..6 {
        let mut datagram = [0; 500];
        let length = agent.recv(&mut datagram).unwrap();
        heard += &String::from_utf8_lossy(&datagram[..length]);
    }
    for name in ["ImageCreationTime", "UsedLayersSize", "CommittedQuotaInBytes", "ImageStatsTime"] {
        assert!(heard.contains(name), "no {name}: {heard}");
    }
    // Nobody has to listen.
    store.run(&["--metron-endpoint", "127.0.0.1:1", "stats", "a"]).ok();
    store.finish();
}
