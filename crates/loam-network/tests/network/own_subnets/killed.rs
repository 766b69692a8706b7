//! Attachments that are killed half way.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use loam_model::{AttachExtras, AttachRequest, Network, Protocol};
use loam_network::CniNetwork;
use loam_testkit::lab::{Sandbox, eventually, inside};

use super::{bridges, choice, engine};
use crate::bench::{Engine, id, port};

/// Tells a process of the test to attach: a directory and a namespace.
const ATTACHER: &str = "LOAM_TEST_SUBNET_ATTACHER";
/// By how much later each process is killed than the one before.
const STEP: Duration = Duration::from_micros(200);

fn attach_and_wait(arguments: &str) {
    let (directory, namespace) = arguments.split_once(' ').expect("two words");
    let network = CniNetwork::new(Engine::config(Path::new(directory)));
    let attached = network.attach(&AttachRequest {
        container: &id(1),
        name: "test",
        namespace: namespace.into(),
        networks: &[choice("")],
        ports: &[port(8080, 80, Protocol::Tcp)],
        extras: AttachExtras::default(),
    });
    attached.expect("attachable");
    std::thread::park();
}

#[test]
fn an_attachment_killed_at_any_point_leaves_no_bridge_and_no_subnet_taken() {
    let name = "own_subnets::killed::an_attachment_killed_at_any_point_leaves_no_bridge_and_no_subnet_taken";
    if let Some(arguments) = std::env::var_os(ATTACHER) {
        attach_and_wait(&arguments.into_string().expect("text"));
        return;
    }
    inside(name, || {
        let engine = engine();
        let (mut finished, mut half, mut bridged) = (0, 0, 0);
        for step in 0..400u32 {
            let sandbox = Sandbox::new();
            let mut child = Command::new(std::env::current_exe().expect("a path"))
                .args(["--exact", name, "--nocapture", "--test-threads=1"])
                .env(ATTACHER, format!("{} {}", engine.directory.path().display(), sandbox.path().display()))
                .stdout(Stdio::null())
                .spawn()
                .expect("it runs");
            let network = engine.directory.path().join("root/network");
            eventually("the attachment begins", || network.join("attachments").join(id(1).as_str()).exists());
            let begun = Instant::now();
            while begun.elapsed() < STEP * step {
                std::hint::spin_loop();
            }
            child.kill().expect("it lives");
            child.wait().expect("it was ours");
            match network.join("results").join(format!("garden-{}-eth0", id(1))).exists() {
                true => finished += 1,
                false => half += 1,
            }
            bridged += u32::from(!bridges().is_empty());
            engine.detach(&id(1), (step % 2 == 0).then_some(&sandbox));
            assert_eq!(bridges(), Vec::<String>::new(), "killed after {:?}", STEP * step);
            sandbox.end();
            engine.assert_nothing_left(&format!("killed after {:?}", STEP * step));
            if finished == 3 {
                break;
            }
        }
        println!("{half} killed half way, {finished} when attached, {bridged} with a bridge");
        assert!(half > 3 && finished == 3 && bridged >= 3, "{half} {finished} {bridged}");
    });
}
