//! Conversations with a made-up systemd on a socket of the test's own.

use loam_bus::Value;
use loam_testkit::message_bus::{Call, Reply, serve};

use super::*;

/// The connection of the made-up systemd.
const SYSTEMD: &str = ":1.2";

/// What a bus and systemd answer as long as nothing is asked of them.
fn first_words(call: &Call) -> Vec<Vec<u8>> {
    match call.member.as_str() {
        "GetNameOwner" => answered(call, &[SYSTEMD]),
        _ => answered(call, &[]),
    }
}

fn answered(call: &Call, texts: &[&str]) -> Vec<Vec<u8>> {
    vec![texts.iter().fold(Reply::answer(call.serial), |reply, text| reply.text(text)).bytes()]
}

fn refused(call: &Call, name: &str, sentence: &str) -> Vec<Vec<u8>> {
    vec![Reply::failure(call.serial, name, sentence).bytes()]
}

fn job_removed(job: &str, result: &str) -> Vec<u8> {
    job_removed_by(SYSTEMD, job, result)
}

fn job_removed_by(sender: &str, job: &str, result: &str) -> Vec<u8> {
    let signal = Reply::signal(sender, MANAGER.path, MANAGER.interface, JOB_REMOVED);
    signal.number(7).text(job).text("loam-x.scope").text(result).bytes()
}

fn connect(socket: &Path) -> Manager {
    Manager::connect(socket, PATIENCE).expect("connected")
}

fn members(calls: Vec<Call>) -> Vec<String> {
    calls.into_iter().map(|call| call.member).collect()
}

/// The calls that every conversation begins with.
const FIRST: [&str; 4] = ["Hello", "GetNameOwner", "AddMatch", "Subscribe"];

#[test]
fn a_scope_is_there_when_its_job_is_done() {
    let directory = tempfile::tempdir().expect("a directory");
    let socket = directory.path().join("bus");
    let server = serve(&socket, |call| match call.member.as_str() {
        // The signal may come before the answer, and those of others may come between.
        "StartTransientUnit" => {
            let before = vec![job_removed("/job/other", "failed"), job_removed("/job/1", "done")];
            [before, answered(call, &["/job/1"])].concat()
        }
        _ => first_words(call),
    });
    let mut manager = connect(&socket);
    let properties = [("PIDs".to_owned(), Value::Numbers(vec![1])), ("X".to_owned(), Value::Number(5))];
    manager.start("loam-x.scope", &properties).expect("made");
    drop(manager);
    assert_eq!(members(server.join().expect("served")), [&FIRST[..], &["StartTransientUnit"]].concat());
}

#[test]
fn what_systemd_refuses_is_told_and_a_missing_scope_is_no_failure() {
    let directory = tempfile::tempdir().expect("a directory");
    let socket = directory.path().join("bus");
    let server = serve(&socket, |call| match call.member.as_str() {
        "StartTransientUnit" => refused(call, "org.x.Bad", "Unit is no good."),
        "StopUnit" => refused(call, NO_SUCH_UNIT, "no such unit"),
        _ => first_words(call),
    });
    let mut manager = connect(&socket);
    let failed = manager.start("loam-x.scope", &[]).expect_err("refused");
    assert_eq!(failed.to_string(), "Unit is no good (org.x.Bad)");
    manager.stop("loam-x.scope").expect("there is none");
    drop(manager);
    server.join().expect("served");
}

#[test]
fn a_job_that_fails_is_told() {
    let directory = tempfile::tempdir().expect("a directory");
    let socket = directory.path().join("bus");
    let server = serve(&socket, |call| match call.member.as_str() {
        "StopUnit" => [answered(call, &["/job/1"]), vec![job_removed("/job/1", "timeout")]].concat(),
        _ => first_words(call),
    });
    let mut manager = connect(&socket);
    let failed = manager.stop("loam-x.scope").expect_err("failed");
    assert_eq!(failed.to_string(), "the job ended with `timeout`");
    drop(manager);
    server.join().expect("served");
}

#[test]
fn what_others_say_of_a_job_does_not_count() {
    let directory = tempfile::tempdir().expect("a directory");
    let socket = directory.path().join("bus");
    let server = serve(&socket, |call| match call.member.as_str() {
        "StartTransientUnit" => {
            let mut messages = vec![job_removed_by(":1.66", "/job/1", "done")];
            messages.extend(answered(call, &["/job/1"]));
            messages.push(job_removed_by(":1.66", "/job/1", "done"));
            messages.push(job_removed("/job/1", "failed\u{1b}[2J"));
            messages
        }
        _ => first_words(call),
    });
    let mut manager = connect(&socket);
    let failed = manager.start("loam-x.scope", &[]).expect_err("what systemd says counts");
    assert_eq!(failed.to_string(), "the job ended with `failed\\u{1b}[2J`");
    drop(manager);
    server.join().expect("served");
}

#[test]
fn a_left_over_scope_is_replaced_in_its_slice_only() {
    for (slice, is_ours) in [("machine.slice", true), ("user-0.slice", false)] {
        let directory = tempfile::tempdir().expect("a directory");
        let socket = directory.path().join("bus");
        let exists = std::sync::atomic::AtomicBool::new(true);
        let server = serve(&socket, move |call| match call.member.as_str() {
            "StartTransientUnit" if exists.load(std::sync::atomic::Ordering::Relaxed) => {
                refused(call, UNIT_EXISTS, "Unit loam-x.scope exists.")
            }
            "GetUnit" => answered(call, &["/unit/x"]),
            "Get" => vec![Reply::answer(call.serial).variant(slice).bytes()],
            "StopUnit" => {
                exists.store(false, std::sync::atomic::Ordering::Relaxed);
                [answered(call, &["/job/1"]), vec![job_removed("/job/1", "done")]].concat()
            }
            "StartTransientUnit" => {
                [answered(call, &["/job/2"]), vec![job_removed("/job/2", "done")]].concat()
            }
            _ => first_words(call),
        });
        let mut manager = connect(&socket);
        let started = manager.start_anew("loam-x.scope", "machine.slice", &[]);
        drop(manager);
        let calls = members(server.join().expect("served"));
        let looks = ["StartTransientUnit", "GetUnit", "Get"];
        if is_ours {
            started.expect("made");
            let replaces = ["StopUnit", "ResetFailedUnit", "StartTransientUnit"];
            assert_eq!(calls, [&FIRST[..], &looks, &replaces].concat());
        } else {
            let error = started.expect_err("somebody else's").to_string();
            assert!(error.contains("Unit loam-x.scope exists"), "{error}");
            assert_eq!(calls, [&FIRST[..], &looks].concat());
        }
    }
}

#[test]
fn systemd_is_told_of_what_changes_and_of_nothing_else() {
    let directory = tempfile::tempdir().expect("a directory");
    let socket = directory.path().join("bus");
    let server = serve(&socket, |call| match call.member.as_str() {
        "GetUnit" => answered(call, &["/unit/x"]),
        _ => first_words(call),
    });
    let mut manager = connect(&socket);
    let resources = serde_json::from_str(r#"{"memory":{"limit":4096}}"#).expect("valid");
    let properties = of_change(&resources).expect("valid limits");
    assert_eq!(properties, [("MemoryMax".to_owned(), Value::Number(4096))]);
    manager.change("loam-x.scope", &properties).expect("changed");
    drop(manager);
    assert_eq!(
        members(server.join().expect("served")),
        [&FIRST[..], &["SetUnitProperties", "GetUnit"]].concat()
    );
    assert_eq!(of_change(&LinuxResources::default()).expect("nothing"), []);
}
