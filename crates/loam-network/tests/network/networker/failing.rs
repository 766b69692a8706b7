//! Networkers that fail, hang, babble and lie.

use std::time::{Duration, Instant};

use loam_model::{DetachRequest, ErrorKind, Network};
use loam_testkit::lab::{Sandbox, inside};

use super::{assert_nothing_kept, attach, engine, networker};
use crate::bench::id;

#[test]
fn networkers_that_misbehave_are_named_with_what_they_did_and_asked_to_undo_it() {
    inside(
        "networker::failing::networkers_that_misbehave_are_named_with_what_they_did_and_asked_to_undo_it",
        || {
            let engine = engine("");
            let one = Sandbox::new();
            for (script, kind, said) in [
                ("exec sleep 1000", ErrorKind::Internal, "it did not finish within its time"),
                ("sleep 1000 & sleep 1000", ErrorKind::Internal, "it did not finish within its time"),
                (
                    "while :; do echo aaaaaaaaaaaaaaaaaaaaaaaaaaaa; done",
                    ErrorKind::Internal,
                    "it says more than 4194304 bytes",
                ),
                ("echo garbage", ErrorKind::Invalid, "what action `up` gave is not valid JSON: "),
                ("echo", ErrorKind::Invalid, "what action `up` gave is not valid JSON: "),
                ("echo '{} {}'", ErrorKind::Invalid, "what action `up` gave is not valid JSON: "),
                ("echo '[]'", ErrorKind::Invalid, "what action `up` gave can't be used: it is no object"),
                (
                    r#"echo '{"properties":{"a":1}}'"#,
                    ErrorKind::Invalid,
                    "gave can't be used: property `a` is no text",
                ),
                (
                    r#"echo '{"properties":{"garden.network.container-ip":"here"}}'"#,
                    ErrorKind::Invalid,
                    "property `garden.network.container-ip` is no address but `here`",
                ),
                ("exit 1", ErrorKind::Internal, "action `up` ended with exit status: 1"),
                (
                    "echo 'all is lost' >&2; exit 7",
                    ErrorKind::Internal,
                    "action `up` ended with exit status: 7: all is lost",
                ),
                (
                    "echo 'all is lost'; exit 7",
                    ErrorKind::Internal,
                    "action `up` ended with exit status: 7: all is lost",
                ),
                ("kill -9 $$", ErrorKind::Internal, "action `up` ended with signal: 9 (SIGKILL)"),
            ] {
                networker(
                    &engine,
                    &format!("echo $action >> $HERE/log; [ $action = up ] || exit 0\n{script}"),
                );
                let begun = Instant::now();
                let failure = attach(&engine, &one, &[]).expect_err(script);
                let chain = failure.chain();
                let program = engine.directory.path().join("plugins/theirs");
                let start = format!(
                    "attaching to network `cf` failed in the external networker `{}`: ",
                    program.display()
                );
                assert!(chain.starts_with(&start) && chain.contains(said), "{script}: {chain}");
                assert_eq!(failure.kind(), kind, "{script}");
                assert!(begun.elapsed() < Duration::from_secs(60), "{script}");
                assert_eq!(engine.said("log"), "up\ndown\n", "{script}");
                std::fs::remove_file(engine.directory.path().join("log")).expect("there");
                assert_nothing_kept(&engine, script);
            }
            std::fs::remove_file(engine.directory.path().join("plugins/theirs")).expect("there");
            let failure = attach(&engine, &one, &[]).expect_err("no program");
            assert!(
                failure.chain().contains("can't be executed: No such file or directory"),
                "{}",
                failure.chain()
            );
        },
    );
}

#[test]
fn what_can_t_be_undone_is_kept_until_it_can() {
    inside("networker::failing::what_can_t_be_undone_is_kept_until_it_can", || {
        let engine = engine("exit 0");
        let one = Sandbox::new();
        attach(&engine, &one, &[]).expect("attachable");
        networker(&engine, "echo busy >&2; exit 1");
        let request = DetachRequest { container: &id(1), namespace: None };
        let failure = engine.network.detach(&request).expect_err("busy");
        assert!(
            failure.chain().ends_with("action `down` ended with exit status: 1: busy"),
            "{}",
            failure.chain()
        );
        assert_eq!(engine.network.attached().expect("readable"), [id(1)]);
        let failure = engine.network.remove_network(&"cf".parse().expect("valid")).expect_err("in use");
        assert_eq!(failure.kind(), ErrorKind::Conflict);
        networker(&engine, "exit 0");
        engine.network.detach(&request).expect("idle by now");
        assert_nothing_kept(&engine, "after the second");
        engine.network.remove_network(&"cf".parse().expect("valid")).expect("free");
    });
}
