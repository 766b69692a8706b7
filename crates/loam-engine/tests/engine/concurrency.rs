//! Several commands at once: each with an engine and a database connection of its own, as processes have.

use std::sync::Barrier;
use std::thread;

use loam_engine::{ContainerState, StartOptions};
use loam_model::{ErrorKind, ExitStatus, Result};
use loam_testkit::seams::Step;

use crate::bench::Bench;

/// How often each race is run.
const ROUNDS: usize = 20;

/// Runs the same at once in several engines.
fn race<T: Send>(bench: &Bench, count: usize, body: impl Fn(&Bench, usize) -> T + Sync) -> Vec<T> {
    let barrier = Barrier::new(count);
    thread::scope(|scope| {
        let racers: Vec<_> = (0..count)
            .map(|index| {
                let own = bench.again();
                let (barrier, body) = (&barrier, &body);
                scope.spawn(move || {
                    barrier.wait();
                    body(&own, index)
                })
            })
            .collect();
        racers.into_iter().map(|racer| racer.join().expect("no panic")).collect()
    })
}

fn kinds<T>(results: &[Result<T>]) -> Vec<Option<ErrorKind>> {
    results.iter().map(|result| result.as_ref().err().map(|error| error.kind())).collect()
}

#[test]
fn a_name_goes_to_one_of_many() {
    let bench = Bench::new();
    for _ in 0..ROUNDS {
        let results = race(&bench, 3, |own, _| own.engine.create(&own.lasting("web")));
        let kinds = kinds(&results);
        assert_eq!(kinds.iter().filter(|kind| kind.is_none()).count(), 1, "{results:?}");
        assert!(kinds.iter().flatten().all(|kind| *kind == ErrorKind::AlreadyExists), "{results:?}");
        bench.engine.remove("web", false).expect("removed");
        bench.assert_nothing_left("after the race");
    }
}

#[test]
fn one_container_is_removed_by_many() {
    let bench = Bench::new();
    for _ in 0..ROUNDS {
        bench.engine.create(&bench.lasting("web")).expect("created");
        bench.engine.start("web", StartOptions::default()).expect("started");
        let results = race(&bench, 3, |own, _| own.engine.remove("web", true));
        assert!(results.iter().any(Result::is_ok), "{results:?}");
        assert!(kinds(&results).iter().flatten().all(|kind| *kind == ErrorKind::NotFound), "{results:?}");
        bench.assert_nothing_left("after the race");
    }
}

#[test]
fn a_container_is_started_by_one_of_many() {
    let bench = Bench::new();
    bench.engine.create(&bench.lasting("web")).expect("created");
    for _ in 0..ROUNDS {
        let results = race(&bench, 3, |own, _| own.engine.start("web", StartOptions::default()).map(drop));
        let kinds = kinds(&results);
        assert_eq!(kinds.iter().filter(|kind| kind.is_none()).count(), 1, "{results:?}");
        assert!(kinds.iter().flatten().all(|kind| *kind == ErrorKind::Conflict), "{results:?}");
        bench.engine.stop("web", None).expect("stopped");
    }
}

#[test]
fn a_stop_during_a_start_waits_for_it() {
    let bench = Bench::new();
    bench.engine.create(&bench.lasting("web")).expect("created");
    for _ in 0..ROUNDS {
        let results = race(&bench, 2, |own, index| match index {
            0 => own.engine.start("web", StartOptions::default()).map(drop),
            _ => own.engine.stop("web", None).map(drop),
        });
        assert!(results[0].is_ok(), "{results:?}");
        match &results[1] {
            Ok(()) => {}
            // It came first.
            Err(error) => assert_eq!(error.kind(), ErrorKind::Conflict),
        }
        bench.engine.stop("web", None).expect("stopped");
        let left = bench.world.left();
        assert!(left.shims.is_empty() && left.attachments.is_empty(), "{left:?}");
    }
}

#[test]
fn a_removal_during_a_start_leaves_nothing() {
    let bench = Bench::new();
    for _ in 0..ROUNDS {
        bench.engine.create(&bench.lasting("web")).expect("created");
        let results = race(&bench, 2, |own, index| match index {
            0 => own.engine.start("web", StartOptions::default()).map(drop),
            _ => own.engine.remove("web", true).map(drop),
        });
        assert!(results[1].is_ok(), "{results:?}");
        bench.assert_nothing_left("after the race");
    }
}

#[test]
fn recovery_leaves_live_commands_alone() {
    let bench = Bench::new();
    for _ in 0..ROUNDS {
        let results = race(&bench, 3, |own, index| match index {
            0 => {
                own.engine.create(&own.lasting("web"))?;
                own.engine.start("web", StartOptions::default()).map(drop)
            }
            _ => own.engine.settle_all(),
        });
        assert!(results.iter().all(Result::is_ok), "{results:?}");
        let detail = bench.engine.inspect("web").expect("inspected");
        assert_eq!(detail.state, ContainerState::Running);
        bench.engine.remove("web", true).expect("removed");
        bench.assert_nothing_left("after the race");
    }
}

#[test]
fn an_owner_and_others_tidy_up_once() {
    let bench = Bench::new();
    let image = bench.engine.images().resolve("small").expect("there");
    for round in 0..ROUNDS {
        let spec = if round % 2 == 0 { bench.ephemeral("web") } else { bench.lasting("web") };
        let options = StartOptions { own: true, ..StartOptions::default() };
        let started = bench.engine.run(&spec, &image, options).expect("runs");
        let id = started.id().clone();
        let slot = std::sync::Mutex::new(Some(started));
        bench.world.take_steps();
        let results = race(&bench, 4, |own, index| match index {
            0 => slot.lock().expect("sound").take().expect("once").wait().map(|exit| exit.status),
            1 => own.engine.wait(id.as_str()).map(|exit| exit.status),
            2 => own.engine.list(true).map(|_| ExitStatus::Exited(5)),
            _ => {
                own.world.end(&id, ExitStatus::Exited(5));
                own.engine.inspect(id.as_str()).map(|_| ExitStatus::Exited(5))
            }
        });
        for (index, result) in results.iter().enumerate() {
            match result {
                Ok(status) => assert_eq!(*status, ExitStatus::Exited(5), "{index}"),
                Err(error) => {
                    assert!(index % 2 == 1 && error.kind() == ErrorKind::NotFound, "{index}: {error:?}");
                }
            }
        }
        let shut_downs = bench.world.take_steps().into_iter().filter(|step| *step == Step::ShutDown).count();
        assert_eq!(shut_downs, 1);
        if round % 2 == 1 {
            bench.engine.remove("web", false).expect("removed");
        }
        bench.assert_nothing_left("after the race");
    }
}
