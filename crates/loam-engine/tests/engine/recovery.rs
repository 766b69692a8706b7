//! Shims that are killed, machines that restart, ends that nobody saw: the next command, or the shim, puts it right.

use loam_engine::{ContainerState, Engine, StartOptions};
use loam_model::{ErrorKind, ExitStatus, ProcessSpec, Result, Streams};
use loam_testkit::seams::{Fault, Step};

use crate::bench::Bench;

#[test]
fn a_killed_shim_takes_its_container_with_it() {
    let bench = Bench::new();
    bench.engine.create(&bench.lasting("web")).expect("created");
    let started = bench.engine.start("web", StartOptions::default()).expect("started");
    let id = started.id().clone();
    bench.world.kill_shim(&id);
    let container = bench.engine.list(true).expect("listed").remove(0);
    assert_eq!(container.state, ContainerState::Stopped);
    assert_eq!(container.exit.expect("an exit").status, ExitStatus::Signaled(9));
    assert!(container.failure.expect("a reason").contains("shim died"));
    let left = bench.world.left();
    assert!(left.cgroups.is_empty() && left.attachments.is_empty(), "{left:?}");
    bench.engine.start("web", StartOptions::default()).expect("starts again");
}

#[test]
fn a_shim_that_does_not_answer_does_not_keep_its_container() {
    let bench = Bench::new();
    bench.engine.create(&bench.lasting("web")).expect("created");
    bench.engine.start("web", StartOptions::default()).expect("started");
    bench.world.inject(Step::ShutDown, 0, Fault::Fails(ErrorKind::Unavailable));
    bench.engine.remove("web", true).expect("removed");
    bench.assert_nothing_left("afterwards");
}

#[test]
fn a_container_that_ends_while_a_command_asks_for_it_is_a_stopped_one() {
    /// A command on container `web`, and what it must come to when that ends during it.
    type Command = fn(&Engine) -> Result<()>;
    let copy: Command = |engine| engine.copy_out("web", "/file", &mut Vec::new());
    let stop: Command = |engine| engine.stop("web", None).map(drop);
    let list: Command = |engine| engine.list(true).map(drop);
    let start: Command = |engine| engine.start("web", StartOptions::default()).map(drop);
    for (step, command) in
        [(Step::Status, copy), (Step::Signal, stop), (Step::Status, list), (Step::Status, start)]
    {
        let bench = running_web();
        bench.world.inject(step, 0, Fault::ShimLeaves);
        command(&bench.engine).unwrap_or_else(|error| panic!("{step:?}: {}", error.chain()));
        bench.engine.remove("web", true).expect("removed");
        bench.assert_nothing_left("afterwards");
    }
    let kill: Command = |engine| engine.kill("web", 15, false);
    let stats: Command = |engine| engine.stats("web").map(drop);
    let attach: Command = |engine| engine.attach("web", Streams::default()).map(drop);
    let pause: Command = |engine| engine.pause("web");
    for (step, command) in
        [(Step::Signal, kill), (Step::Stats, stats), (Step::AttachStreams, attach), (Step::Pause, pause)]
    {
        let bench = running_web();
        bench.world.inject(step, 0, Fault::ShimLeaves);
        let error = command(&bench.engine).expect_err("it has ended");
        assert_eq!(error.chain(), "container `web` is not running", "{step:?}");
        let container = bench.engine.list(true).expect("listed").remove(0);
        assert_eq!(container.exit.expect("an exit").status, ExitStatus::Exited(0));
    }
    let bench = running_web();
    bench.world.inject(Step::Exec, 0, Fault::ShimLeaves);
    let process = ProcessSpec { arguments: vec!["/bin/id".to_owned()], ..ProcessSpec::default() };
    let error = bench.engine.exec("web", &process, None, Streams::default()).expect_err("it has ended");
    assert_eq!(error.chain(), "container `web` is not running");
}

fn running_web() -> Bench {
    let bench = Bench::new();
    bench.engine.create(&bench.lasting("web")).expect("created");
    bench.engine.start("web", StartOptions::default()).expect("started");
    bench
}

#[test]
fn the_owner_hears_of_a_killed_shim() {
    let bench = Bench::new();
    let image = bench.engine.images().resolve("small").expect("there");
    for spec in [bench.ephemeral("web"), bench.lasting("lasting")] {
        let options = StartOptions { own: true, ..StartOptions::default() };
        let started = bench.engine.run(&spec, &image, options).expect("runs");
        bench.world.kill_shim(started.id());
        assert_eq!(started.wait().expect("an end").status, ExitStatus::Signaled(9));
    }
    bench.engine.remove("lasting", false).expect("removed");
    bench.assert_nothing_left("afterwards");
}

#[test]
fn a_restart_of_the_machine_stops_everything() {
    let bench = Bench::new();
    for name in ["one", "two"] {
        bench.engine.create(&bench.lasting(name)).expect("created");
        bench.engine.start(name, StartOptions::default()).expect("started");
    }
    bench.engine.pause("two").expect("paused");
    let image = bench.engine.images().resolve("small").expect("there");
    bench.engine.run(&bench.ephemeral("three"), &image, StartOptions::default()).expect("runs");
    bench.world.restart();
    std::fs::remove_dir_all(bench.run_directory()).expect("emptied");

    let next = bench.again();
    let states: Vec<_> =
        next.engine.list(true).expect("listed").into_iter().map(|c| (c.name.to_string(), c.state)).collect();
    let stopped = |name: &str| (name.to_owned(), ContainerState::Stopped);
    assert_eq!(states, [stopped("two"), stopped("one")]);
    for name in ["one", "two"] {
        next.engine.start(name, StartOptions::default()).expect("starts again");
        next.engine.remove(name, true).expect("removed");
    }
    next.assert_nothing_left("afterwards");
}

