//! The reading rules, one by one.

use std::fs;
use std::path::Path;

use super::*;

fn parse(text: &str) -> Result<NetworkList, ConflistError> {
    NetworkList::parse(text.to_owned())
}

/// A directory with these files.
fn directory(files: &[(&str, &str)]) -> tempfile::TempDir {
    let directory = tempfile::tempdir().expect("a temporary directory");
    for (name, text) in files {
        let path = directory.path().join(name);
        fs::create_dir_all(path.parent().expect("it has one")).expect("writable");
        fs::write(path, text).expect("writable");
    }
    directory
}

fn found(directory: &tempfile::TempDir, name: &str) -> Option<NetworkList> {
    find(directory.path(), name).expect("readable").map(|(_, list)| list)
}

fn kinds(list: &NetworkList) -> Vec<&str> {
    list.plugins.iter().map(kind).collect()
}

#[test]
fn hostile_and_broken_lists_are_refused() {
    for bad in [
        "",
        "[]",
        r#"{"name":"n"}"#,
        r#"{"name":"n","plugins":[]}"#,
        r#"{"name":"n","plugins":{}}"#,
        r#"{"name":"n","plugins":[{}]}"#,
        r#"{"name":"n","plugins":[{"type":"../../bin/sh"}]}"#,
        r#"{"name":"../n","plugins":[{"type":"bridge"}]}"#,
        r#"{"name":7,"plugins":[{"type":"bridge"}]}"#,
        r#"{"plugins":[{"type":"bridge"}]}"#,
        r#"{"name":"n","cniVersion":"7.0.0","plugins":[{"type":"bridge"}]}"#,
        r#"{"name":"n","cniVersion":1,"plugins":[{"type":"bridge"}]}"#,
        r#"{"name":"n","cniVersions":["7.0.0"],"plugins":[{"type":"bridge"}]}"#,
        r#"{"name":"n","cniVersions":["1.0.0","one"],"plugins":[{"type":"bridge"}]}"#,
        r#"{"name":"n","cniVersions":["1.0.0",1],"plugins":[{"type":"bridge"}]}"#,
        r#"{"name":"n","disableCheck":"maybe","plugins":[{"type":"bridge"}]}"#,
        r#"{"name":"n","disableGC":1,"plugins":[{"type":"bridge"}]}"#,
    ] {
        assert!(parse(bad).is_err(), "{bad}");
    }
}

