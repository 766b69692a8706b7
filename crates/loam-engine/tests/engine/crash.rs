//! Every step of every operation fails once, and is the last thing a killed command does once: afterwards nothing is
//! left behind, and the same works again.

use std::panic::{AssertUnwindSafe, catch_unwind};

use loam_engine::{ContainerState, StartOptions};
use loam_model::{ErrorKind, ExitStatus, Result};
use loam_testkit::seams::{Fault, Killed, Step};

use crate::bench::Bench;

const FAULTS: [Fault; 3] = [Fault::Fails(ErrorKind::Unavailable), Fault::KilledBefore, Fault::KilledAfter];

/// Runs what may be killed by a fault; `None` when it was.
fn mortal<T>(body: impl FnOnce() -> Result<T>) -> Option<Result<T>> {
    match catch_unwind(AssertUnwindSafe(body)) {
        Ok(result) => Some(result),
        Err(payload) if payload.is::<Killed>() => None,
        Err(payload) => std::panic::resume_unwind(payload),
    }
}

/// The steps that an operation takes, each with how often the same was taken before.
fn steps_of(operation: impl Fn(&Bench) -> Result<()>, prepare: impl Fn(&Bench)) -> Vec<(Step, usize)> {
    let bench = Bench::new();
    prepare(&bench);
    bench.world.take_steps();
    operation(&bench).expect("the operation works without faults");
    let steps = bench.world.take_steps();
    let before = |index: usize| steps[..index].iter().filter(|step| **step == steps[index]).count();
    (0..steps.len()).map(|index| (steps[index], before(index))).collect()
}

/// Tries an operation with every fault at every step, and then `afterwards` with a fresh engine.
fn with_every_fault(
    prepare: impl Fn(&Bench),
    operation: impl Fn(&Bench) -> Result<()>,
    afterwards: impl Fn(&Bench, &str),
) {
    let steps = steps_of(&operation, &prepare);
    assert!(!steps.is_empty());
    for (step, skipped) in steps {
        for fault in FAULTS {
            let case = format!("{fault:?} at {step:?} number {skipped}");
            let bench = Bench::new();
            prepare(&bench);
            bench.world.inject(step, skipped, fault);
            let outcome = mortal(|| operation(&bench));
            assert!(!bench.world.withdraw_fault(), "{case}: did not happen");
            match (fault, outcome) {
                (Fault::Fails(_), Some(_)) | (_, None) => {}
                // A stop waits in a thread, and goes on without it.
                _ if step == Step::Wait => {}
                (_, Some(outcome)) => panic!("{case}: survived with {outcome:?}"),
            }
            let next = bench.again();
            next.engine.settle_all().unwrap_or_else(|error| panic!("{case}: {error:?}"));
            afterwards(&next, &case);
        }
    }
}

/// Every kind of write to the table, as the condition of a trigger.
const WRITES: [&str; 8] = [
    "INSERT ON container WHEN true",
    "UPDATE ON container WHEN NEW.state = 'created'",
    "UPDATE ON container WHEN NEW.state = 'starting'",
    "UPDATE ON container WHEN NEW.state = 'running'",
    "UPDATE ON container WHEN NEW.state = 'paused'",
    "UPDATE ON container WHEN NEW.state = 'stopped'",
    "UPDATE ON container WHEN NEW.state = 'removing'",
    "DELETE ON container WHEN true",
];

/// Tries an operation with every write of the database failing, and then `afterwards` with all writes possible again.
fn with_every_write_failing(
    prepare: impl Fn(&Bench),
    operation: impl Fn(&Bench) -> Result<()>,
    afterwards: impl Fn(&Bench, &str),
) {
    for write in WRITES {
        let bench = Bench::new();
        prepare(&bench);
        let sql = |sql: &str| {
            bench
                .database
                .write(loam_state::Durability::Unsynced, |transaction| transaction.execute_batch(sql))
        };
        sql(&format!("CREATE TRIGGER fault BEFORE {write} BEGIN SELECT RAISE(ABORT, 'no space'); END"))
            .expect("a trigger");
        // Some operations do not write this, and then succeed.
        if let Err(error) = operation(&bench) {
            assert!(error.chain().contains("no space"), "{write}: {error:?}");
        }
        sql("DROP TRIGGER fault").expect("no trigger");
        bench.engine.settle_all().unwrap_or_else(|error| panic!("{write}: {error:?}"));
        afterwards(&bench, write);
    }
}

#[test]
fn a_database_that_can_not_be_written_leaves_nothing() {
    let remove = |bench: &Bench, case: &str| {
        match bench.engine.remove("web", true) {
            Ok(_) => {}
            Err(error) => assert_eq!(error.kind(), ErrorKind::NotFound, "{case}: {error:?}"),
        }
        bench.assert_nothing_left(case);
        run_and_wait(bench, "web").unwrap_or_else(|error| panic!("{case}: {error:?}"));
        bench.assert_nothing_left(case);
    };
    let create = |bench: &Bench| bench.engine.create(&bench.lasting("web")).map(drop);
    let start = |bench: &Bench| bench.engine.start("web", StartOptions::default()).map(drop);
    with_every_write_failing(
        |_| {},
        |bench| run_and_wait(bench, "web"),
        |bench, case| {
            bench.assert_nothing_left(case);
            remove(bench, case);
        },
    );
    with_every_write_failing(|_| {}, create, remove);
    with_every_write_failing(|bench| create(bench).expect("created"), start, remove);
    let started = |bench: &Bench| create(bench).and_then(|()| start(bench)).expect("started");
    with_every_write_failing(started, |bench| bench.engine.stop("web", None).map(drop), remove);
    with_every_write_failing(started, |bench| bench.engine.remove("web", true).map(drop), remove);
    with_every_write_failing(started, |bench| bench.engine.pause("web"), remove);
}

