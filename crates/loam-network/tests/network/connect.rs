//! One network more, or one less, while a container runs.

use loam_model::{
    AttachExtras, ConnectRequest, DisconnectRequest, EgressAction, EgressList, EgressPolicy, EgressRule,
    ErrorKind, Network, NetworkChoice, NetworkRules, Protocol,
};
use loam_testkit::lab::{Sandbox, inside, succeed};

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

#[test]
fn a_network_is_left_by_one_that_reaches_nothing_by_it_and_no_record_names_its_address() {
    let name = "connect::a_network_is_left_by_one_that_reaches_nothing_by_it_and_no_record_names_its_address";
    inside(name, || {
        let engine = Engine::new();
        let probe = r#"if [ "$CNI_COMMAND" = DEL ]; then
                nft list table inet loam >"$HERE/at-del"; cat "$HERE/run/cni/egress/$CNI_CONTAINERID" >"$HERE/record"
            else sed 's/.*"prevResult":\(.*\),"type":"probe"}/\1/'; fi"#;
        engine.plugin("probe", probe);
        engine.configure("other.conflist", &OTHER.replace("}}]}", "}},{\"type\":\"probe\"}]}"));
        let one = Sandbox::new();
        engine.attach(&id(1), &one, &[]).expect("attachable");
        connect(&engine, &one, 1, "other").expect("connectable");
        let reject = EgressList { otherwise: EgressAction::Reject, ..EgressList::default() };
        let list = EgressList { rules: vec![EgressRule::default()], ..reject };
        let policy = EgressPolicy { to_others: list.clone(), to_host: list, guarded: true };
        engine.network.restrict(&id(1), &policy).expect("settable");
        let chain = |table: &str, address: &str| {
            let (_, after) = table.split_once(&format!("{address} comment"))?;
            after
                .split_once("goto ")
                .map(|(_, chain)| chain.split([' ', ',', '\n']).next().map(str::to_owned))?
        };
        let before = succeed(&["nft", "list", "table", "inet", "loam"]);
        let list = chain(&before, "10.77.0.2").expect("it has a list");
        disconnect(&engine, Some(&one), 1, "other");
        let at_del = engine.said("at-del");
        let closed = chain(&at_del, "10.77.0.2").expect("it has one still");
        assert_ne!(closed, list, "{at_del}");
        assert!(at_del.contains(&format!("goto {list}")), "the other address keeps its list: {at_del}");
        assert!(!engine.said("record").contains("10.77.0.2"), "{}", engine.said("record"));
        assert_eq!(engine.files("run/cni/egress"), [id(1).as_str()]);
        let after = succeed(&["nft", "list", "table", "inet", "loam"]);
        assert!(!after.contains("10.77.0.2") && after.contains(&list), "{after}");
        engine.detach(&id(1), Some(&one));
        engine.assert_nothing_left("after leaving");
    });
}