#[test]
fn what_belongs_to_no_container_is_removed() {
    use loam_model::{ImageStore, SnapshotRequest};
    let bench = Bench::new();
    let id: loam_model::ContainerId = "a".repeat(64).parse().expect("an id");
    let image = bench.engine.images().resolve("small").expect("there");
    let request = SnapshotRequest { container: &id, image: &image.id, ephemeral: false, limit: None };
    bench.world.create_snapshot(&request).expect("made");
    for directory in [bench.run_directory(), bench.state_directory()] {
        let directory = directory.join("containers").join(id.as_str());
        std::fs::create_dir_all(&directory).expect("made");
        std::fs::write(directory.join("file"), "x").expect("written");
    }
    bench.engine.settle_all().expect("settled");
    bench.assert_nothing_left("afterwards");
}

#[test]
fn a_container_that_ended_with_nobody_there_is_settled_by_its_shim() {
    let bench = Bench::new();
    let image = bench.engine.images().resolve("small").expect("there");
    let started = bench.engine.run(&bench.ephemeral("gone"), &image, StartOptions::default()).expect("runs");
    let id = started.id().clone();
    drop(started);
    assert_eq!(bench.world.launches()[0].on_exit, ["settle".to_owned(), id.to_string()]);
    bench.world.end(&id, ExitStatus::Exited(0));
    assert_eq!(bench.world.take_on_exit().as_slice(), std::slice::from_ref(&id));
    bench.engine.settle(&id).expect("settled");
    bench.engine.settle(&id).expect("settled, though it is gone");
    bench.assert_nothing_left("afterwards");
}

#[test]
fn what_could_not_be_detached_is_detached_later() {
    let bench = Bench::new();
    let image = bench.engine.images().resolve("small").expect("there");
    for spec in [bench.lasting("web"), bench.ephemeral("job")] {
        let options = StartOptions { own: true, ..StartOptions::default() };
        let started = bench.engine.run(&spec, &image, options).expect("runs");
        bench.world.end(started.id(), ExitStatus::Exited(3));
        bench.world.inject(Step::Detach, 0, Fault::Fails(ErrorKind::Unavailable));
        // How it ended is told all the same.
        assert_eq!(started.wait().expect("an end").status, ExitStatus::Exited(3));
        assert_eq!(bench.world.left().attachments.len(), 1);
        let detail = bench.engine.inspect("web").expect("inspected");
        assert_eq!(detail.state, ContainerState::Stopped);
        match spec.auto_remove {
            true => bench.engine.settle_all().expect("settled"),
            false => drop(bench.engine.start("web", StartOptions::default()).expect("starts again")),
        }
        bench.engine.stop("web", None).expect("stopped");
        assert_eq!(bench.world.left().attachments.len(), 0);
    }
    bench.engine.remove("web", false).expect("removed");
    bench.assert_nothing_left("afterwards");
}

#[test]
fn those_who_only_look_leave_a_container_to_its_owner() {
    let bench = Bench::new();
    let image = bench.engine.images().resolve("small").expect("there");
    let options = StartOptions { own: true, ..StartOptions::default() };
    let started = bench.engine.run(&bench.ephemeral("web"), &image, options).expect("runs");
    bench.world.end(started.id(), ExitStatus::Exited(3));
    // Its output may still be on the way to the owner.
    let other = bench.again();
    let container = other.engine.list(true).expect("listed").remove(0);
    assert_eq!(container.state, ContainerState::Stopped);
    assert_eq!(container.exit.expect("an exit").status, ExitStatus::Exited(3));
    other.engine.settle_all().expect("settled");
    assert_eq!(bench.world.left().shims.len(), 1);
    // Without an owner, it is tidied up by whoever looks.
    drop(started);
    assert_eq!(other.engine.list(true).expect("listed"), []);
    bench.assert_nothing_left("afterwards");
}

#[test]
fn a_list_removes_what_a_killed_creation_left() {
    let bench = running_web();
    let state = |id: &str| bench.state_directory().join("containers").join(id);
    let orphan = state(&"5".repeat(64));
    std::fs::create_dir(&orphan).expect("made");
    std::fs::write(orphan.join("lock"), "").expect("made");
    let held = state(&"6".repeat(64));
    std::fs::create_dir(&held).expect("made");
    let lock = std::fs::File::create(held.join("lock")).expect("made");
    lock.lock().expect("locked");
    let web = bench.engine.list(false).expect("listed").remove(0);
    assert!(!orphan.exists(), "nobody's directory is left");
    assert!(held.exists(), "a directory that a live command has just made is gone");
    assert!(state(web.id.as_str()).exists());
    drop(lock);
    bench.engine.list(false).expect("listed");
    assert!(!held.exists());
}
