//! One network more, or one less, while a container runs.

use loam_model::{
    AttachExtras, ConnectRequest, DisconnectRequest, ErrorKind, Network, NetworkChoice, Protocol,
};
use loam_testkit::lab::{Sandbox, inside};

use crate::bench::{Engine, id, port};

pub(crate) const OTHER: &str = r#"{"cniVersion":"1.1.0","name":"other","plugins":[{"type":"bridge","bridge":"other0",
    "isDefaultGateway":true,"capabilities":{"ips":true},"ipam":{"type":"host-local","subnet":"10.77.0.0/30"}}]}"#;

pub(crate) fn connect(
    engine: &Engine,
    sandbox: &Sandbox,
    number: u8,
    network: &str,
) -> loam_model::Result<String> {
    let choice: NetworkChoice = network.parse().expect("valid");
    let made = engine.network.connect(&ConnectRequest {
        container: &id(number),
        name: "test",
        namespace: sandbox.path(),
        network: &choice,
        extras: AttachExtras::default(),
    })?;
    Ok(made.interfaces[0].name.clone())
}

fn disconnect(engine: &Engine, sandbox: Option<&Sandbox>, number: u8, network: &str) {
    let request = DisconnectRequest {
        container: &id(number),
        namespace: sandbox.map(Sandbox::path),
        network: &network.parse().expect("valid"),
    };
    engine.network.disconnect(&request).expect("idempotent");
}

#[test]
fn networks_come_and_go_beside_each_other() {
    inside("connect::networks_come_and_go_beside_each_other", || {
        let engine = Engine::new();
        engine.configure("other.conflist", OTHER);
        let (one, two) = (Sandbox::new(), Sandbox::new());
        engine.attach(&id(1), &one, &[port(8080, 80, Protocol::Tcp)]).expect("attachable");
        assert_eq!(connect(&engine, &one, 1, "other").expect("connectable"), "eth1");
        let routes = one.command(&["ip", "route", "show", "default"]);
        assert!(routes.contains("dev eth0") && routes.lines().count() == 1, "{routes}");
        let failure = connect(&engine, &one, 1, "other").expect_err("it is on it");
        assert_eq!(failure.kind(), ErrorKind::AlreadyExists);
        assert_eq!(failure.to_string(), "container `test` is on network `other` already");
        // The pool has one address: the failure leaves the other interface alone, and nothing of its own.
        engine.attach(&id(2), &two, &[]).expect("attachable");
        let failure = connect(&engine, &two, 2, "other").expect_err("exhausted");
        assert_eq!(failure.kind(), ErrorKind::Exhausted);
        assert!(!two.command(&["ip", "-o", "link"]).contains("eth1"));
        disconnect(&engine, Some(&one), 1, "other");
        disconnect(&engine, Some(&one), 1, "other");
        assert!(!one.command(&["ip", "-o", "link"]).contains("eth1"));
        assert_eq!(connect(&engine, &two, 2, "other").expect("the address is free"), "eth1");
        // Without any network, the first that comes gives the way out.
        disconnect(&engine, Some(&one), 1, "loam");
        assert_eq!(engine.network.attached().expect("readable"), [id(2)]);
        assert_eq!(connect(&engine, &one, 1, "loam").expect("connectable"), "eth0");
        assert!(one.command(&["ip", "route", "show", "default"]).contains("dev eth0"));
        engine.detach(&id(1), Some(&one));
        engine.detach(&id(2), None);
        [one, two].into_iter().for_each(Sandbox::end);
        engine.assert_nothing_left("after coming and going");
    });
}

#[test]
fn a_connection_that_was_killed_goes_with_the_container() {
    inside("connect::a_connection_that_was_killed_goes_with_the_container", || {
        let engine = Engine::new();
        engine.configure("other.conflist", OTHER);
        let one = Sandbox::new();
        engine.attach(&id(1), &one, &[]).expect("attachable");
        connect(&engine, &one, 1, "other").expect("connectable");
        // As after a death between the effect and its result.
        let result = format!("root/network/results/other-{}-eth1", id(1));
        std::fs::remove_file(engine.directory.path().join(result)).expect("it was kept");
        engine.detach(&id(1), None);
        one.end();
        engine.assert_nothing_left("after a death");
        let addresses = engine.directory.path().join("root/network/addresses/other/10.77.0.2");
        assert!(!addresses.exists());
    });
}
