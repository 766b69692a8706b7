//! What plugins that are made for Cloud Foundry are told, beside such that go by the specification.

use loam_model::{
    AttachExtras, AttachRequest, Attachment, ContainerMetadata, EgressProtocol, EgressRule, Failure, Network,
    NetworkChoice, PortMapping, PortRange, Protocol,
};
use loam_testkit::lab::{Sandbox, inside};
use serde_json::{Value, json};

use crate::bench::{Engine, id, port};

/// A chain as Cloud Foundry has it, with plugins that go by the specification around one that does not.
fn list(own: &str) -> String {
    format!(
        r#"{{"cniVersion":"1.0.0","name":"cf",{own}"plugins":[
            {{"type":"bridge","bridge":"cf0","isGateway":true,"ipam":{{"type":"host-local","ranges":[[{{"subnet":"10.255.0.0/24"}}]]}}}},
            {{"type":"cni-wrapper-plugin","datastore":"/d"}},
            {{"type":"standard","capabilities":{{"portMappings":true,"metadata":true}}}}]}}"#
    )
}

/// A plugin that notes what it reads, and hands on the result before it.
fn noting(name: &str) -> String {
    format!(
        r#"cat > $HERE/{name}-$CNI_COMMAND; [ $CNI_COMMAND = ADD ] || exit 0
        sed 's/.*"prevResult":\({{.*}}\),"[a-z]*":.*/\1/' $HERE/{name}-ADD | grep -q ips || exit 1
        echo '{{"cniVersion":"1.0.0","interfaces":[{{"name":"eth0","sandbox":"/x"}}],"ips":[{{"address":"10.255.0.2/24","interface":0}}]}}'"#
    )
}

fn engine(own: &str) -> Engine {
    let engine = Engine::new();
    engine.configure("cf.conflist", &list(own));
    for name in ["cni-wrapper-plugin", "standard"] {
        engine.plugin(name, &noting(name));
    }
    engine
}

fn attach(engine: &Engine, sandbox: &Sandbox, ports: &[PortMapping]) -> Result<Attachment, Failure> {
    let rule = EgressRule {
        protocol: EgressProtocol::Tcp(vec![PortRange { first: 80, last: 80 }]),
        ..EgressRule::default()
    };
    let metadata = ContainerMetadata {
        handle: Some("some-handle".to_owned()),
        properties: json!({"app_id": "x", "policy_group_id": "y"}).as_object().cloned().expect("an object"),
        rules: vec![rule],
    };
    let choices: Vec<NetworkChoice> = vec!["cf".parse().expect("valid")];
    engine.network.attach(&AttachRequest {
        container: &id(1),
        name: "test",
        namespace: sandbox.path(),
        networks: &choices,
        ports,
        extras: AttachExtras { metadata: Some(&metadata), ..AttachExtras::default() },
    })
}

fn read(engine: &Engine, plugin: &str, verb: &str) -> Value {
    serde_json::from_str(&engine.said(&format!("{plugin}-{verb}"))).expect("JSON")
}

#[test]
fn each_plugin_of_a_chain_is_told_in_its_own_words() {
    inside("cloud_foundry::each_plugin_of_a_chain_is_told_in_its_own_words", || {
        let engine = engine(r#""loam":{"cloudFoundry":true},"#);
        let one = Sandbox::new();
        attach(&engine, &one, &[port(8080, 80, Protocol::Tcp)]).expect("attachable");
        engine.detach(&id(1), Some(&one));
        for verb in ["ADD", "DEL"] {
            let wrapper = read(&engine, "cni-wrapper-plugin", verb);
            assert_eq!(wrapper["metadata"], json!({"app_id": "x", "policy_group_id": "y"}), "{verb}");
            assert_eq!(
                wrapper["runtimeConfig"],
                json!({"portMappings": [{"host_port": 8080, "container_port": 80}],
                       "netOutRules": [{"protocol": 1, "ports": [{"start": 80, "end": 80}]}]}),
                "{verb}"
            );
            assert_eq!((&wrapper["datastore"], &wrapper["loam"]), (&json!("/d"), &Value::Null), "{verb}");
            let standard = read(&engine, "standard", verb);
            assert_eq!(
                standard["runtimeConfig"],
                json!({"portMappings": [{"hostPort": 8080, "containerPort": 80, "protocol": "tcp"}],
                       "metadata": {"app_id": "x", "policy_group_id": "y"}}),
                "{verb}"
            );
            assert_eq!(standard["metadata"], Value::Null, "{verb}");
        }
    });
}

#[test]
fn without_the_switch_nobody_is_told_more_than_it_asks_for() {
    inside("cloud_foundry::without_the_switch_nobody_is_told_more_than_it_asks_for", || {
        let engine = engine("");
        let one = Sandbox::new();
        attach(&engine, &one, &[port(8080, 80, Protocol::Tcp)]).expect("attachable");
        let wrapper = read(&engine, "cni-wrapper-plugin", "ADD");
        assert_eq!((&wrapper["metadata"], &wrapper["runtimeConfig"]), (&Value::Null, &Value::Null));
        let standard = read(&engine, "standard", "ADD");
        assert_eq!(standard["runtimeConfig"]["metadata"]["app_id"], "x");
        engine.detach(&id(1), Some(&one));
    });
}

#[test]
fn such_a_plugin_publishes_ports_of_tcp_alone() {
    inside("cloud_foundry::such_a_plugin_publishes_ports_of_tcp_alone", || {
        let engine = engine(r#""loam":{"cloudFoundry":true},"#);
        let without = list(r#""loam":{"cloudFoundry":true},"#).replace(r#""portMappings":true,"#, "");
        engine.configure("cf.conflist", &without);
        let one = Sandbox::new();
        let failure = attach(&engine, &one, &[port(53, 53, Protocol::Udp)]).expect_err("UDP");
        assert_eq!(failure.to_string(), "network `cf` can't publish ports");
        attach(&engine, &one, &[port(8080, 80, Protocol::Tcp)]).expect("attachable");
        let standard = read(&engine, "standard", "ADD");
        assert_eq!(
            standard["runtimeConfig"]["portMappings"][0]["host_port"], 8080,
            "no capability, so told all the same"
        );
        engine.detach(&id(1), Some(&one));
    });
}
