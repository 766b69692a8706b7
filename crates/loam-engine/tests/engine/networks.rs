//! Containers that come onto networks and leave them, the names that they have there, and networks that go.

use loam_engine::{ContainerState, StartOptions};
use loam_model::{
    ContainerId, ContainerSpec, ErrorKind, ExitStatus, NetworkChoice, NetworkMode, NetworkName,
    NetworkSource, NetworkSpec,
};
use loam_testkit::seams::{Fault, Step};

use crate::bench::{Bench, port};

fn name(text: &str) -> NetworkName {
    text.parse().expect("a name")
}

fn choice(network: &str, aliases: &[&str]) -> NetworkChoice {
    let mut choice: NetworkChoice = network.parse().expect("a name");
    choice.options.aliases = aliases.iter().map(ToString::to_string).collect();
    choice
}

/// A bench whose containers run as this very process, so that they have a namespace.
fn bench() -> Bench {
    let bench = Bench::new();
    bench.world.set_pid(i32::try_from(std::process::id()).ok());
    bench
}

fn start(bench: &Bench, container: &str, networks: Vec<NetworkChoice>) -> ContainerId {
    let spec = ContainerSpec { network: NetworkMode::Networks(networks), ..bench.lasting(container) };
    let id = bench.engine.create(&spec).expect("created").id;
    bench.engine.start(container, StartOptions::default()).expect("started");
    id
}

/// The lines of a container's hosts file that name another one.
fn known(bench: &Bench, id: &ContainerId, other: &str) -> Vec<String> {
    let path = bench.run_directory().join("containers").join(id.as_str()).join("hosts");
    let text = std::fs::read_to_string(path).expect("there");
    let lines = text.lines().filter(|line| line.split(' ').skip(1).any(|word| word == other));
    lines.map(str::to_owned).collect()
}

#[test]
fn containers_on_a_network_that_was_made_know_each_other_while_they_run() {
    let bench = bench();
    let one = start(&bench, "one", vec![choice("db", &["first"])]);
    assert_eq!(known(&bench, &one, "first").len(), 1, "its own alias");
    let two = start(&bench, "two", vec![choice("loam", &[]), choice("db", &["main", "spare"])]);
    let line = known(&bench, &one, "spare");
    assert_eq!(line, [format!("10.88.1.3 two {} main spare", two.short())]);
    assert_eq!(known(&bench, &two, "first").len(), 1, "who comes later knows who was there");
    start(&bench, "other", vec![choice("loam", &[])]);
    assert!(known(&bench, &two, "other").is_empty(), "strangers on the default network");
    bench.world.end(&two, ExitStatus::Exited(0));
    bench.engine.settle(&two).expect("settled");
    assert!(known(&bench, &one, "spare").is_empty(), "who ended is forgotten");
    bench.engine.start("two", StartOptions::default()).expect("started again");
    assert_eq!(known(&bench, &one, "spare").len(), 1);
    bench.engine.remove("two", true).expect("removed");
    assert!(known(&bench, &one, "spare").is_empty(), "who was removed is forgotten");
}

#[test]
fn a_network_more_or_less_is_seen_at_once_and_after_a_restart() {
    let bench = bench();
    let one = start(&bench, "one", vec![choice("loam", &[])]);
    let two = start(&bench, "two", vec![choice("db", &[])]);
    bench.engine.connect_network("one", &choice("db", &["first"])).expect("connected");
    assert_eq!(bench.world.networks_of(&one), [name("loam"), name("db")]);
    assert_eq!(bench.engine.inspect("one").expect("inspected").network.interfaces.len(), 2);
    assert_eq!((known(&bench, &two, "first").len(), known(&bench, &one, "two").len()), (1, 1));
    let error = bench.engine.connect_network("one", &choice("db", &[])).expect_err("twice");
    assert_eq!(error.chain(), "container `one` is on network `db` already");
    bench.engine.stop("one", None).expect("stopped");
    bench.engine.start("one", StartOptions::default()).expect("started");
    assert_eq!(bench.world.networks_of(&one), [name("loam"), name("db")]);
    bench.engine.disconnect_network("one", &name("loam")).expect("disconnected");
    assert_eq!(bench.world.networks_of(&one), [name("db")]);
    bench.engine.disconnect_network("one", &name("db")).expect("disconnected");
    assert!(known(&bench, &two, "first").is_empty());
    let detail = bench.engine.inspect("one").expect("inspected");
    assert_eq!((detail.spec.network, detail.network.interfaces.len()), (NetworkMode::None, 0));
    let error = bench.engine.disconnect_network("one", &name("db")).expect_err("it is not on it");
    assert_eq!(
        (error.kind(), error.chain().as_str()),
        (ErrorKind::NotFound, "container `one` is not on network `db`")
    );
    // One that does not run has the wish changed.
    bench.engine.stop("one", None).expect("stopped");
    bench.engine.connect_network("one", &choice("db", &[])).expect("at the next start");
    assert_eq!(bench.world.networks_of(&one), []);
    bench.engine.start("one", StartOptions::default()).expect("started");
    assert_eq!(bench.world.networks_of(&one), [name("db")]);
}

