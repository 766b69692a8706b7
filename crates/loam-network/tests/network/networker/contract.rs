//! What a networker is asked and gives.

use loam_model::{
    DetachRequest, EgressPolicy, ErrorKind, Network, NetworkRules, NetworkSource, NetworkSpec, NetworkerSpec,
    PortMapping, Protocol,
};
use loam_testkit::lab::{Sandbox, inside, succeed};
use serde_json::{Value, json};

use super::{WELL, assert_nothing_kept, attach, configure, engine, networker, policy, stdin, tcp};
use crate::bench::{Engine, id, port};

#[test]
fn a_networker_gets_and_gives_what_guardian_s_contract_says() {
    inside("networker::contract::a_networker_gets_and_gives_what_guardian_s_contract_says", || {
        let engine = engine(WELL);
        let one = Sandbox::new();
        let ports = [port(8080, 80, Protocol::Tcp), port(0, 81, Protocol::Tcp)];
        let made = attach(&engine, &one, &ports).expect("attachable");
        assert_eq!(engine.said("args-up"), "--config /c d --action up --handle some handle\n");
        let pid: u64 = one
            .path()
            .to_str()
            .and_then(|path| path.split('/').nth(2))
            .expect("one")
            .parse()
            .expect("a number");
        assert_eq!(
            stdin(&engine, "up"),
            json!({"Pid": pid, "Properties": {"app_id": "x"}, "netout_rules": [{"protocol": 1, "ports": [{"start": 80, "end": 80}]}],
                   "netin": [{"host_port": 8080, "container_port": 80}, {"host_port": 0, "container_port": 81}]})
        );
        let interface = &made.interfaces[0];
        assert_eq!(
            (interface.name.as_str(), interface.addresses[0].to_string().as_str()),
            ("eth7", "10.7.0.2/24")
        );
        assert!(
            interface.mac.is_some()
                && interface.gateways == ["10.7.0.1".parse::<std::net::IpAddr>().expect("valid")]
        );
        assert_eq!(made.ports.iter().map(|port| port.host_port).collect::<Vec<_>>(), [8080, 61001]);
        assert_eq!(
            (made.name_servers[0].to_string().as_str(), made.search_domains[0].as_str()),
            ("10.7.0.53", "inside")
        );
        assert_eq!(made.properties["policy"], "p");

        // One port more, and rules as long as there are more of them.
        engine.network.publish(&id(1), &one.path(), &[port(8081, 80, Protocol::Tcp)]).expect("publishable");
        let told =
            json!({"HostIP": "192.0.2.1", "HostPort": 8081, "ContainerIP": "10.7.0.2", "ContainerPort": 80});
        assert_eq!(stdin(&engine, "net-in"), told);
        engine.network.restrict(&id(1), &policy(vec![tcp(80)])).expect("as at first");
        assert_eq!(engine.said("args-bulk-net-out"), "", "there is nothing to say");
        engine.network.restrict(&id(1), &policy(vec![tcp(81), tcp(80)])).expect("one more");
        let told = json!({"container_ip": "10.7.0.2", "netout_rules": [{"protocol": 1, "ports": [{"start": 81, "end": 81}]}]});
        assert_eq!(stdin(&engine, "bulk-net-out"), told);
        let failure = engine.network.restrict(&id(1), &policy(vec![tcp(80)])).expect_err("one less");
        assert_eq!(failure.to_string(), "network `cf` has an external networker, which takes no rule back");
        let guarded = EgressPolicy { guarded: true, ..policy(vec![tcp(81), tcp(80)]) };
        let failure = engine.network.restrict(&id(1), &guarded).expect_err("a promise that nobody can keep");
        assert_eq!(failure.kind(), ErrorKind::Unsupported);
        let two = [port(1, 1, Protocol::Tcp), port(2, 2, Protocol::Tcp)];
        let failure = engine.network.publish(&id(1), &one.path(), &two).expect_err("two at once");
        assert!(failure.to_string().ends_with("publishes one port at a time"), "{failure}");

        let request = DetachRequest { container: &id(1), namespace: Some(one.path()) };
        engine.network.check(&request).expect("as it was made");
        one.command(&["ip", "addr", "del", "10.7.0.2/24", "dev", "eth7"]);
        let failure = engine.network.check(&request).expect_err("its address is gone");
        assert_eq!(failure.to_string(), "address `10.7.0.2` of network `cf` is gone");

        // The network has another program by now; the one that was asked is asked to undo it.
        configure(&engine, "nobody's");
        let status = engine.network.status(&"cf".parse().expect("valid")).expect_err("there is none");
        assert!(status.to_string().ends_with("nobody's` is no program"), "{status}");
        engine.detach(&id(1), None);
        assert_eq!(
            (stdin(&engine, "down"), engine.said("args-down").as_str()),
            (Value::Null, "--config /c d --action down --handle some handle\n")
        );
        assert!(!succeed(&["ip", "-o", "link"]).contains("nw0"));
        assert_nothing_kept(&engine, "after down");
        std::fs::remove_file(engine.directory.path().join("args-down")).expect("there");
        engine.detach(&id(1), None);
        assert_eq!(engine.said("args-down"), "", "nobody is asked twice");
    });
}

