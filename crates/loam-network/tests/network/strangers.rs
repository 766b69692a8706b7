//! Plugins of others that behave, and such that don't.

use std::time::{Duration, Instant};

use loam_model::{
    AttachExtras, AttachRequest, ContainerId, DetachRequest, ErrorKind, Failure, Network, NetworkChoice,
    NetworkSource,
};
use loam_testkit::lab::{Sandbox, inside};
use serde_json::{Map, Value, json};

use crate::bench::{Engine, id};

/// A list of one plugin, and what it asks of the runtime.
fn list(keys: &str) -> String {
    format!(
        r#"{{"cniVersion":"1.1.0","name":"n",{keys}"plugins":[{{"type":"theirs","capabilities":{{"bandwidth":true}}}}]}}"#
    )
}

/// A script that notes each call, and answers as told.
fn noting(answer: &str) -> String {
    format!(r#"cat > $HERE/stdin-$CNI_COMMAND; env | grep ^CNI_ > $HERE/env-$CNI_COMMAND; {answer}"#)
}

const WELL: &str = r#"case $CNI_COMMAND in
    ADD) echo '{"cniVersion":"1.1.0","interfaces":[{"name":"eth0","mac":"02:00:00:00:00:05","sandbox":"/x"}],"ips":[{"address":"10.5.0.2/24","interface":0}]}';;
    VERSION) echo '{"cniVersion":"1.1.0","supportedVersions":["1.0.0","1.1.0"]}';; esac"#;

fn attach(engine: &Engine, sandbox: &Sandbox) -> Result<loam_model::Attachment, Failure> {
    engine.attach_to(&["n"], &id(1), sandbox, &[])
}

fn forget(engine: &Engine, container: &ContainerId) {
    let path = engine.directory.path().join("root/network/attachments").join(container.as_str());
    std::fs::remove_file(path).expect("there");
}

#[test]
fn a_plugin_gets_what_the_specification_says() {
    inside("strangers::a_plugin_gets_what_the_specification_says", || {
        let engine = Engine::new();
        engine.configure("n.conflist", &list(""));
        engine.plugin("theirs", &noting(WELL));
        let one = Sandbox::new();
        let (bandwidth, arguments) = (
            Map::from_iter([
                ("bandwidth".to_owned(), json!({"ingressRate": 5})),
                ("dns".to_owned(), json!({})),
            ]),
            [("IgnoreUnknown".to_owned(), "1".to_owned()), ("K8S_POD_NAME".to_owned(), "p".to_owned())],
        );
        let choices: Vec<NetworkChoice> = vec!["n".parse().expect("valid")];
        let made = engine.network.attach(&AttachRequest {
            container: &id(1),
            name: "test",
            namespace: one.path(),
            networks: &choices,
            ports: &[],
            extras: AttachExtras { capabilities: Some(&bandwidth), arguments: &arguments, metadata: None },
        });
        let made = made.expect("attachable");
        assert_eq!(made.interfaces[0].addresses[0].to_string(), "10.5.0.2/24");
        let stdin =
            |verb: &str| serde_json::from_str::<Value>(&engine.said(&format!("stdin-{verb}"))).expect("JSON");
        assert_eq!(stdin("ADD")["runtimeConfig"], json!({"bandwidth": {"ingressRate": 5}}));
        assert!(engine.said("env-ADD").contains("CNI_ARGS=IgnoreUnknown=1;K8S_POD_NAME=p"));
        // What comes later is told of the result, with the configuration and the arguments of then.
        engine.configure("n.conflist", &list("").replace("theirs", "nobodys"));
        engine
            .network
            .check(&DetachRequest { container: &id(1), namespace: Some(one.path()) })
            .expect("well");
        assert_eq!(stdin("CHECK")["prevResult"]["ips"][0]["address"], "10.5.0.2/24");
        engine.detach(&id(1), Some(&one));
        assert_eq!(stdin("DEL")["prevResult"]["interfaces"][0]["name"], "eth0");
        assert_eq!(stdin("DEL")["runtimeConfig"], json!({"bandwidth": {"ingressRate": 5}}));
        assert!(engine.said("env-DEL").contains("K8S_POD_NAME=p"));
        engine.configure("n.conflist", &list(""));
        engine.network.status(&"n".parse().expect("valid")).expect("well");
        assert!(engine.said("env-STATUS").contains("CNI_CONTAINERID=\n"));
        engine.network.collect(None).expect("well");
        for key in ["cni.dev/valid-attachments", "cni.dev/attachments"] {
            assert_eq!(stdin("GC")[key], json!([]));
        }
    });
}

