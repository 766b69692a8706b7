//! The ordinary life of containers, and what is refused.

use std::time::Duration;

use loam_engine::{ContainerState, StartOptions};
use loam_model::{
    ContainerSpec, ErrorKind, ExitStatus, MountKind, MountSpec, NetworkMode, PortMapping, ProcessSpec,
    ProcessTarget, Protocol, Streams, TerminalSize, UserNamespace,
};

use crate::bench::Bench;

fn port(host_port: u16) -> PortMapping {
    PortMapping { host_address: None, host_port, container_port: 80, protocol: Protocol::Tcp }
}

fn state(bench: &Bench, name: &str) -> ContainerState {
    bench.engine.inspect(name).expect("inspected").state
}

#[test]
fn a_container_lives_its_life() {
    let bench = Bench::new();
    bench.world.set_warnings(&["no swap here"]);
    let created = bench.engine.create(&bench.lasting("web")).expect("created");
    assert_eq!(created.warnings, ["no swap here"]);
    assert_eq!(state(&bench, "web"), ContainerState::Created);
    let started = bench.engine.start("web", StartOptions::default()).expect("started");
    assert_eq!((started.id(), started.warnings()), (&created.id, &["no swap here".to_owned()][..]));
    assert_eq!(state(&bench, "web"), ContainerState::Running);

    bench.engine.pause("web").expect("paused");
    assert_eq!(state(&bench, "web"), ContainerState::Paused);
    assert_eq!(bench.engine.pause("web").expect_err("paused already").kind(), ErrorKind::Conflict);
    bench.engine.resume("web").expect("resumed");
    assert_eq!(bench.engine.resume("web").expect_err("runs").kind(), ErrorKind::Conflict);

    let error = bench.engine.start("web", StartOptions::default()).expect_err("runs already");
    assert_eq!(error.chain(), "container `web` is running already");
    let error = bench.engine.remove("web", false).expect_err("runs");
    assert_eq!((error.kind(), error.chain().as_str()), (ErrorKind::Conflict, "container `web` is running"));
    assert!(error.hint_text().is_some());

    bench.world.end(&created.id, ExitStatus::Exited(7));
    assert_eq!(bench.engine.wait("web").expect("ended").status, ExitStatus::Exited(7));
    assert_eq!(bench.engine.wait("web").expect("has ended").status, ExitStatus::Exited(7));
    assert_eq!(bench.engine.stop("web", None).expect("has ended").status, ExitStatus::Exited(7));
    let detail = bench.engine.inspect("web").expect("inspected");
    assert_eq!((detail.state, detail.pid, detail.run_directory), (ContainerState::Stopped, None, None));

    bench.engine.start(created.id.short(), StartOptions::default()).expect("started again");
    assert_eq!(bench.engine.remove("web", true).expect("removed"), created.id);
    bench.assert_nothing_left("afterwards");
}

#[test]
fn an_owner_tidies_up_with_few_writes() {
    let bench = Bench::new();
    let image = bench.engine.images().resolve("small").expect("there");
    let options = StartOptions { own: true, streams: Some(Streams::default()), ..StartOptions::default() };
    let started = bench.engine.run(&bench.ephemeral("web"), &image, options).expect("runs");
    bench.world.end(started.id(), ExitStatus::Signaled(11));
    assert_eq!(started.wait().expect("ended").status, ExitStatus::Signaled(11));
    assert_eq!(bench.world.take_on_exit(), []);
    bench.assert_nothing_left("afterwards");
}