#[test]
fn a_networker_that_says_nothing_has_attached_all_the_same() {
    inside("networker::contract::a_networker_that_says_nothing_has_attached_all_the_same", || {
        let engine = engine("exit 0");
        let one = Sandbox::new();
        let made = attach(&engine, &one, &[port(8080, 80, Protocol::Tcp)]).expect("attachable");
        let interface = &made.interfaces[0];
        assert_eq!((interface.name.as_str(), interface.addresses.len()), ("eth0", 0));
        assert_eq!(made.ports[0].host_port, 8080);
        let failure = engine.network.restrict(&id(1), &policy(vec![])).expect_err("no address");
        assert_eq!(failure.kind(), ErrorKind::NotFound);
        engine.detach(&id(1), Some(&one));
        // An address that is nowhere inside is one alone.
        networker(
            &engine,
            r#"echo '{"properties":{"garden.network.container-ip":"10.8.0.2","garden.network.interface":"wan"}}'"#,
        );
        let made = attach(&engine, &one, &[]).expect("attachable");
        let interface = &made.interfaces[0];
        assert_eq!(
            (interface.name.as_str(), interface.addresses[0].to_string().as_str()),
            ("wan", "10.8.0.2/32")
        );
        engine.detach(&id(1), Some(&one));
        assert_nothing_kept(&engine, "after all");
    });
}

#[test]
fn networks_beside_a_networker_s_have_their_limits() {
    inside("networker::contract::networks_beside_a_networker_s_have_their_limits", || {
        let engine = engine(WELL);
        let one = Sandbox::new();
        let refused = |networks: &[&str], ports: &[PortMapping]| {
            engine.attach_to(networks, &id(1), &one, ports).expect_err("not in its power").to_string()
        };
        let said =
            "network `cf` can't leave the default route to another network: it has an external networker";
        assert_eq!(refused(&["loam", "cf"], &[]), said);
        let said = "network `cf` can't publish ports of UDP: it has an external networker";
        assert_eq!(refused(&["cf"], &[port(1, 1, Protocol::Udp)]), said);
        engine.attach_to(&["cf", "loam"], &id(1), &one, &[]).expect("attachable");
        let failure = engine.network.restrict(&id(1), &policy(vec![])).expect_err("two kinds");
        assert!(
            failure.to_string().contains("on more than the network of an external networker"),
            "{failure}"
        );
        engine.network.collect(None).expect("nothing to collect");
        engine.detach(&id(1), Some(&one));
        assert_nothing_kept(&engine, "after both");
    });
}

#[test]
fn a_network_is_made_for_a_program_that_is_there() {
    inside("networker::contract::a_network_is_made_for_a_program_that_is_there", || {
        let engine = Engine::new();
        let program = engine.directory.path().join("plugins/theirs");
        let networker = NetworkerSpec { program, arguments: vec!["a".into()], external_address: None };
        let spec = NetworkSpec {
            driver: Some("external-networker".into()),
            networker: Some(networker),
            ..NetworkSpec::default()
        };
        let make = || {
            engine
                .network
                .create_network(&NetworkSource::Spec("cf".parse().expect("valid"), Box::new(spec.clone())))
        };
        let failure = make().expect_err("no program").to_string();
        assert!(
            failure.starts_with("the external networker `") && failure.ends_with("` is no program"),
            "{failure}"
        );
        engine.plugin("theirs", "exit 0");
        let made = make().expect("there");
        assert_eq!((made.driver.as_str(), made.subnets.len()), ("external-networker", 0));
        engine.network.status(&"cf".parse().expect("valid")).expect("well");
    });
}
