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
