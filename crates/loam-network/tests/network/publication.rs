//! More ports for a container that is attached: a publication that fails or is killed leaves nothing.

use std::fs;
use std::path::PathBuf;

use loam_model::{Network, NetworkRules, PortMapping, Protocol, Result};
use loam_testkit::lab::{Sandbox, ask_tcp, inside, succeed};

use crate::bench::{Engine, at, id, port};

/// A container with a server and one port, 8080, on a network whose ports are published by a backend.
fn published(backend: &str) -> (Engine, Sandbox) {
    let engine = Engine::new();
    let list = format!(
        r#"{{"cniVersion":"1.1.0","name":"loam","plugins":[
        {{"type":"bridge","bridge":"loam7","isGateway":true,"ipMasq":true,
          "ipam":{{"type":"host-local","ranges":[[{{"subnet":"10.97.0.0/24"}}]]}}}},
        {{"type":"portmap","backend":"{backend}","capabilities":{{"portMappings":true}}}}]}}"#
    );
    engine.configure("loam.conflist", &list);
    let one = Sandbox::new();
    engine.attach(&id(1), &one, &[port(8080, 80, Protocol::Tcp)]).expect("attachable");
    one.serve_tcp("0.0.0.0:80");
    (engine, one)
}

fn publish(engine: &Engine, sandbox: &Sandbox, host: u16) -> Result<Vec<PortMapping>> {
    engine.network.publish(&id(1), &sandbox.path(), &[port(host, 80, Protocol::Tcp)])
}

/// Verifies that the first port is published and another is not, in the kernel and in files.
fn is_as_before(engine: &Engine, gone: u16) {
    assert!(ask_tcp(at("127.0.0.1:8080")).is_some());
    assert!(ask_tcp(at(&format!("127.0.0.1:{gone}"))).is_none());
    let rules = succeed(&["nft", "list", "ruleset"]);
    assert!(!rules.contains(&gone.to_string()), "{rules}");
    for file in [
        format!("root/network/attachments/{}", id(1)),
        format!("root/network/results/loam-{}-eth0", id(1)),
        format!("run/cni/ports/{}:eth0", id(1)),
    ] {
        let text = fs::read_to_string(engine.directory.path().join(&file)).unwrap_or_default();
        assert!(!text.contains(&gone.to_string()), "{file}: {text}");
    }
}

/// Where the result is, and where it is written.
fn results(engine: &Engine) -> [PathBuf; 2] {
    let directory = engine.directory.path().join("root/network/results");
    [directory.join(format!("loam-{}-eth0", id(1))), directory.join(format!(".{}-eth0", id(1)))]
}

fn fails_after_the_plugin(backend: &str) {
    let (engine, one) = published(backend);
    let [_, beside] = results(&engine);
    // As when the disk is full: the result can't be written.
    fs::create_dir(&beside).expect("free");
    let failure = publish(&engine, &one, 8081).expect_err("it can't be kept");
    assert_eq!(failure.to_string(), "keeping the network's result failed");
    is_as_before(&engine, 8081);
    fs::remove_dir(&beside).expect("ours");
    publish(&engine, &one, 8081).expect("free");
    assert!(ask_tcp(at("127.0.0.1:8081")).is_some());
    engine.detach(&id(1), Some(&one));
    let rules = succeed(&["nft", "list", "ruleset"]);
    assert!(!rules.contains("CNI-DN-") && !rules.contains("808"), "{rules}");
}

#[test]
fn a_port_that_can_t_be_kept_is_taken_back() {
    inside("publication::a_port_that_can_t_be_kept_is_taken_back", || fails_after_the_plugin("nftables"));
}

#[test]
fn a_port_of_iptables_that_can_t_be_kept_is_taken_back() {
    inside("publication::a_port_of_iptables_that_can_t_be_kept_is_taken_back", || {
        fails_after_the_plugin("iptables");
    });
}

#[test]
fn a_publication_that_was_killed_is_taken_back_by_the_next_and_by_collection() {
    inside("publication::a_publication_that_was_killed_is_taken_back_by_the_next_and_by_collection", || {
        let (engine, one) = published("nftables");
        let [result, _] = results(&engine);
        let killed = |host: u16| {
            let before = fs::read(&result).expect("attached");
            publish(&engine, &one, host).expect("free");
            // As `kill -9` leaves it between the plugin and the result.
            fs::write(&result, before).expect("writable");
            assert!(ask_tcp(at(&format!("127.0.0.1:{host}"))).is_some());
        };
        killed(8081);
        engine.network.collect(None).expect("collected");
        is_as_before(&engine, 8081);
        killed(8082);
        publish(&engine, &one, 8083).expect("free");
        is_as_before(&engine, 8082);
        assert!(ask_tcp(at("127.0.0.1:8083")).is_some());
        engine.network.collect(None).expect("collected");
        assert!(ask_tcp(at("127.0.0.1:8083")).is_some(), "what was kept stays");
        engine.detach(&id(1), Some(&one));
        engine.assert_nothing_left("after publications that were killed");
    });
}