#[test]
fn switches_of_a_list_leave_verbs_out() {
    inside("strangers::switches_of_a_list_leave_verbs_out", || {
        let engine = Engine::new();
        engine.configure("n.conflist", &list(r#""disableCheck":"true","disableGC":true,"#));
        let fails =
            r#"case $CNI_COMMAND in CHECK|GC) echo '{"code":100,"msg":"asked all the same"}'; exit 1;; esac"#;
        engine.plugin("theirs", &format!("{fails}\n{WELL}"));
        let one = Sandbox::new();
        attach(&engine, &one).expect("attachable");
        let request = DetachRequest { container: &id(1), namespace: Some(one.path()) };
        engine.network.check(&request).expect("left out");
        engine.network.collect(None).expect("left out");
        engine.detach(&id(1), Some(&one));
        engine.configure("n.conflist", &list(""));
        attach(&engine, &one).expect("attachable");
        let failure = engine.network.check(&request).expect_err("asked");
        assert_eq!(
            failure.chain(),
            "checking the attachment to network `n` failed in plugin `theirs`: asked all the same"
        );
        assert!(engine.network.collect(None).expect_err("asked").chain().contains("collecting garbage of"));
        engine.detach(&id(1), Some(&one));
    });
}

#[test]
fn plugins_that_misbehave_are_named_with_what_they_did() {
    inside("strangers::plugins_that_misbehave_are_named_with_what_they_did", || {
        let engine = Engine::new();
        engine.configure("n.conflist", &list(""));
        let one = Sandbox::new();
        for (script, kind, said) in [
            ("exec sleep 1000", ErrorKind::Internal, "did not finish within its time"),
            ("sleep 1000 & sleep 1000", ErrorKind::Internal, "did not finish within its time"),
            (
                "while :; do echo aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa; done",
                ErrorKind::Internal,
                "says more than 4194304 bytes",
            ),
            ("echo garbage", ErrorKind::Invalid, "the result of plugin `PLUGIN` is not valid JSON"),
            ("echo '[]'", ErrorKind::Invalid, "the result is not a JSON object"),
            (r#"echo '{"cniVersion":"9.9.9"}'"#, ErrorKind::Invalid, "incompatible CNI versions"),
            (r#"echo '{"ips":[{"address":"10.5.0.2"}]}'"#, ErrorKind::Invalid, "invalid IP address syntax"),
            (r#"echo '{"code":11,"msg":"busy"}'; exit 1"#, ErrorKind::Unavailable, "busy"),
            (r#"echo '{"code":4,"msg":"bad id"}'; exit 1"#, ErrorKind::Invalid, "bad id"),
            ("echo 'all is lost' >&2; exit 7", ErrorKind::Internal, "all is lost"),
            ("exit 7", ErrorKind::Internal, "with no error message"),
            ("kill -9 $$", ErrorKind::Internal, "with no error message"),
        ] {
            engine.plugin("theirs", &format!("[ $CNI_COMMAND = ADD ] || exit 0\n{script}"));
            let begun = Instant::now();
            let failure = attach(&engine, &one).expect_err(script);
            let said =
                said.replace("PLUGIN", &engine.directory.path().join("plugins/theirs").display().to_string());
            let chain = failure.chain();
            assert!(chain.starts_with("attaching to network `n` failed in plugin `theirs`: "), "{chain}");
            assert!(chain.contains(&said) && failure.kind() == kind, "{script}: {failure:?}");
            assert!(begun.elapsed() < Duration::from_secs(60), "{script}");
            assert_eq!(engine.network.attached().expect("readable"), [], "{script}");
        }
        // Interfaces and addresses that can't be: what is known is told, nothing breaks.
        let odd = r#"echo '{"cniVersion":"1.1.0","interfaces":[{"name":"../x"}],"ips":[{"address":"10.5.0.2/24","interface":-7}]}'"#;
        engine.plugin("theirs", &format!("[ $CNI_COMMAND = ADD ] || exit 0\n{odd}"));
        let made = attach(&engine, &one).expect("odd, but a result");
        assert_eq!((made.interfaces[0].name.as_str(), made.interfaces[0].addresses.len()), ("eth0", 1));
        engine.detach(&id(1), Some(&one));
    });
}

#[test]
fn a_configuration_is_held_against_what_its_plugins_speak() {
    inside("strangers::a_configuration_is_held_against_what_its_plugins_speak", || {
        let engine = Engine::new();
        let make = || engine.network.create_network(&NetworkSource::Configuration(list("")));
        let failure = make().expect_err("no such plugin");
        assert!(failure.chain().contains("failed to find plugin `theirs`"), "{}", failure.chain());
        engine.plugin("theirs", r#"echo '{"cniVersion":"1.0.0","supportedVersions":["0.4.0","1.0.0"]}'"#);
        let failure = make().expect_err("another version");
        assert_eq!(
            failure.chain(),
            "making network `n` failed in plugin `theirs`: it does not speak version 1.1.0, only 0.4.0, 1.0.0"
        );
        engine.plugin("theirs", "exec sleep 1000");
        assert!(make().expect_err("hangs").chain().contains("did not finish within its time"));
        assert!(
            engine.network.networks().expect("readable").networks.iter().all(|one| one.name.is_default())
        );
        engine.plugin("theirs", WELL);
        let made = make().expect("speaks it");
        assert_eq!((made.name.as_str(), made.capabilities.join(" ").as_str()), ("n", "bandwidth"));
        assert_eq!(make().expect_err("twice").to_string(), "network `n` exists already");
    });
}

#[test]
fn a_result_without_an_attachment_is_undone_with_its_own_configuration() {
    inside("strangers::a_result_without_an_attachment_is_undone_with_its_own_configuration", || {
        let engine = Engine::new();
        engine.configure("n.conflist", &list(""));
        engine.plugin("theirs", &noting(WELL));
        let one = Sandbox::new();
        attach(&engine, &one).expect("attachable");
        forget(&engine, &id(1));
        std::fs::remove_file(engine.directory.path().join("root/networks/n.conflist")).expect("there");
        let collected = engine.network.collect(Some(&"n".parse().expect("valid"))).expect("collected");
        assert_eq!((collected.attachments.len(), collected.networks.len()), (1, 0));
        let environment = engine.said("env-DEL");
        assert!(
            environment.contains("CNI_IFNAME=eth0") && environment.contains("CNI_NETNS=\n"),
            "{environment}"
        );
        let unknown =
            engine.network.collect(Some(&"n".parse().expect("valid"))).expect_err("nothing left of it");
        assert_eq!(unknown.kind(), ErrorKind::NotFound);
    });
}

#[test]
fn a_collection_waits_for_attachments_of_its_network_and_knows_them_then() {
    inside("strangers::a_collection_waits_for_attachments_of_its_network_and_knows_them_then", || {
        let engine = Engine::new();
        engine.configure("n.conflist", &list(""));
        let slow = "echo begin $CNI_COMMAND >> $HERE/log; [ $CNI_COMMAND = ADD ] && sleep 0.5; echo end $CNI_COMMAND >> $HERE/log";
        engine.plugin("theirs", &noting(&format!("{slow}\n{WELL}")));
        let one = Sandbox::new();
        std::thread::scope(|scope| {
            let attaching = scope.spawn(|| attach(&engine, &one).map(drop));
            loam_testkit::lab::eventually("the attachment begins", || {
                engine.said("log").contains("begin ADD")
            });
            engine.network.collect(None).expect("it waits");
            attaching.join().expect("no panic").expect("attachable");
        });
        assert_eq!(engine.said("log"), "begin ADD\nend ADD\nbegin GC\nend GC\n");
        let told: Value = serde_json::from_str(&engine.said("stdin-GC")).expect("JSON");
        let expected = json!([{"containerID": id(1).as_str(), "ifname": "eth0"}]);
        assert_eq!(told["cni.dev/valid-attachments"], expected);
        engine.detach(&id(1), Some(&one));
    });
}