#[test]
fn a_connection_that_dies_half_way_is_done_again_or_goes_with_the_container() {
    for fault in [Fault::KilledBefore, Fault::KilledAfter, Fault::Fails(ErrorKind::Exhausted)] {
        let bench = bench();
        let one = start(&bench, "one", vec![choice("loam", &[])]);
        bench.world.inject(Step::ConnectNetwork, 0, fault);
        let attempt = || bench.engine.connect_network("one", &choice("db", &[]));
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(attempt));
        assert!(!matches!(outcome, Ok(Ok(()))), "{fault:?}");
        let next = bench.again();
        assert_eq!(next.engine.inspect("one").expect("inspected").network.interfaces.len(), 1, "{fault:?}");
        next.engine.connect_network("one", &choice("db", &[])).expect("done again");
        assert_eq!(next.world.networks_of(&one), [name("loam"), name("db")], "{fault:?}");
        next.engine.remove("one", true).expect("removed");
        next.assert_nothing_left(&format!("{fault:?}"));
    }
}

#[test]
fn what_makes_no_sense_is_refused() {
    let bench = bench();
    start(&bench, "one", vec![choice("loam", &[])]);
    for (wanted, kind, said) in [
        (choice("missing", &[]), ErrorKind::NotFound, "no network `missing`"),
        (choice("db", &["a b"]), ErrorKind::Invalid, "`a b` is no name that a host can have"),
        (
            choice("db", &["a\n1.2.3.4 x"]),
            ErrorKind::Invalid,
            "`a\\n1.2.3.4 x` is no name that a host can have",
        ),
    ] {
        let error = bench.engine.connect_network("one", &wanted).expect_err(said);
        assert_eq!((error.kind(), error.chain().as_str()), (kind, said));
    }
    let aliased =
        ContainerSpec { network: NetworkMode::Networks(vec![choice("loam", &["x"])]), ..bench.lasting("x") };
    let error = bench.engine.create(&aliased).expect_err("no names there");
    assert_eq!(error.chain(), "containers on the default network `loam` have no aliases");
    let host = ContainerSpec { network: NetworkMode::Host, ..bench.lasting("host") };
    bench.engine.create(&host).expect("created");
    let error = bench.engine.connect_network("host", &choice("db", &[])).expect_err("it has the host's");
    assert_eq!(error.chain(), "container `host` has the host's network, and no other");
    let published = ContainerSpec { ports: vec![port(80)], ..bench.lasting("web") };
    bench.engine.create(&published).expect("created");
    let error = bench.engine.disconnect_network("web", &name("loam")).expect_err("it publishes ports");
    assert_eq!(error.kind(), ErrorKind::Conflict);
}

#[test]
fn the_network_with_the_published_ports_stays_while_the_container_runs() {
    let bench = bench();
    let networks = NetworkMode::Networks(vec![choice("loam", &[]), choice("db", &[])]);
    let spec = ContainerSpec { network: networks, ports: vec![port(80)], ..bench.lasting("web") };
    let id = bench.engine.create(&spec).expect("created").id;
    bench.engine.start("web", StartOptions::default()).expect("started");
    let error = bench.engine.disconnect_network("web", &name("loam")).expect_err("it has the ports");
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert_eq!(error.to_string(), "network `loam` has the published ports of container `web`");
    assert_eq!(bench.world.networks_of(&id), [name("loam"), name("db")], "nothing has changed");
    assert_eq!(bench.engine.inspect("web").expect("inspected").network.ports.len(), 1);
    bench.engine.disconnect_network("web", &name("db")).expect("any other goes");
    bench.engine.connect_network("web", &choice("db", &[])).expect("and comes");
    bench.engine.stop("web", None).expect("stopped");
    bench.engine.disconnect_network("web", &name("loam")).expect("at the next start");
    bench.engine.start("web", StartOptions::default()).expect("started");
    assert_eq!(bench.world.networks_of(&id), [name("db")]);
    assert_eq!(bench.engine.inspect("web").expect("inspected").network.ports.len(), 1, "they have moved");
}

#[test]
fn a_network_goes_when_nobody_runs_or_will_run_on_it() {
    let bench = bench();
    for network in ["db", "idle"] {
        let spec = Box::new(NetworkSpec::default());
        bench.engine.create_network(&NetworkSource::Spec(name(network), spec)).expect("made");
    }
    start(&bench, "one", vec![choice("db", &[])]);
    let detail = bench.engine.inspect_network(&name("db")).expect("inspected");
    assert_eq!((detail.containers.len(), detail.containers[0].name.as_str()), (1, "one"));
    assert_eq!(bench.engine.check_network(&name("db")).expect("checked"), []);
    for force in [false, true] {
        let error = bench.engine.remove_network(&name("db"), force).expect_err("in use");
        assert_eq!(error.chain(), "network `db` is in use by container `one`");
    }
    assert_eq!(bench.engine.prune_networks().expect("pruned"), [name("idle")]);
    bench.engine.stop("one", None).expect("stopped");
    let error = bench.engine.remove_network(&name("db"), false).expect_err("it would be on it");
    assert_eq!(error.chain(), "container `one` would be on network `db` when it is started");
    bench.engine.remove_network(&name("db"), true).expect("told to");
    assert_eq!(bench.engine.networks().expect("listed").networks.len(), 1);
    assert_eq!(bench.engine.inspect("one").expect("inspected").state, ContainerState::Stopped);
}
