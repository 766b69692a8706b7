//! Addresses, hardware addresses, interfaces and default routes that are asked for.

use loam_model::{DetachRequest, ErrorKind, Network, NetworkChoice};
use loam_testkit::lab::{Sandbox, inside};

use crate::bench::{Engine, id};

const OTHER: &str = r#"{"cniVersion":"1.1.0","name":"other","plugins":[{"type":"bridge","bridge":"other0",
    "isDefaultGateway":true,"capabilities":{"ips":true,"mac":true},
    "ipam":{"type":"host-local","subnet":"10.77.0.0/24"}}]}"#;

fn choice(name: &str) -> NetworkChoice {
    name.parse().expect("valid")
}

#[test]
fn what_is_asked_for_is_what_the_container_has() {
    inside("options::what_is_asked_for_is_what_the_container_has", || {
        let engine = Engine::new();
        engine.configure("other.conflist", OTHER);
        let one = Sandbox::new();
        let mut other = choice("other");
        other.options.addresses = vec!["10.77.0.9".parse().expect("valid")];
        other.options.mac = "02:00:00:00:00:99".parse().ok();
        other.options.interface = Some("db0".to_owned());
        other.options.default_route = true;
        let attachment = engine.attach_as(&[choice("loam"), other], &id(1), &one, &[]).expect("attachable");
        let first = &attachment.interfaces[0];
        assert_eq!(
            (first.network.as_str(), first.name.as_str()),
            ("other", "db0"),
            "it has the default route"
        );
        assert_eq!(first.mac.as_deref(), Some("02:00:00:00:00:99"));
        assert_eq!(first.addresses[0].to_string(), "10.77.0.9/24");
        assert_eq!(attachment.interfaces[1].name, "eth0");
        let routes = one.command(&["ip", "route", "show", "default"]);
        assert!(routes.contains("dev db0") && routes.lines().count() == 1, "{routes}");
        let link = one.command(&["ip", "addr", "show", "dev", "db0"]);
        assert!(link.contains("02:00:00:00:00:99") && link.contains("10.77.0.9/24"), "{link}");
        engine
            .network
            .check(&DetachRequest { container: &id(1), namespace: Some(one.path()) })
            .expect("as made");
        engine.detach(&id(1), Some(&one));
        engine.assert_nothing_left("after detaching");
    });
}

#[test]
fn what_can_t_be_had_is_refused_and_leaves_nothing() {
    inside("options::what_can_t_be_had_is_refused_and_leaves_nothing", || {
        let engine = Engine::new();
        engine.configure("other.conflist", OTHER);
        engine.configure("plain.conflist", &OTHER.replace("other", "plain").replace("\"ips\":true,", ""));
        let (one, two) = (Sandbox::new(), Sandbox::new());
        let at = |network: &str, address: &str| {
            let mut choice = choice(network);
            choice.options.addresses = vec![address.parse().expect("valid")];
            [choice]
        };
        engine.attach_as(&at("other", "10.77.0.9"), &id(1), &one, &[]).expect("free");
        for (network, address, kind, said) in [
            ("other", "10.77.0.9", ErrorKind::AlreadyExists, "10.77.0.9 is not available"),
            ("other", "10.77.0.1", ErrorKind::AlreadyExists, "it is the gateway"),
            ("other", "10.78.0.9", ErrorKind::Invalid, "is in no subnet of network `other`"),
            (
                "plain",
                "10.77.0.9",
                ErrorKind::Invalid,
                "network `plain` can't give an address that is asked for",
            ),
        ] {
            let failure = engine.attach_as(&at(network, address), &id(2), &two, &[]).expect_err(said);
            assert!(failure.kind() == kind && failure.chain().contains(said), "{said}: {failure:?}");
        }
        let mut both = [choice("loam"), choice("other")];
        both.iter_mut().for_each(|choice| choice.options.default_route = true);
        let failure = engine.attach_as(&both, &id(2), &two, &[]).expect_err("two default routes");
        assert_eq!(failure.kind(), ErrorKind::Invalid);
        let mut named = [choice("loam"), choice("other")];
        named.iter_mut().for_each(|choice| choice.options.interface = Some("net0".to_owned()));
        let failure = engine.attach_as(&named, &id(2), &two, &[]).expect_err("one name");
        assert_eq!(failure.to_string(), "interface name `net0` is taken");
        engine.detach(&id(1), Some(&one));
        engine.assert_nothing_left("after refusals");
    });
}
