use std::fs;
use std::os::unix::fs::PermissionsExt;

use super::super::program::DEFAULT_SEARCH_PATH;
use super::*;

/// A runtime program that is a shell script.
fn script(directory: &Path, text: &str) -> Call {
    let program = directory.join("runtime-program");
    fs::write(&program, format!("#!/bin/sh\n{text}\n")).expect("written");
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("ours");
    Call::new(program, DEFAULT_SEARCH_PATH.to_owned(), directory, CgroupDriver::Cgroupfs, "start")
}

fn run(text: &str, limit: Duration, streams: Streams, command: Option<&str>) -> Result<()> {
    let directory = tempfile::tempdir().expect("a temporary directory");
    script(directory.path(), text).run(limit, streams, command)
}

const LONG: Duration = Duration::from_secs(60);

#[test]
fn a_program_that_never_ends_is_killed_with_what_it_started() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let file = directory.path().join("pid");
    let text = format!("sleep 1000 & echo $! > {}; wait", file.display());
    let call = script(directory.path(), &text);
    let failure = call.run(Duration::from_millis(300), Streams::None, None).expect_err("too late");
    assert_eq!(failure.kind(), ErrorKind::Unavailable);
    assert!(failure.to_string().ends_with("runtime-program start` did not end in time and was killed"));
    let pid = fs::read_to_string(file).expect("written");
    let deadline = Instant::now() + LONG;
    let alive =
        || fs::read_to_string(format!("/proc/{}/stat", pid.trim())).is_ok_and(|text| !text.contains(") Z "));
    while alive() {
        assert!(Instant::now() < deadline, "its child lives");
        std::thread::yield_now();
    }
}

#[test]
fn what_it_says_is_bounded_and_told() {
    let failure = run("while :; do echo talk || exit 7; done 2>/dev/null", LONG, Streams::None, None)
        .expect_err("failed");
    assert!(failure.chain().len() < 2000, "{}", failure.chain().len());
    let failure =
        run("echo one; echo 'it broke.' >&2; exit 3", LONG, Streams::None, None).expect_err("failed");
    assert!(failure.chain().ends_with("runtime-program start` failed: it broke"), "{}", failure.chain());
    let failure = run("exit 3", LONG, Streams::None, None).expect_err("failed");
    assert!(failure.chain().ends_with("failed: exit status: 3"), "{}", failure.chain());
}

#[test]
fn the_log_is_believed_first_and_says_what_the_command_lacks() {
    let text = r#"echo '{"level":"error","msg":"exec: \"x\": executable file not found in $PATH"}' > "$4"; echo no; exit 1"#;
    let failure = run(text, LONG, Streams::None, Some("x")).expect_err("failed");
    assert_eq!(failure.kind(), ErrorKind::CommandNotFound);
    insta::assert_snapshot!(failure.chain(), @r#"`x` does not exist in the container: exec: "x": executable file not found in $PATH"#);
}

#[test]
fn the_environment_is_empty_but_for_the_path_and_input_arrives() {
    let text =
        r#"[ "$(cat)" = words ] || exit 1; [ -n "$PATH" ] || exit 2; [ -z "$HOME$CARGO$USER" ] || exit 3"#;
    run(text, LONG, Streams::Input(b"words".to_vec()), None).expect("all as said");
}

#[test]
fn a_process_left_behind_keeps_nobody_waiting() {
    let begin = Instant::now();
    run("sleep 5 & exit 0", LONG, Streams::None, None).expect("ended");
    assert!(begin.elapsed() < Duration::from_secs(4));
}
