//! Every target holds on its seeds, and on what is near to them, without any instrumentation.

use std::collections::BTreeSet;

use loam_fuzz::TARGETS;

#[test]
fn targets_hold_on_their_seeds() {
    if !rustix::process::geteuid().is_root() {
        println!("unpacking is tried without devices and owners: it needs root for those");
    }
    for target in &TARGETS {
        let seeds = (target.seeds)();
        assert!(!seeds.is_empty(), "{}", target.name);
        for seed in &seeds {
            (target.run)(seed);
            // Cut short, and with a byte changed: libFuzzer does more of that.
            let middle = seed.len() / 2;
            (target.run)(&seed[..middle]);
            let mut changed = seed.clone();
            changed.get_mut(middle).into_iter().for_each(|byte| *byte ^= 0x81);
            (target.run)(&changed);
        }
        (target.run)(b"");
    }
}

#[test]
fn seeds_are_written_where_libfuzzer_looks_for_them() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    loam_fuzz::write_seeds(directory.path()).expect("written");
    let names: BTreeSet<&str> = TARGETS.iter().map(|target| target.name).collect();
    assert_eq!(names.len(), TARGETS.len(), "each name once");
    for target in &TARGETS {
        let place = directory.path().join(target.name);
        let count = std::fs::read_dir(place.join("seeds")).expect("a directory").count();
        assert_eq!(count, (target.seeds)().len(), "{}", target.name);
        let words = std::fs::read_to_string(place.join("words")).expect("a dictionary");
        assert_eq!(words.lines().count(), target.words.len(), "{}", target.name);
        assert!(words.lines().all(|line| line.starts_with("\"\\x") && line.ends_with('"')), "{words}");
    }
}

#[test]
fn crates_that_open_parsers_for_targets_are_instrumented() {
    let directory = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let read = |name: &str| std::fs::read_to_string(directory.join(name)).expect("readable");
    let wrapper = read("instrument");
    let manifest = read("Cargo.toml");
    let opened = manifest.lines().filter(|line| line.contains("\"fuzzing\""));
    let names: Vec<String> =
        opened.filter_map(|line| line.split(' ').next()).map(|name| name.replace('-', "_")).collect();
    assert!(names.len() > 4, "{names:?}");
    let missing: Vec<&String> = names.iter().filter(|name| !wrapper.contains(&format!(" {name} "))).collect();
    assert!(missing.is_empty(), "libFuzzer sees nothing of {missing:?}: name them in fuzz/instrument");
}