#[test]
fn containers_are_found_by_name_id_and_prefix() {
    let bench = Bench::new();
    let one = bench.engine.create(&bench.lasting("one")).expect("created");
    let two = bench.engine.create(&ContainerSpec { name: None, ..bench.lasting("x") }).expect("created");
    for name in [one.id.as_str(), one.id.short(), "one"] {
        assert_eq!(bench.engine.resolve(name).expect("found"), one.id);
    }
    assert_eq!(bench.engine.resolve(two.name.as_str()).expect("found"), two.id);
    for name in ["", "nope", "o", "g", "%", "\u{1b}[2J"] {
        assert_eq!(bench.engine.resolve(name).expect_err("none").kind(), ErrorKind::NotFound, "{name:?}");
    }
    assert_eq!(bench.engine.resolve("nope").expect_err("none").chain(), "no container `nope`");
    // Seventeen ids begin with at most sixteen digits.
    let many: Vec<_> =
        (0..16).map(|n| bench.engine.create(&bench.lasting(&format!("n{n}"))).expect("created")).collect();
    let first =
        |digit: char| many.iter().chain([&one, &two]).filter(|c| c.id.as_str().starts_with(digit)).count();
    let digit = "0123456789abcdef".chars().find(|digit| first(*digit) > 1).expect("there are eighteen");
    let error = bench.engine.resolve(&digit.to_string()).expect_err("ambiguous");
    assert_eq!(error.kind(), ErrorKind::Conflict);
}

#[test]
fn a_taken_name_is_refused_and_a_dead_holder_gives_it_up() {
    let bench = Bench::new();
    let created = bench.engine.create(&bench.lasting("web")).expect("created");
    let error = bench.engine.create(&bench.lasting("web")).expect_err("taken");
    assert_eq!(error.kind(), ErrorKind::AlreadyExists);
    assert_eq!(error.chain(), format!("the name `web` is taken by container `{}`", created.id.short()));
    assert_eq!(bench.world.left().snapshots.len(), 1);

    let image = bench.engine.images().resolve("small").expect("there");
    let started = bench.engine.run(&bench.ephemeral("job"), &image, StartOptions::default()).expect("runs");
    bench.world.end(started.id(), ExitStatus::Exited(0));
    bench
        .engine
        .run(&bench.ephemeral("job"), &image, StartOptions::default())
        .expect("the name is free again");
}

#[test]
fn user_namespaces_get_ranges_of_their_own_the_lowest_first() {
    let bench = Bench::new();
    let first_host_id = |name: &str| {
        let detail = bench.engine.inspect(name).expect("inspected");
        detail.mapping.map(|mapping| mapping.ranges[0].host)
    };
    for name in ["a", "b", "c"] {
        bench.engine.create(&bench.lasting(name)).expect("created");
    }
    let spec = ContainerSpec { user_namespace: UserNamespace::Host, ..bench.lasting("host") };
    bench.engine.create(&spec).expect("created");
    assert_eq!(first_host_id("host"), None);
    let base = 0x4000_0000;
    assert_eq!([first_host_id("a"), first_host_id("b")], [Some(base), Some(base + 65_536)]);
    bench.engine.remove("b", false).expect("removed");
    bench.engine.create(&bench.lasting("d")).expect("created");
    assert_eq!(first_host_id("d"), Some(base + 65_536));
    bench.engine.remove("a", false).expect("removed");
    bench.engine.create(&bench.lasting("e")).expect("created");
    assert_eq!(first_host_id("e"), Some(base));
}

#[test]
fn the_files_of_the_engine_say_what_the_network_gave() {
    let bench = Bench::new();
    let resolver = bench.run_directory().with_file_name("resolv.conf");
    std::fs::write(resolver, "nameserver 127.0.0.53\nnameserver 192.0.2.1\n").expect("written");
    let spec = ContainerSpec { hostname: Some("box".to_owned()), init: true, ..bench.lasting("web") };
    let created = bench.engine.create(&spec).expect("created");
    bench.engine.start("web", StartOptions::default()).expect("started");
    let launch = &bench.world.launches()[0];
    let read = |name: &str| std::fs::read_to_string(launch.directory.join(name)).expect("there");
    assert_eq!(read("hostname"), "box\n");
    assert_eq!(read("resolv.conf"), "nameserver 192.0.2.1\n");
    assert_eq!(
        read("hosts"),
        "127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n10.88.0.2 box web\n\
         10.88.0.1 host.containers.internal host.docker.internal\n"
    );
    assert_eq!(std::fs::read(bench.run_directory().join("loam-init")).expect("there"), b"init");
    assert_eq!(launch.log.as_deref(), Some(bench.engine.log_path(&created.id).as_path()));
    assert!(launch.rootfs.mapping.is_some());
}

