//! What is refused, and leaves nothing.

use loam_engine::StartOptions;
use loam_model::{ContainerSpec, ErrorKind, ExitStatus, NetworkMode};

use crate::bench::{Bench, port};

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
fn specs_that_make_no_sense_are_refused_and_leave_nothing() {
    let bench = Bench::new();
    let spec = || bench.lasting("web");
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
            ContainerSpec { stop_signal: Some("SIGNOPE".to_owned()), ..spec() },
            "no signal is called `SIGNOPE`",
        ),
        // What the bundler refuses, before there is a snapshot.
        (ContainerSpec { entrypoint: Some(vec![]), ..spec() }, "no program"),
    ];
    for (spec, message) in cases {
        let image = bench.engine.images().resolve("small").expect("there");
        let thrown_away = ContainerSpec { auto_remove: true, ..spec.clone() };
        let run = bench.engine.run(&thrown_away, &image, StartOptions::default()).map(drop);
        for refused in [bench.engine.create(&spec).map(drop), run] {
            let error = refused.expect_err(message);
            assert_eq!((error.kind(), error.chain().as_str()), (ErrorKind::Invalid, message));
        }
    }
    let network = NetworkMode::Networks(vec!["missing".parse().expect("a name")]);
    let error = bench.engine.create(&ContainerSpec { network, ..spec() }).expect_err("no network");
    assert_eq!((error.kind(), error.chain().as_str()), (ErrorKind::NotFound, "no network `missing`"));
    let error =
        bench.engine.create(&ContainerSpec { image: "none".to_owned(), ..spec() }).expect_err("no image");
    assert_eq!(error.kind(), ErrorKind::NotFound);
    bench.assert_nothing_left("afterwards");
}
