//! Attachments that fail, are killed half way, or lose their namespace: nothing is left.

#![expect(clippy::print_stdout, reason = "a test says what it came across")]

use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use loam_model::{AttachExtras, AttachRequest, ErrorKind, Network, Protocol};
use loam_network::CniNetwork;
use loam_testkit::lab::{Sandbox, ask_tcp, eventually, inside, succeed};

use crate::bench::{Engine, addresses, at, id, port};

#[test]
fn a_namespace_that_is_gone_is_detached_at_once_and_leaves_nothing() {
    inside("undo::a_namespace_that_is_gone_is_detached_at_once_and_leaves_nothing", || {
        let engine = Engine::new();
        let one = Sandbox::new();
        let attachment = engine.attach(&id(1), &one, &[port(8080, 80, Protocol::Tcp)]).expect("attachable");
        let (address, _) = addresses(&attachment);
        drop(attachment);
        // Somebody keeps the namespace, and a server in it.
        one.serve_tcp("0.0.0.0:80");
        let kept = one.path();
        let kept = loam_cni::namespace::Namespace::open(&kept).expect("it lives");
        one.end();
        assert!(ask_tcp(SocketAddr::new(address, 80)).is_some());
        engine.detach(&id(1), None);
        assert_eq!(ask_tcp(SocketAddr::new(address, 80)), None, "the port of the bridge is shut");
        drop(kept);
        // The same container lives again, at once.
        let again = Sandbox::new();
        engine.attach(&id(1), &again, &[port(8080, 80, Protocol::Tcp)]).expect("attachable");
        again.serve_tcp("0.0.0.0:80");
        assert!(ask_tcp(at("127.0.0.1:8080")).is_some());
        again.end();
        engine.detach(&id(1), None);
    });
}

/// Tells a process of the test which attachment to make: a directory, a namespace and a network.
const ATTACHER: &str = "LOAM_TEST_ATTACHER";
/// By how much later each process is killed than the one before.
const STEP: Duration = Duration::from_micros(150);

/// The process that is killed: attaches and waits.
fn attach_and_wait(arguments: &str) {
    let [directory, namespace, name] =
        arguments.split(' ').collect::<Vec<_>>().try_into().expect("three words");
    let network = CniNetwork::new(Engine::config(Path::new(directory)));
    let request = AttachRequest {
        container: &id(1),
        name: "test",
        namespace: namespace.into(),
        networks: &[name.parse().expect("valid")],
        ports: &[port(8080, 80, Protocol::Tcp)],
        extras: AttachExtras::default(),
    };
    let attached = network.attach(&request).expect("attachable");
    println!("attached");
    std::thread::park();
    drop(attached);
}

/// Begins an attachment and kills the process that makes it after this time; says whether it was whole by then.
fn kill_attachment_after(
    engine: &Engine,
    sandbox: &Sandbox,
    (test, name): (&str, &str),
    time: Duration,
) -> bool {
    let argument = format!("{} {} {name}", engine.directory.path().display(), sandbox.path().display());
    let mut child = std::process::Command::new(std::env::current_exe().expect("a path"))
        .args(["--exact", test, "--nocapture", "--test-threads=1"])
        .env(ATTACHER, argument)
        .stdout(std::process::Stdio::null())
        .spawn()
        .expect("it runs");
    // The file is the first thing that is written; from then on time is counted.
    let network = engine.directory.path().join("root/network");
    let file = network.join("attachments").join(id(1).as_str());
    eventually("the attachment begins", || file.exists());
    let begun = Instant::now();
    while begun.elapsed() < time {
        std::hint::spin_loop();
    }
    child.kill().expect("it lives");
    child.wait().expect("it was ours");
    network.join("results").join(format!("{name}-{}-eth0", id(1))).exists()
}

#[test]
fn an_attachment_killed_at_any_point_is_undone() {
    let name = "undo::an_attachment_killed_at_any_point_is_undone";
    if let Some(arguments) = std::env::var_os(ATTACHER) {
        attach_and_wait(&arguments.into_string().expect("text"));
        return;
    }
    inside(name, || kill_at_any_point(&Engine::new(), (name, "loam")));
}

