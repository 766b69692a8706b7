//! Waiting for whoever has a container's lock.

use std::fs::File;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use loam_engine::StartOptions;
use rustix::fs::{FlockOperation, flock};

use crate::bench::Bench;

fn lock(bench: &Bench, name: &str) -> File {
    let id = bench.engine.resolve(name).expect("there");
    let path = bench.state_directory().join("containers").join(id.as_str()).join("lock");
    let file = File::open(path).expect("a created container has one");
    flock(&file, FlockOperation::LockExclusive).expect("free");
    file
}

#[test]
fn a_long_wait_is_explained_once() {
    let bench = Bench::new();
    bench.engine.create(&bench.lasting("web")).expect("created");
    let held = lock(&bench, "web");
    let (said, notes) = mpsc::channel();
    let other = bench.again_with_notes(move |note| said.send(note.to_owned()).expect("somebody listens"));
    let begin = Instant::now();
    let starting = std::thread::spawn(move || other.engine.start("web", StartOptions::default()).map(drop));
    let note = notes.recv_timeout(Duration::from_secs(20)).expect("it is said");
    assert!(begin.elapsed() >= Duration::from_secs(2), "a short wait is nobody's business");
    let own = std::process::id();
    assert!(note.starts_with(&format!("waiting for process {own} (`")), "{note}");
    assert!(note.ends_with("`), which is changing container `web`"), "{note}");
    drop(held);
    starting.join().expect("no panic").expect("started");
    assert!(notes.recv().is_err(), "it is said once");
    bench.engine.remove("web", true).expect("removed");
}

#[test]
fn a_short_wait_is_not_mentioned() {
    let bench = Bench::new();
    bench.engine.create(&bench.lasting("web")).expect("created");
    let held = lock(&bench, "web");
    let (said, notes) = mpsc::channel();
    let other = bench.again_with_notes(move |note| said.send(note.to_owned()).expect("somebody listens"));
    let removing = std::thread::spawn(move || other.engine.remove("web", false).map(drop));
    drop(held);
    removing.join().expect("no panic").expect("removed");
    assert!(notes.recv().is_err());
}