#[test]
fn the_newest_known_version_is_taken() {
    let text = r#"{"name":"n","cniVersion":"0.3.1","cniVersions":["0.4.0","1.1.0","7.0.0"],
                   "plugins":[{"type":"bridge","capabilities":{"mac":true,"ips":false}}]}"#;
    let list = parse(text).expect("valid");
    assert_eq!(list.version, Version::V1_1_0);
    assert!(list.has_capability("mac") && !list.has_capability("ips"));
    assert_eq!(list.capabilities(), ["mac"]);
    let only = r#"{"name":"n","cniVersions":["0.3.0","0.4.0"],"plugins":[{"type":"bridge"}]}"#;
    assert_eq!(parse(only).expect("valid").version, Version::V0_4_0);
    assert_eq!(parse(r#"{"name":"n","plugins":[{"type":"x"}]}"#).expect("valid").version, Version::V0_1_0);
}

#[test]
fn switches_are_read_as_words_too() {
    let flags = |check: &str, gc: &str| {
        let text = format!(
            r#"{{"name":"n","disableCheck":{check},"disableGC":{gc},"plugins":[{{"type":"bridge"}}]}}"#
        );
        let list = parse(&text).expect("valid");
        (list.disable_check, list.disable_gc)
    };
    assert_eq!(flags("true", "false"), (true, false));
    assert_eq!(flags(r#""TRUE""#, r#""False""#), (true, false));
    assert_eq!(flags("null", r#""true""#), (false, true));
}

#[test]
fn a_network_is_found_by_the_name_in_its_file() {
    let directory = directory(&[
        ("a.conflist", r#"{"name":"b","plugins":[{"type":"bridge"}]}"#),
        ("broken.conflist", "{"),
        ("b.conflist", r#"{"name":"c","plugins":[{"type":"bridge"}]}"#),
    ]);
    assert_eq!(found(&directory, "b").map(|list| list.name).as_deref(), Some("b"));
    assert_eq!(found(&directory, "c").map(|list| list.name).as_deref(), Some("c"));
    assert!(found(&directory, "d").is_none());
    let error = find(directory.path(), "broken").expect_err("it is the file of that name");
    assert!(error.to_string().starts_with("the configuration list is not valid: EOF"), "{error}");
    assert_eq!(all(Path::new("/nowhere")).expect("no directory is no network").len(), 0);
}

#[test]
fn a_single_plugin_is_a_list_of_one_behind_the_lists() {
    let single = |name: &str| format!(r#"{{"name":"{name}","cniVersion":"0.4.0","type":"ptp","mtu":9}}"#);
    let directory = directory(&[
        ("10-a.conf", &single("a")),
        ("20-b.json", &single("b")),
        ("99-a.conflist", r#"{"name":"a","plugins":[{"type":"bridge"}]}"#),
        ("list.conf", r#"{"name":"l","plugins":[{"type":"bridge"}]}"#),
    ]);
    assert_eq!(kinds(&found(&directory, "a").expect("there")), ["bridge"]);
    let list = found(&directory, "b").expect("there");
    assert_eq!((list.version, kinds(&list)), (Version::V0_4_0, vec!["ptp"]));
    assert_eq!(list.plugins[0]["mtu"], 9);
    assert_eq!(NetworkList::parse(list.text).expect("read from the cache").plugins, list.plugins);
    let loaded = load(directory.path()).expect("readable");
    let problems: Vec<String> = loaded.problems.iter().map(|(_, error)| error.to_string()).collect();
    assert!(problems[0].contains("network `a` is described by"), "{problems:?}");
    assert!(problems[1].contains("must end in .conflist"), "{problems:?}");
}

#[test]
fn plugins_in_the_networks_folder_come_last_in_order() {
    let files = [
        ("n.conflist", r#"{"name":"net","plugins":[{"type":"bridge"}]}"#),
        ("net/2.conf", r#"{"type":"tuning"}"#),
        ("net/1.conf", r#"{"type":"portmap"}"#),
        ("net/0.json", r#"{"type":"not-read"}"#),
        ("none.conflist", r#"{"name":"none-inlined"}"#),
        ("none-inlined/1.conf", r#"{"type":"ptp"}"#),
        ("only.conflist", r#"{"name":"only","loadOnlyInlinedPlugins":"true","plugins":[{"type":"bridge"}]}"#),
        ("only/1.conf", r#"{"type":"portmap"}"#),
        ("bad.conflist", r#"{"name":"bad","plugins":[{"type":"bridge"}]}"#),
        ("bad/1.conf", r#"{"type":"a/b"}"#),
        ("empty.conflist", r#"{"name":"empty","loadOnlyInlinedPlugins":true}"#),
    ];
    let directory = directory(&files);
    let list = found(&directory, "net").expect("there");
    assert_eq!(kinds(&list), ["bridge", "portmap", "tuning"]);
    assert_eq!(kinds(&NetworkList::parse(list.text).expect("whole")), ["bridge", "portmap", "tuning"]);
    assert_eq!(kinds(&found(&directory, "none-inlined").expect("there")), ["ptp"]);
    assert_eq!(kinds(&found(&directory, "only").expect("there")), ["bridge"]);
    let error = find(directory.path(), "bad").expect_err("the folder has a bad plugin");
    assert!(error.to_string().contains("bad/1.conf` can't be used"), "{error}");
    let problems = load(directory.path()).expect("readable").problems;
    assert_eq!(problems.len(), 2, "the others go on working: {problems:?}");
}

#[test]
fn files_that_are_too_long_or_no_files_are_told() {
    let long = format!(r#"{{"name":"n","x":"{}"}}"#, "y".repeat(1 << 20));
    let directory = directory(&[("long.conflist", &long)]);
    let pipe = directory.path().join("pipe.conflist");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status().expect("mkfifo runs");
    assert!(made.success());
    let problems = load(directory.path()).expect("readable").problems;
    let texts: Vec<String> = problems.iter().map(|(_, error)| error.to_string()).collect();
    assert!(texts[0].contains("is longer than"), "{texts:?}");
    assert!(texts[1].contains("is not a regular file"), "{texts:?}");
}