fn run_and_wait(bench: &Bench, name: &str) -> Result<()> {
    let image = bench.engine.images().resolve("small")?;
    let options = StartOptions { own: true, ..StartOptions::default() };
    let started = bench.engine.run(&bench.ephemeral(name), &image, options)?;
    bench.world.end(started.id(), ExitStatus::Exited(3));
    let exit = started.wait()?;
    assert_eq!(exit.status, ExitStatus::Exited(3));
    Ok(())
}

#[test]
fn a_run_that_is_thrown_away_leaves_nothing() {
    with_every_fault(
        |_| {},
        |bench| run_and_wait(bench, "web"),
        |bench, case| {
            // A killed owner's container runs on until it ends, and then goes.
            for container in bench.engine.list(true).expect("listed") {
                assert!(container.state.is_live(), "{case}: {container:?}");
                bench.world.end(&container.id, ExitStatus::Exited(0));
                bench.engine.settle(&container.id).unwrap_or_else(|error| panic!("{case}: {error:?}"));
            }
            bench.assert_nothing_left(case);
            run_and_wait(bench, "web").unwrap_or_else(|error| panic!("{case}: {error:?}"));
            bench.assert_nothing_left(case);
        },
    );
}

#[test]
fn a_create_is_whole_or_undone() {
    with_every_fault(
        |_| {},
        |bench| bench.engine.create(&bench.lasting("web")).map(drop),
        |bench, case| {
            if let Some(container) = bench.engine.list(true).expect("listed").first() {
                assert_eq!(container.state, ContainerState::Created, "{case}");
                bench.engine.remove("web", false).expect("removed");
            }
            bench.assert_nothing_left(case);
            bench.engine.create(&bench.lasting("web")).unwrap_or_else(|error| panic!("{case}: {error:?}"));
        },
    );
}

#[test]
fn a_start_is_whole_or_undone() {
    with_every_fault(
        |bench| drop(bench.engine.create(&bench.lasting("web")).expect("created")),
        |bench| bench.engine.start("web", StartOptions { own: true, ..StartOptions::default() }).map(drop),
        |bench, case| {
            let container = bench.engine.list(true).expect("listed").remove(0);
            match container.state {
                // Killed after the last step, with the row not written, it is undone too.
                ContainerState::Created => assert!(container.failure.is_some(), "{case}"),
                state => panic!("{case}: {state}"),
            }
            let left = bench.world.left();
            assert!(
                left.shims.is_empty() && left.attachments.is_empty() && left.cgroups.is_empty(),
                "{case}: {left:?}"
            );
            assert_eq!(left.snapshots.len(), 1, "{case}");
            bench.assert_no_run_directory(&container.id, case);
            bench
                .engine
                .start("web", StartOptions::default())
                .unwrap_or_else(|error| panic!("{case}: {error:?}"));
            bench.engine.remove("web", true).expect("removed");
            bench.assert_nothing_left(case);
        },
    );
}

#[test]
fn a_removal_is_finished_by_the_next_command() {
    for running in [false, true] {
        with_every_fault(
            |bench| {
                bench.engine.create(&bench.lasting("web")).expect("created");
                if running {
                    bench.engine.start("web", StartOptions::default()).expect("started");
                }
            },
            |bench| bench.engine.remove("web", true).map(drop),
            |bench, case| {
                match bench.engine.remove("web", true) {
                    Ok(_) => {}
                    Err(error) => assert_eq!(error.kind(), ErrorKind::NotFound, "{case}"),
                }
                bench.assert_nothing_left(case);
            },
        );
    }
}

#[test]
fn a_stop_is_finished_by_the_next_command() {
    with_every_fault(
        |bench| {
            bench.engine.create(&bench.lasting("web")).expect("created");
            bench.engine.start("web", StartOptions::default()).expect("started");
        },
        |bench| bench.engine.stop("web", None).map(drop),
        |bench, case| {
            let exit = bench.engine.stop("web", None).unwrap_or_else(|error| panic!("{case}: {error:?}"));
            assert_eq!(exit.expect("has run").status, ExitStatus::Signaled(15), "{case}");
            let left = bench.world.left();
            assert!(
                left.shims.is_empty() && left.attachments.is_empty() && left.cgroups.is_empty(),
                "{case}: {left:?}"
            );
            bench
                .engine
                .start("web", StartOptions::default())
                .unwrap_or_else(|error| panic!("{case}: {error:?}"));
            bench.engine.remove("web", true).expect("removed");
            bench.assert_nothing_left(case);
        },
    );
}
