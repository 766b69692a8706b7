//! Callers that are killed while a networker does what they asked for.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use loam_model::{AttachExtras, AttachRequest, Network};
use loam_network::CniNetwork;
use loam_testkit::lab::{Sandbox, eventually, inside, succeed};

use super::{assert_nothing_kept, engine};
use crate::bench::{Engine, id};

/// Tells a process of the test to attach: a directory and a namespace.
const ATTACHER: &str = "LOAM_TEST_NETWORKER_ATTACHER";
/// By how much later each process is killed than the one before.
const STEP: Duration = Duration::from_micros(400);

/// The process that is killed, if this is one.
fn is_attacher() -> bool {
    let Some(arguments) = std::env::var_os(ATTACHER) else { return false };
    let arguments = arguments.into_string().expect("text");
    let (directory, namespace) = arguments.split_once(' ').expect("two words");
    let network = CniNetwork::new(Engine::config(Path::new(directory)));
    let attached = network.attach(&AttachRequest {
        container: &id(1),
        name: "test",
        namespace: namespace.into(),
        networks: &["cf".parse().expect("valid")],
        ports: &[],
        extras: AttachExtras::default(),
    });
    attached.expect("attachable");
    std::thread::park();
    true
}

fn attacher(engine: &Engine, sandbox: &Sandbox, test: &str) -> Child {
    Command::new(std::env::current_exe().expect("a path"))
        .args(["--exact", test, "--nocapture", "--test-threads=1"])
        .env(ATTACHER, format!("{} {}", engine.directory.path().display(), sandbox.path().display()))
        .stdout(Stdio::null())
        .spawn()
        .expect("it runs")
}

fn kill(mut child: Child) {
    child.kill().expect("it lives");
    child.wait().expect("it was ours");
}

#[test]
fn an_attachment_killed_at_any_point_is_undone() {
    let name = "networker::killed::an_attachment_killed_at_any_point_is_undone";
    if is_attacher() {
        return;
    }
    inside(name, || {
        // What it has made for a handle is a file; `up` takes two steps.
        let engine = engine(
            r#"case $action in up) echo half > $HERE/made-$handle; echo whole > $HERE/made-$handle;;
            down) rm -f $HERE/made-$handle;; esac"#,
        );
        let made = engine.directory.path().join(format!("made-{}", id(1)));
        let (mut finished, mut half, mut begun) = (0, 0, 0);
        for step in 0..400u32 {
            let sandbox = Sandbox::new();
            let child = attacher(&engine, &sandbox, name);
            let network = engine.directory.path().join("root/network");
            eventually("the attachment begins", || network.join("attachments").join(id(1).as_str()).exists());
            let at = Instant::now();
            while at.elapsed() < STEP * step {
                std::hint::spin_loop();
            }
            kill(child);
            match network.join("results").join(format!("cf-{}-eth0", id(1))).exists() {
                true => finished += 1,
                false => half += 1,
            }
            begun += u32::from(made.exists());
            engine.detach(&id(1), (step % 2 == 0).then_some(&sandbox));
            sandbox.end();
            assert!(!made.exists(), "killed after {:?}", STEP * step);
            assert_nothing_kept(&engine, &format!("killed after {:?}", STEP * step));
            if finished == 3 {
                break;
            }
        }
        println!("{half} killed half way, {finished} when attached, {begun} with something made");
        assert!(half > 3 && finished == 3 && begun >= 3, "{half} {finished} {begun}");
    });
}

#[test]
fn what_a_killed_caller_asked_for_is_waited_for_before_it_is_undone() {
    let name = "networker::killed::what_a_killed_caller_asked_for_is_waited_for_before_it_is_undone";
    if is_attacher() {
        return;
    }
    inside(name, || {
        let engine = engine(
            r#"echo begin $action >> $HERE/log
            [ $action = down ] || while [ ! -e $HERE/go ]; do sleep 0.01; done; echo end $action >> $HERE/log"#,
        );
        let one = Sandbox::new();
        let child = attacher(&engine, &one, name);
        eventually("it is asked", || engine.said("log") == "begin up\n");
        kill(child);
        std::thread::scope(|scope| {
            let undoing = scope.spawn(|| engine.detach(&id(1), Some(&one)));
            // The attachment is locked: whoever undoes it has got as far as the call.
            let file = engine.directory.path().join("root/network/attachments").join(id(1).as_str());
            eventually("the undoing begins", || {
                let file = std::fs::File::open(&file).expect("there");
                rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockShared).is_err()
            });
            let begun = Instant::now();
            while begun.elapsed() < Duration::from_millis(300) {
                assert_eq!(engine.said("log"), "begin up\n", "nobody is overtaken");
            }
            std::fs::write(engine.directory.path().join("go"), "").expect("writable");
            undoing.join().expect("no panic");
        });
        assert_eq!(engine.said("log"), "begin up\nend up\nbegin down\nend down\n");
        assert_nothing_kept(&engine, "after both");
    });
}

#[test]
fn a_networker_that_a_killed_caller_has_left_hanging_holds_nobody_up_for_good() {
    let name =
        "networker::killed::a_networker_that_a_killed_caller_has_left_hanging_holds_nobody_up_for_good";
    if is_attacher() {
        return;
    }
    inside(name, || {
        let engine = engine("echo $$ > $HERE/pid-$action; [ $action = down ] || exec sleep 1000");
        let one = Sandbox::new();
        let child = attacher(&engine, &one, name);
        eventually("it is asked", || engine.said("pid-up").ends_with('\n'));
        kill(child);
        let begun = Instant::now();
        engine.detach(&id(1), Some(&one));
        // As long as it would have had, and no longer.
        assert!(begun.elapsed() >= Duration::from_secs(2) && begun.elapsed() < Duration::from_secs(30));
        assert_ne!(engine.said("pid-down"), "");
        assert_nothing_kept(&engine, "after the wait");
        succeed(&["kill", "-9", engine.said("pid-up").trim()]);
    });
}
