//! Garbage collection beside attachments that stay, and the firewall that comes back.

use loam_model::{Network, Protocol};
use loam_testkit::lab::{Sandbox, ask_tcp, inside, succeed};

use crate::bench::{Engine, at, id, port};

#[test]
fn what_no_attachment_has_is_collected_and_the_rest_stays() {
    inside("upkeep::what_no_attachment_has_is_collected_and_the_rest_stays", || {
        let engine = Engine::new();
        let (one, two) = (Sandbox::new(), Sandbox::new());
        engine.attach(&id(1), &one, &[port(8080, 80, Protocol::Tcp)]).expect("attachable");
        engine.attach(&id(2), &two, &[port(8081, 80, Protocol::Tcp)]).expect("attachable");
        one.serve_tcp("0.0.0.0:80");
        // Everything that says that the second exists is lost, but what its plugins made is there.
        let network = engine.directory.path().join("root/network");
        std::fs::remove_file(network.join("attachments").join(id(2).as_str())).expect("there");
        std::fs::remove_file(network.join("results").join(format!("loam-{}-eth0", id(2)))).expect("there");
        let collected = engine.network.collect(None).expect("collected");
        assert_eq!((collected.networks.len(), collected.attachments.len()), (1, 0));
        assert!(ask_tcp(at("127.0.0.1:8080")).is_some(), "the first has everything still");
        let rules = succeed(&["nft", "list", "ruleset"]);
        assert!(rules.contains(id(1).as_str()) && !rules.contains(id(2).as_str()), "{rules}");
        let addresses = std::fs::read_dir(network.join("addresses/loam/.owners")).expect("readable").count();
        assert_eq!(addresses, 1);
        engine.network.collect(None).expect("again");
        engine.detach(&id(1), Some(&one));
        [one, two].into_iter().for_each(Sandbox::end);
        engine.assert_nothing_left("after collecting");
    });
}

#[test]
fn a_flushed_table_comes_back() {
    inside("upkeep::a_flushed_table_comes_back", || {
        let engine = Engine::new();
        let one = Sandbox::new();
        engine.attach(&id(1), &one, &[port(8080, 80, Protocol::Tcp)]).expect("attachable");
        one.serve_tcp("0.0.0.0:80");
        succeed(&["nft", "flush", "ruleset"]);
        assert!(ask_tcp(at("127.0.0.1:8080")).is_none());
        engine.network.reload().expect("restored");
        assert!(ask_tcp(at("127.0.0.1:8080")).is_some());
        engine.detach(&id(1), Some(&one));
        engine.assert_nothing_left("after a reload");
    });
}
