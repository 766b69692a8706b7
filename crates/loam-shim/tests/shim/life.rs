//! From launch to shut-down.

use loam_model::{ErrorKind, ExitStatus, OnStall, ProcessTarget, Supervisor};

use crate::fixture::{Fixture, needs_root, outputs, read_all, wait_until};

#[test]
fn a_container_runs_and_its_end_is_told() {
    needs_root!();
    let mut running = Fixture::new("echo out; echo err >&2; id -u; exit 7").create();
    let (streams, out, err) = outputs();
    running.shim().own().unwrap();
    running.shim().attach(streams, OnStall::Block).unwrap();
    running.shim().start().unwrap();
    let status = running.shim().wait(&ProcessTarget::Main).unwrap();
    assert_eq!(status, ExitStatus::Exited(7));
    assert_eq!((read_all(out).as_str(), read_all(err).as_str()), ("out\n0\n", "err\n"));
    let log = running.log();
    assert!(log.contains(" stdout F out\n") && log.contains(" stderr F err\n"), "{log}");
    let fixture = &running.fixture;
    let record = fixture.supervisor.exit_record(&fixture.launch.id).unwrap().unwrap();
    assert_eq!((record.status, record.out_of_memory), (ExitStatus::Exited(7), false));
    let again = running.connect().unwrap().status().unwrap();
    assert_eq!((again.pid, again.started, again.exit), (None, true, Some(record)));
}

#[test]
fn shutting_down_leaves_nothing_but_the_exit_record() {
    needs_root!();
    let mut running = Fixture::new("sleep 1000").create();
    running.shim().start().unwrap();
    let (pid, shim) = (running.pid, running.shim_pid());
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!mounts.contains(running.fixture.launch.id.as_str()), "the host sees the container's mounts");
    let inside = std::fs::read_to_string(format!("/proc/{shim}/mountinfo")).unwrap();
    assert!(inside.contains(running.fixture.launch.id.as_str()));
    running.shim().shut_down().unwrap();
    assert!(!std::path::Path::new(&format!("/proc/{pid}")).exists());
    wait_until("the shim ends", || {
        let state = std::fs::read_to_string(format!("/proc/{shim}/stat"));
        state.map_or(true, |state| state.contains(") Z "))
    });
    running.disconnect();
    assert!(running.connect().is_none());
    let fixture = &running.fixture;
    let record = fixture.supervisor.exit_record(&fixture.launch.id).unwrap().unwrap();
    assert_eq!(record.status, ExitStatus::Signaled(9));
    // The writable directory is used by no mount any more.
    std::fs::remove_dir_all(fixture.base.path().join("snap")).unwrap();
    assert_eq!(cgroups_of(fixture.launch.id.as_str()), Vec::<String>::new());
}

fn cgroups_of(id: &str) -> Vec<String> {
    let hierarchies = std::fs::read_dir("/sys/fs/cgroup").unwrap().flatten();
    let paths = hierarchies.map(|entry| entry.path().join(format!("loam-shim-{id}")));
    paths.filter(|path| path.exists()).map(|path| path.display().to_string()).collect()
}

#[test]
fn a_failed_creation_is_told_and_undone() {
    needs_root!();
    let mut fixture = Fixture::new("true");
    fixture.spec.command = Some(vec!["/bin/no-such-program".to_owned()]);
    let mut running = fixture.launch();
    let failure = match running.shim().begin_create() {
        Ok(_) => match running.shim().finish_create() {
            Ok(()) => running.shim().start().unwrap_err(),
            Err(failure) => failure,
        },
        Err(failure) => failure,
    };
    assert_eq!(failure.kind(), ErrorKind::CommandNotFound, "{failure:?}");
    running.shim().shut_down().unwrap();
    let mut fixture = Fixture::new("true");
    fixture.launch.rootfs.lower.insert(0, fixture.base.path().join("no-such-layer"));
    let mut running = fixture.launch();
    let failure = running.shim().begin_create().unwrap_err();
    assert!(failure.chain().contains("no-such-layer"), "{failure:?}");
    assert!(running.shim().finish_create().is_err());
    running.disconnect();
    wait_until("the shim is gone", || running.connect().is_none());
    assert_eq!(cgroups_of(running.fixture.launch.id.as_str()), Vec::<String>::new());
}

