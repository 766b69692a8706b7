//! What is done with a container that is there: further processes, signals, copies.

use std::time::Duration;

use loam_engine::{ContainerState, StartOptions};
use loam_model::{ContainerSpec, ErrorKind, ExitStatus, ProcessSpec, ProcessTarget, Streams, TerminalSize};

use crate::bench::{Bench, state};

#[test]
fn a_stubborn_container_is_killed_and_a_paused_one_gets_its_signal() {
    let bench = Bench::new();
    let spec = ContainerSpec { stop_signal: Some("SIGUSR1".to_owned()), ..bench.lasting("web") };
    bench.engine.create(&spec).expect("created");
    bench.engine.start("web", StartOptions::default()).expect("started");
    bench.engine.pause("web").expect("paused");
    assert_eq!(
        bench.engine.stop("web", None).expect("stopped").expect("has run").status,
        ExitStatus::Signaled(10)
    );

    bench.engine.start("web", StartOptions::default()).expect("started");
    bench.engine.pause("web").expect("paused");
    bench.engine.kill("web", 9, false).expect("killed");
    assert_eq!(bench.engine.wait("web").expect("ended").status, ExitStatus::Signaled(9));

    bench.world.set_stubborn(true);
    bench.engine.start("web", StartOptions::default()).expect("started");
    let exit = bench.engine.stop("web", Some(Duration::ZERO)).expect("stopped");
    assert_eq!(exit.expect("has run").status, ExitStatus::Signaled(9));
    assert_eq!(state(&bench, "web"), ContainerState::Stopped);
}

#[test]
fn further_processes_run_as_the_containers_user_unless_told() {
    let bench = Bench::new();
    let spec = ContainerSpec { user: Some("app".to_owned()), ..bench.lasting("web") };
    bench.engine.create(&spec).expect("created");
    let process = ProcessSpec { arguments: vec!["/bin/id".to_owned()], ..ProcessSpec::default() };
    let exec = |process: &ProcessSpec| bench.engine.exec("web", process, None, Streams::default());
    let error = exec(&process).expect_err("does not run");
    assert_eq!(
        (error.kind(), error.chain().as_str()),
        (ErrorKind::Conflict, "container `web` is not running")
    );

    let started = bench.engine.start("web", StartOptions::default()).expect("started");
    let running = exec(&process).expect("runs");
    assert_eq!(running.target(), ProcessTarget::Exec(running.id()));
    bench.world.end_exec(started.id(), running.id(), ExitStatus::Exited(4));
    assert_eq!(running.wait().expect("ended"), ExitStatus::Exited(4));
    exec(&ProcessSpec { user: Some("0".to_owned()), ..process.clone() }).expect("runs");
    let users: Vec<_> = bench.world.execs().into_iter().map(|(_, user)| user).collect();
    assert_eq!(users, [Some("app".to_owned()), Some("0".to_owned())]);

    let mut control = bench.engine.control("web").expect("connected");
    control.resize(&ProcessTarget::Main, TerminalSize { rows: 25, columns: 80 }).expect("resized");
    assert_eq!(exec(&ProcessSpec::default()).expect_err("no program").kind(), ErrorKind::Invalid);
    bench.engine.pause("web").expect("paused");
    assert_eq!(exec(&process).expect_err("paused").chain(), "container `web` is paused");
}

#[test]
fn what_does_not_run_can_be_copied_but_not_signalled() {
    let bench = Bench::new();
    bench.engine.create(&bench.lasting("web")).expect("created");
    let mut archive = Vec::new();
    bench.engine.copy_out("web", "/etc/hosts", &mut archive).expect("copied");
    assert_eq!(archive, b"archive");
    bench.engine.copy_in("web", "/etc", &mut &b"archive"[..]).expect("copied");
    bench.engine.start("web", StartOptions::default()).expect("started");
    bench.engine.copy_out("web", "/etc/hosts", &mut archive).expect("copied");
    let archives = bench.world.archives();
    assert_eq!(
        archives.iter().map(|archive| archive.pid.is_some()).collect::<Vec<_>>(),
        [false, false, true]
    );
    assert!(archives.iter().all(|archive| archive.pid.is_some() == archive.start_time.is_some()));
    assert!(archives.iter().all(|archive| !archive.rootfs.volatile));

    bench.engine.kill("web", 15, false).expect("killed");
    // Its shim is still there, but the main process's id may be another's.
    bench.engine.copy_out("web", "/etc/hosts", &mut archive).expect("copied");
    assert_eq!(bench.world.archives().last().expect("one more").pid, None);
    bench.engine.wait("web").expect("ended");
    for result in [bench.engine.kill("web", 15, false), bench.engine.pause("web"), bench.engine.resume("web")]
    {
        assert_eq!(result.expect_err("does not run").kind(), ErrorKind::Conflict);
    }
    assert_eq!(bench.engine.stats("web").expect_err("does not run").kind(), ErrorKind::Conflict);
    let never = bench.engine.create(&bench.lasting("never")).expect("created");
    assert_eq!(bench.engine.wait(never.id.as_str()).expect_err("never ran").kind(), ErrorKind::Conflict);
}
