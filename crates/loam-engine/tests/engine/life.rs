//! The ordinary life of containers, and what is refused.

use loam_engine::{ContainerState, StartOptions};
use loam_model::{ContainerSpec, ErrorKind, ExitStatus, NetworkMode, Streams, UserNamespace};

use crate::bench::{Bench, state};

#[test]
fn a_container_lives_its_life() {
    let bench = Bench::new();
    bench.world.set_warnings(&["no swap here"]);
    let created = bench.engine.create(&bench.lasting("web")).expect("created");
    assert_eq!(created.warnings, ["no swap here"]);
    assert_eq!(bench.engine.stop("web", None).expect("nothing to stop"), None);
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
    assert_eq!(
        bench.engine.stop("web", None).expect("has ended").expect("has run").status,
        ExitStatus::Exited(7)
    );
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
fn networks_that_need_no_attachment_get_none() {
    let bench = Bench::new();
    for (name, network) in [("none", NetworkMode::None), ("host", NetworkMode::Host)] {
        bench.engine.create(&ContainerSpec { network, ..bench.lasting(name) }).expect("created");
        bench.engine.start(name, StartOptions::default()).expect("started");
    }
    assert_eq!(bench.world.left().attachments, []);
}