#[test]
fn when_nobody_owns_the_container_its_end_runs_the_program() {
    needs_root!();
    let mut fixture = Fixture::new("exit 3");
    let witness = fixture.base.path().join("told");
    let script = format!(
        "test -e {}/exit.json && cp /proc/self/mountinfo {}",
        fixture.directory().display(),
        witness.display()
    );
    fixture.launch.on_exit = ["/bin/sh", "-c", &script].map(str::to_owned).to_vec();
    let mut running = fixture.create();
    running.shim().own().unwrap();
    running.shim().start().unwrap();
    running.shim().wait(&ProcessTarget::Main).unwrap();
    assert!(!witness.exists(), "the owner is still there");
    running.disconnect();
    wait_until("the program was run", || witness.exists());
    wait_until("it sees the host's mounts", || {
        let mounts = std::fs::read_to_string(&witness).unwrap();
        mounts.ends_with('\n') && !mounts.contains(running.fixture.launch.id.as_str())
    });
}

#[test]
fn an_owner_that_dies_before_the_start_is_told_of() {
    needs_root!();
    let mut fixture = Fixture::new("true");
    let witness = fixture.base.path().join("told");
    fixture.launch.on_exit = vec!["/usr/bin/touch".to_owned(), witness.display().to_string()];
    let mut running = fixture.create();
    running.shim().own().unwrap();
    running.disconnect();
    wait_until("the program was run", || witness.exists());
    assert!(running.connect().is_some());
}

#[test]
fn a_shim_whose_launcher_dies_before_the_creation_ends() {
    needs_root!();
    let mut running = Fixture::new("true").launch();
    running.disconnect();
    wait_until("the shim is gone", || running.connect().is_none());
}

#[test]
fn limits_change_and_figures_are_read() {
    needs_root!();
    let mut running = Fixture::new("sleep 1000").create();
    running.shim().start().unwrap();
    let stats = running.shim().stats().unwrap();
    assert!(stats.pids >= 1, "{stats:?}");
    let resources = serde_json::from_str(r#"{"pids":{"limit":99}}"#).unwrap();
    running.shim().update(&resources).unwrap();
    assert_eq!(running.shim().stats().unwrap().pids_limit, Some(99));
    running.shim().pause().unwrap();
    assert!(running.shim().status().unwrap().paused);
    running.shim().resume().unwrap();
    running.shim().signal(&ProcessTarget::Main, 9, false).unwrap();
    assert_eq!(running.shim().wait(&ProcessTarget::Main).unwrap(), ExitStatus::Signaled(9));
    assert_eq!(
        running.shim().signal(&ProcessTarget::Main, 9, false).unwrap_err().kind(),
        ErrorKind::Conflict
    );
}

#[test]
fn a_runtime_program_runs_the_container_too() {
    needs_root!();
    if !std::path::Path::new("/usr/sbin/runc").exists() {
        println!("skipped: a_runtime_program_runs_the_container_too: needs runc");
        return;
    }
    let mut fixture = Fixture::new("id -u; exit 6");
    fixture.launch.runtime = loam_model::RuntimeChoice::Program("runc".into());
    fixture.launch.user = Some("app".to_owned());
    let mut running = fixture.create();
    let (streams, out, _err) = outputs();
    running.shim().attach(streams, OnStall::Block).unwrap();
    running.shim().start().unwrap();
    assert_eq!(running.shim().wait(&ProcessTarget::Main).unwrap(), ExitStatus::Exited(6));
    assert_eq!(read_all(out), "1000\n");
}
