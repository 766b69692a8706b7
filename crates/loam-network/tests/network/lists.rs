//! Configuration lists: several networks, and plugins of others.

use std::net::IpAddr;
use std::path::Path;

use loam_model::{ErrorKind, Protocol};
use loam_testkit::lab::{Sandbox, eventually, inside, succeed};

use crate::bench::{Engine, addresses, id, port};

#[test]
fn two_networks_have_one_default_route() {
    inside("lists::two_networks_have_one_default_route", || {
        let engine = Engine::new();
        let conf = engine.directory.path().join("root/networks");
        std::fs::create_dir_all(&conf).expect("writable");
        let other = r#"{"cniVersion":"1.0.0","name":"other","plugins":[{"type":"bridge","bridge":"other0",
            "isDefaultGateway":true,"ipam":{"type":"host-local","subnet":"10.77.0.0/24"},
            "dns":{"nameservers":["10.77.0.1"],"search":["other.test"]}}]}"#;
        std::fs::write(conf.join("other.conflist"), other).expect("writable");
        let one = Sandbox::new();
        let attachment = engine.attach_to(&["loam", "other"], &id(1), &one, &[]).expect("attachable");
        assert_eq!(attachment.interfaces[1].name, "eth1");
        assert_eq!(attachment.interfaces[1].addresses[0].to_string(), "10.77.0.2/24");
        assert_eq!(attachment.name_servers, ["10.77.0.1".parse::<IpAddr>().expect("valid")]);
        assert_eq!(attachment.search_domains, ["other.test"]);
        let routes = one.command(&["ip", "route", "show", "default"]);
        assert_eq!(routes.lines().count(), 1, "{routes}");
        assert!(routes.contains("dev eth0"), "{routes}");
        let failure =
            engine.attach_to(&["other"], &id(2), &one, &[port(1, 1, Protocol::Tcp)]).expect_err("no portmap");
        assert_eq!(failure.kind(), ErrorKind::Invalid);
        let failure = engine.attach_to(&["none"], &id(2), &one, &[]).expect_err("no network");
        assert_eq!(
            (failure.kind(), failure.to_string().as_str()),
            (ErrorKind::NotFound, "network `none` does not exist")
        );
        engine.detach(&id(1), Some(&one));
        engine.assert_nothing_left("after detaching from two networks");
        eventually("no veth is left", || !succeed(&["ip", "-o", "link"]).contains("master other0"));
    });
}

#[test]
fn plugins_of_others_are_executed_in_the_same_chain() {
    inside("lists::plugins_of_others_are_executed_in_the_same_chain", || {
        let Some(directory) =
            ["/opt/cni/bin", "/usr/lib/cni"].into_iter().find(|path| Path::new(path).join("tuning").exists())
        else {
            println!(
                "skipped: plugins_of_others_are_executed_in_the_same_chain: needs containernetworking-plugins"
            );
            return;
        };
        let engine = Engine::new();
        let conf = engine.directory.path().join("root/networks");
        std::fs::create_dir_all(&conf).expect("writable");
        let list = r#"{"cniVersion":"1.0.0","name":"loam","plugins":[
            {"type":"bridge","bridge":"loam0","isGateway":true,
             "ipam":{"type":"host-local","ranges":[[{"subnet":"10.90.0.0/24"}],[{"subnet":"fd00:90::/64"}]]}},
            {"type":"tuning","sysctl":{"net.core.somaxconn":"77"},"mtu":1400}]}"#;
        std::fs::write(conf.join("loam.conflist"), list).expect("writable");
        let one = Sandbox::new();
        let attachment = engine.attach(&id(1), &one, &[]).expect("attachable");
        assert_eq!(addresses(&attachment).0.to_string(), "10.90.0.2");
        assert!(one.command(&["ip", "link", "show", "eth0"]).contains("mtu 1400"), "{directory}");
        engine.detach(&id(1), Some(&one));
        engine.assert_nothing_left("after a chain of two owners");
    });
}
