//! What lists, inspections and searches show.

use loam_engine::{ContainerState, StartOptions};
use loam_model::{ContainerSpec, ErrorKind};

use crate::bench::{Bench, port};

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
        assert_eq!(detail.cgroup, format!("/loam-{}", detail.id));
        serde_json::to_string(&detail).expect("JSON");
    }
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
fn a_disk_limit_is_changed_in_the_store_and_then_in_the_spec() {
    use loam_engine::ContainerState::{Created, Running};
    use loam_model::{Limits, UserNamespace};
    use loam_testkit::seams::{Fault, Step};
    let bench = Bench::new();
    let limited = |name: &str, disk: Option<u64>, user_namespace| ContainerSpec {
        limits: Limits { disk, ..Limits::default() },
        user_namespace,
        ..bench.lasting(name)
    };
    let asked = |name: &str| bench.engine.inspect(name).expect("inspected").spec.limits.disk;
    let (small, large) = (8 << 20, 64 << 20);
    for (name, disk, user_namespace) in [
        ("first", None, UserNamespace::Auto),
        ("other", Some(small), UserNamespace::Auto),
        ("host", Some(small), UserNamespace::Host),
    ] {
        let id = bench.engine.create(&limited(name, disk, user_namespace)).expect("created").id;
        for (state, bytes) in [(Created, large), (Running, small)] {
            if state == Running {
                bench.engine.start(name, StartOptions::default()).expect("started");
            }
            bench.engine.change_disk_limit(name, bytes).expect("changed");
            assert_eq!((bench.world.disk_limit(&id), asked(name)), (Some(bytes), Some(bytes)), "{name}");
            assert_eq!(bench.engine.inspect(name).expect("inspected").state, state, "it goes on");
        }
    }
    // Who is refused keeps what was there.
    let unheld = bench.engine.create(&limited("unheld", None, UserNamespace::Host)).expect("created").id;
    let refused = bench.engine.change_disk_limit("unheld", large).expect_err("it could get around it");
    assert_eq!(refused.kind(), ErrorKind::Unsupported);
    assert_eq!(refused.to_string(), "container `unheld` was made without a disk limit and a user namespace");
    assert_eq!((bench.world.disk_limit(&unheld), asked("unheld")), (None, None));
    bench.world.inject(Step::ChangeLimit, 0, Fault::Fails(ErrorKind::Unsupported));
    let refused = bench.engine.change_disk_limit("other", large).expect_err("the store can't");
    assert_eq!((refused.kind(), asked("other")), (ErrorKind::Unsupported, Some(small)));
    assert_eq!(refused.to_string(), "the disk limit of container `other` can't be changed");
    let refused = bench.engine.change_disk_limit("other", 5).expect_err("too small");
    assert_eq!(refused.kind(), ErrorKind::Invalid);
    assert_eq!(bench.engine.change_disk_limit("nope", large).expect_err("none").kind(), ErrorKind::NotFound);
}

#[test]
fn an_update_that_was_killed_is_seen_in_the_figures() {
    use loam_model::{DiskLimit, ImageStore as _, LimitScope, Limits};
    let bench = Bench::new();
    let (old, new) = (8 << 20, 64 << 20);
    let spec =
        ContainerSpec { limits: Limits { disk: Some(old), ..Limits::default() }, ..bench.lasting("web") };
    let id = bench.engine.create(&spec).expect("created").id;
    bench.engine.start("web", StartOptions::default()).expect("started");
    let shown = || bench.engine.stats("web").expect("figures").disk_limit;
    assert_eq!(shown(), Some(old));
    // The store has done its part, and nobody is left to write it into the spec.
    let limit = DiskLimit { bytes: new, scope: LimitScope::Exclusive, can_change_projects: false };
    bench.world.change_limit(&id, &limit).expect("changed");
    let detail = bench.engine.inspect("web").expect("inspected");
    assert_eq!((detail.spec.limits.disk, detail.disk.and_then(|usage| usage.limit)), (Some(old), Some(new)));
    assert_eq!(shown(), Some(new));
    bench.engine.change_disk_limit("web", new).expect("changed");
    assert_eq!(
        (bench.engine.inspect("web").expect("inspected").spec.limits.disk, shown()),
        (Some(new), Some(new))
    );
}