/// Kills attachments later and later, until some were whole. After each, undoing leaves nothing.
fn kill_at_any_point(engine: &Engine, (test, name): (&str, &str)) {
    // Begin with the network made, so that the kills fall into the attachment itself.
    let warm = Sandbox::new();
    engine.attach_to(&[name], &id(9), &warm, &[]).expect("attachable");
    engine.detach(&id(9), Some(&warm));
    let (mut finished, mut half) = (0, 0);
    for step in 0..400u32 {
        let sandbox = Sandbox::new();
        match kill_attachment_after(engine, &sandbox, (test, name), STEP * step) {
            true => finished += 1,
            false => half += 1,
        }
        assert_eq!(engine.network.attached().expect("readable"), [id(1)]);
        engine.detach(&id(1), (step % 2 == 0).then_some(&sandbox));
        // What detaching does not know of, such as a link without a record, is collected.
        engine.network.collect(None).expect("collected");
        sandbox.end();
        engine.assert_nothing_left(&format!("killed after {:?}", STEP * step));
        let limits = || succeed(&["ip", "-o", "link", "show", "type", "ifb"]);
        eventually("no link of bandwidth is left", || limits().is_empty());
        if finished == 3 {
            break;
        }
    }
    println!("{half} killed half way, {finished} when attached");
    assert!(half > 3 && finished == 3, "{half} {finished}");
}

#[test]
fn a_whole_chain_that_is_killed_at_any_point_is_undone() {
    let name = "undo::a_whole_chain_that_is_killed_at_any_point_is_undone";
    if let Some(arguments) = std::env::var_os(ATTACHER) {
        attach_and_wait(&arguments.into_string().expect("text"));
        return;
    }
    inside(name, || {
        let engine = Engine::new();
        let list = r#"{"cniVersion":"1.1.0","name":"whole","plugins":[
            {"type":"bridge","bridge":"loam7","isGateway":true,"ipMasq":true,
             "ipam":{"type":"host-local","ranges":[[{"subnet":"10.97.0.0/24"}]]}},
            {"type":"portmap","capabilities":{"portMappings":true}},
            {"type":"bandwidth","ingressRate":8000000,"ingressBurst":8000000,"egressRate":8000000,"egressBurst":8000000},
            {"type":"firewall","ingressPolicy":"same-bridge"}]}"#;
        engine.configure("whole.conflist", list);
        kill_at_any_point(&engine, (name, "whole"));
    });
}

#[test]
fn a_failure_in_the_chain_undoes_what_was_done() {
    inside("undo::a_failure_in_the_chain_undoes_what_was_done", || {
        let engine = Engine::new();
        let conf = engine.directory.path().join("root/networks");
        std::fs::create_dir_all(&conf).expect("writable");
        let broken = r#"{"cniVersion":"1.1.0","name":"loam","plugins":[
            {"type":"bridge","bridge":"loam0","isGateway":true,"ipMasq":true,
             "ipam":{"type":"host-local","ranges":[[{"subnet":"10.90.0.0/30"}]]}},
            {"type":"no-such-plugin"}]}"#;
        std::fs::write(conf.join("loam.conflist"), broken).expect("writable");
        let one = Sandbox::new();
        let failure = engine.attach(&id(1), &one, &[]).expect_err("the last plugin is missing");
        assert!(failure.chain().contains("no-such-plugin"), "{}", failure.chain());
        // DEL of the missing plugin fails too: the attachment is kept until it can be undone.
        assert_eq!(engine.network.attached().expect("readable"), [id(1)]);
        let good = broken.replace("no-such-plugin", "loopback");
        std::fs::write(conf.join("loam.conflist"), good).expect("writable");
        let two = Sandbox::new();
        let failure = engine.attach(&id(2), &two, &[]).expect_err("the only address is taken");
        assert_eq!(failure.kind(), ErrorKind::Exhausted);
        assert_eq!(engine.network.attached().expect("readable"), [id(1)]);
    });
}