#[test]
fn published_ports_are_shown_with_what_was_taken() {
    let bench = Bench::new();
    let spec = ContainerSpec { ports: vec![port(8080), port(0)], ..bench.lasting("web") };
    bench.engine.create(&spec).expect("created");
    bench.engine.start("web", StartOptions::default()).expect("started");
    assert_eq!(bench.engine.list(false).expect("listed")[0].ports, [port(8080), port(40_000)]);
    let spec = ContainerSpec { ports: vec![port(8080)], ..bench.lasting("rival") };
    bench.engine.create(&spec).expect("created");
    let error = bench.engine.start("rival", StartOptions::default()).expect_err("taken");
    assert_eq!(error.kind(), ErrorKind::AlreadyExists);
    let detail = bench.engine.inspect("rival").expect("inspected");
    assert_eq!(
        (detail.state, detail.failure.as_deref()),
        (ContainerState::Created, Some("host port 8080 is taken"))
    );
    bench.engine.remove("web", true).expect("removed");
    bench.engine.start("rival", StartOptions::default()).expect("the port is free again");
}

#[test]
fn networks_that_need_no_attachment_get_none() {
    let bench = Bench::new();
    for (name, network) in [("none", NetworkMode::None), ("host", NetworkMode::Host)] {
        bench.engine.create(&ContainerSpec { network, ..bench.lasting(name) }).expect("created");
        bench.engine.start(name, StartOptions::default()).expect("started");
    }
    assert_eq!(bench.world.left().attachments, []);
}

