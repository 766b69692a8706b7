//! Pulls that do not get on, and others that want the same layer.

use std::fs;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use loam_model::{Digest, ImageSource, ImageStore, LayerProgress, PullOptions, PullProgress, Result};
use loam_registry::Bytes;
use loam_state::Database;

use super::{layer, layer_count, pull};
use crate::document::{Descriptor, RawDocument};
use crate::fixture::{Heard, Liar, config, is_root, leftovers, store};
use crate::hashing::sha256;
use crate::intake::{Blob, Promise};
use crate::source::Source;
use crate::{LayerStore, SCHEMA, StoreConfig};

/// How long the gate stays shut when nobody opens it, so that a test that hangs fails.
const LONGEST: Duration = Duration::from_secs(60);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd)]
enum Stage {
    Begun,
    Waiting,
    Open,
}

/// Holds a transfer up.
struct Gate(Mutex<Stage>, Condvar);

impl Gate {
    fn reach(&self, stage: Stage) {
        *self.0.lock().expect("no panic") = stage;
        self.1.notify_all();
    }

    fn wait_for(&self, stage: Stage) -> bool {
        let guard = self.0.lock().expect("no panic");
        let (_guard, waited) =
            self.1.wait_timeout_while(guard, LONGEST, |now| *now < stage).expect("no panic");
        !waited.timed_out()
    }
}

/// A source that gives no more than the first piece of its layer until the gate is open.
struct Slow<'a> {
    liar: &'a Liar,
    layer: Digest,
    gate: Arc<Gate>,
}

struct Gated {
    blob: Box<dyn Blob>,
    pieces: usize,
    gate: Arc<Gate>,
}

impl Blob for Gated {
    fn next(&mut self) -> Result<Option<Bytes>> {
        self.pieces += 1;
        if self.pieces == 2 {
            self.gate.reach(Stage::Waiting);
            self.gate.wait_for(Stage::Open);
        }
        self.blob.next()
    }
}

impl Source for Slow<'_> {
    fn top(&self) -> Result<RawDocument> {
        self.liar.top()
    }
    fn document(&self, descriptor: &Descriptor) -> Result<RawDocument> {
        self.liar.document(descriptor)
    }
    fn blob(&self, descriptor: &Descriptor) -> Result<(Box<dyn Blob>, Promise)> {
        let (blob, promise) = self.liar.blob(descriptor)?;
        if descriptor.digest != self.layer {
            return Ok((blob, promise));
        }
        Ok((Box::new(Gated { blob, pieces: 0, gate: Arc::clone(&self.gate) }), promise))
    }
}

/// Keeps the sentences of a pull.
#[derive(Default)]
struct Sentences(Mutex<Vec<String>>);

impl PullProgress for Sentences {
    fn layer(&self, _: &Digest, _: LayerProgress) {}
    fn note(&self, sentence: &str) {
        self.0.lock().expect("no panic").push(sentence.to_owned());
    }
}

#[test]
fn a_pull_that_does_not_get_on_holds_up_no_other() {
    if !is_root("a_pull_that_does_not_get_on_holds_up_no_other") {
        return;
    }
    let root = tempfile::tempdir().expect("a temporary directory");
    let tar = layer("a", &[7; 100_000]);
    let liar = Liar::honest(std::slice::from_ref(&tar));
    let gate = Arc::new(Gate(Mutex::new(Stage::Begun), Condvar::new()));
    let slow = Slow { liar: &liar, layer: sha256(&tar), gate: Arc::clone(&gate) };
    let database = Database::open(&root.path().join("loam.db"), &[SCHEMA]).expect("a database");
    let config = StoreConfig { lock_patience: Duration::from_millis(50), ..config(root.path()) };
    let other = LayerStore::open(config, database);
    let source = |name: &str| ImageSource::Registry(name.to_owned());
    std::thread::scope(|scope| {
        let first = store(root.path());
        let slow = &slow;
        let running = scope.spawn(move || {
            first.pull_from(slow, &source("slow"), &PullOptions::default(), &Heard::default())
        });
        assert!(gate.wait_for(Stage::Waiting), "the first pull begins");
        let sentences = Sentences::default();
        let quick = other.pull_from(&liar, &source("quick"), &PullOptions::default(), &sentences);
        assert_eq!(*gate.0.lock().expect("no panic"), Stage::Waiting, "the first pull is not waited for");
        assert_eq!(quick.expect("pulls").names, ["docker.io/library/quick:latest"]);
        let name = sha256(&tar);
        assert_eq!(
            *sentences.0.lock().expect("no panic"),
            [
                format!("waiting for another pull of layer {}", name.short()),
                format!("the other pull of layer {} is too slow, fetching it here too", name.short()),
            ]
        );
        gate.reach(Stage::Open);
        running.join().expect("no panic").expect("ends well, too");
    });
    let directories = || fs::read_dir(root.path().join("layers")).expect("there").count();
    assert_eq!((layer_count(&other), directories(), leftovers(root.path())), (1, 1, vec![]));
    let image = other.resolve("slow").expect("there");
    assert_eq!(image.id, other.resolve("quick").expect("there").id);
    pull(&other, &liar, "third").expect("nothing is in the way");
    for name in ["slow", "quick", "third"] {
        other.remove(name, false).expect("removes");
    }
    assert_eq!((layer_count(&other), directories()), (0, 0));
}