#[test]
fn a_stubborn_container_is_killed_and_a_paused_one_gets_its_signal() {
    let bench = Bench::new();
    let spec = ContainerSpec { stop_signal: Some("SIGUSR1".to_owned()), ..bench.lasting("web") };
    bench.engine.create(&spec).expect("created");
    bench.engine.start("web", StartOptions::default()).expect("started");
    bench.engine.pause("web").expect("paused");
    assert_eq!(bench.engine.stop("web", None).expect("stopped").status, ExitStatus::Signaled(10));

    bench.engine.start("web", StartOptions::default()).expect("started");
    bench.engine.pause("web").expect("paused");
    bench.engine.kill("web", 9, false).expect("killed");
    assert_eq!(bench.engine.wait("web").expect("ended").status, ExitStatus::Signaled(9));

    bench.world.set_stubborn(true);
    bench.engine.start("web", StartOptions::default()).expect("started");
    let exit = bench.engine.stop("web", Some(Duration::ZERO)).expect("stopped");
    assert_eq!(exit.status, ExitStatus::Signaled(9));
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

#[test]
fn a_list_tells_who_lives_without_asking_the_shims() {
    use loam_testkit::seams::Step;
    let bench = Bench::new();
    bench.world.set_pid(i32::try_from(std::process::id()).ok());
    for name in ["one", "two"] {
        bench.engine.create(&bench.lasting(name)).expect("created");
        bench.engine.start(name, StartOptions::default()).expect("started");
    }
    bench.engine.create(&bench.lasting("three")).expect("created");
    bench.world.take_steps();
    assert_eq!(bench.engine.list(false).expect("listed").len(), 2);
    assert_eq!(bench.engine.list(true).expect("listed").len(), 3);
    assert_eq!(bench.world.take_steps(), [] as [Step; 0]);
    let line = serde_json::to_value(&bench.engine.list(true).expect("listed")[0]).expect("JSON");
    assert_eq!(
        (&line["name"], &line["state"], &line["command"][0]),
        (&"three".into(), &"created".into(), &"/bin/main".into())
    );
}

#[test]
fn inspect_shows_what_takes_effect() {
    let bench = Bench::new();
    bench.engine.create(&bench.lasting("web")).expect("created");
    for running in [false, true] {
        if running {
            bench.engine.start("web", StartOptions::default()).expect("started");
        }
        let detail = bench.engine.inspect("web").expect("inspected");
        let effective = detail.effective.as_ref().expect("can be started");
        assert_eq!(effective.arguments, ["/bin/main", "run"]);
        assert_eq!(detail.pid.is_some(), running);
        assert_eq!(detail.network.interfaces.len(), usize::from(running));
        assert_eq!(detail.cgroup, format!("/loam/{}", detail.id));
        serde_json::to_string(&detail).expect("JSON");
    }
}

#[test]
fn wishes_that_make_no_sense_are_refused_and_leave_nothing() {
    let bench = Bench::new();
    let spec = || bench.lasting("web");
    let bind = |source: &str, target: &str| MountSpec {
        target: target.to_owned(),
        kind: MountKind::Bind {
            source: source.into(),
            recursive: true,
            propagation: Default::default(),
            idmap: true,
            exec: true,
            dev: false,
            suid: false,
        },
        read_only: false,
    };
    let limited = |change: fn(&mut ContainerSpec)| {
        let mut wish = spec();
        change(&mut wish);
        wish
    };
    let cases = [
        (
            ContainerSpec { network: NetworkMode::Host, ports: vec![port(80)], ..spec() },
            "ports can't be published with the network `host`",
        ),
        (
            ContainerSpec { network: NetworkMode::None, ports: vec![port(80)], ..spec() },
            "ports can't be published with the network `none`",
        ),
        (ContainerSpec { ports: vec![port(80), port(80)], ..spec() }, "host port 80/tcp is published twice"),
        (ContainerSpec { network: NetworkMode::Networks(vec![]), ..spec() }, "no network is named"),
        (
            ContainerSpec { mounts: vec![bind("/", "data")], ..spec() },
            "mount target `data` is not an absolute path",
        ),
        (
            ContainerSpec { mounts: vec![bind("/", "/a/../b")], ..spec() },
            "mount target `/a/../b` contains `..` or a zero byte",
        ),
        (
            ContainerSpec { mounts: vec![bind("/", "/")], ..spec() },
            "nothing can be mounted over the container's root",
        ),
        (
            ContainerSpec { mounts: vec![bind("/", "/a"), bind("/", "/a/")], ..spec() },
            "two mounts have the target `/a`",
        ),
        (
            ContainerSpec { mounts: vec![bind("data", "/a")], ..spec() },
            "mount source `data` is not an absolute path",
        ),
        (
            ContainerSpec { mounts: vec![bind("/not/there", "/a")], ..spec() },
            "mount source `/not/there` does not exist",
        ),
        (
            ContainerSpec { environment: vec!["=x".to_owned()], ..spec() },
            "environment variable `=x` is not `KEY=VALUE`",
        ),
        (
            ContainerSpec { working_directory: Some("w".to_owned()), ..spec() },
            "working directory `w` is not an absolute path",
        ),
        (
            ContainerSpec { stop_signal: Some("SIGNOPE".to_owned()), ..spec() },
            "no signal is called `SIGNOPE`",
        ),
        (ContainerSpec { entrypoint: Some(vec![]), ..spec() }, "image `small` does not say what to run"),
        (limited(|w| w.limits.cpu_millis = Some(0)), "a limit of 0 processors lets nothing run"),
        (
            limited(|w| w.limits.memory_swap = Some(5)),
            "a limit of memory and swap together needs a memory limit",
        ),
        (limited(|w| w.limits.pids = Some(0)), "a limit on processes is -1 or at least 1"),
    ];
    for (wish, message) in cases {
        let error = bench.engine.create(&wish).expect_err(message);
        assert_eq!((error.kind(), error.chain().as_str()), (ErrorKind::Invalid, message));
    }
    let wish = ContainerSpec { hostname: Some("a\nb".to_owned()), ..spec() };
    assert!(
        bench
            .engine
            .create(&wish)
            .expect_err("a line feed")
            .chain()
            .starts_with("`a\\nb` is not a valid host name")
    );
    let network = NetworkMode::Networks(vec!["missing".parse().expect("a name")]);
    let error = bench.engine.create(&ContainerSpec { network, ..spec() }).expect_err("no network");
    assert_eq!((error.kind(), error.chain().as_str()), (ErrorKind::NotFound, "no network `missing`"));
    let error =
        bench.engine.create(&ContainerSpec { image: "none".to_owned(), ..spec() }).expect_err("no image");
    assert_eq!(error.kind(), ErrorKind::NotFound);
    bench.assert_nothing_left("afterwards");
}
