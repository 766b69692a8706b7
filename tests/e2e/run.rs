//! `loam run` in the foreground: streams, exit codes, environment, user, working directory.

use loam_tests::Host;

#[test]
fn the_exit_code_is_the_process_s_own() {
    let host = Host::with_small_image();
    for code in [0, 1, 42, 255] {
        assert_eq!(host.loam(&["run", "--rm", "small", "sh", "-c", &format!("exit {code}")]).code, code);
    }
    // Process 1 can't be killed from inside its namespace, so that this one is the second.
    assert_eq!(host.loam(&["run", "--rm", "--init", "small", "sh", "-c", "kill -9 $$"]).code, 137);
    host.finish();
}

#[test]
fn a_command_that_is_missing_or_no_program_has_its_own_code() {
    let host = Host::with_small_image();
    host.loam(&["run", "--rm", "small", "no-such-program"]).refused(127, "no-such-program");
    host.loam(&["run", "--rm", "small", "/no/such/program"]).refused(127, "/no/such/program");
    host.loam(&["run", "--rm", "small", "/etc"]).refused(126, "/etc");
    host.loam(&["run", "--rm", "-u", "1000", "small", "/etc/passwd"]).refused(126, "/etc/passwd");
    host.finish();
}

#[test]
fn the_streams_are_told_apart_and_whole() {
    let host = Host::with_small_image();
    let ran = host.loam(&["run", "--rm", "small", "sh", "-c", "echo out; echo err >&2"]);
    assert_eq!((ran.stdout.as_str(), ran.stderr.as_str()), ("out\n", "err\n"));
    let big = host.loam(&["run", "--rm", "small", "sh", "-c", "yes 0123456789abcde | head -c 20000000"]);
    assert_eq!(big.ok().len(), 19_999_999, "all bytes but the last newline");
    let echoed = host.loam_with_input(&["run", "--rm", "-i", "small", "cat"], b"through\0and\nback");
    assert_eq!(echoed.stdout, "through\0and\nback");
    let without = host.loam_with_input(&["run", "--rm", "small", "cat"], b"not asked for");
    assert_eq!(without.ok(), "");
    host.finish();
}

#[test]
fn environment_user_directory_and_host_name_are_as_asked() {
    let host = Host::with_small_image();
    let file = host.scratch().join("env");
    std::fs::write(&file, "# a comment\nFROM_FILE=1\nBOTH=file\n").unwrap();
    let ran = host.loam(&[
        "run",
        "--rm",
        "-e",
        "BOTH=flag",
        "-e",
        "A=b c",
        "--env-file",
        file.to_str().unwrap(),
        "-u",
        "1234:5678",
        "-w",
        "/made/for/it",
        "--hostname",
        "named",
        "small",
        "sh",
        "-c",
        "echo $FROM_FILE $BOTH $A; id -u; id -g; pwd; hostname; echo $HOME",
    ]);
    assert_eq!(ran.ok(), "1 flag b c\n1234\n5678\n/made/for/it\nnamed\n/");
    host.finish();
}

#[test]
fn the_entrypoint_and_a_read_only_root() {
    let host = Host::with_small_image();
    let ran = host.loam(&["run", "--rm", "--entrypoint", "echo", "small", "a", "b"]);
    assert_eq!(ran.ok(), "a b");
    let line = "touch /x 2>/dev/null || echo refused; touch /tmp/y && echo wrote";
    let ran = host.loam(&["run", "--rm", "--read-only", "--tmpfs", "/tmp", "small", "sh", "-c", line]);
    assert_eq!(ran.ok(), "refused\nwrote");
    host.finish();
}

#[test]
fn only_the_three_streams_are_open_inside() {
    let host = Host::with_small_image();
    // No pipeline: its pipe would for a moment be the shell's. Something after it, so that the shell is not replaced.
    let ran = host.loam(&["run", "--rm", "small", "sh", "-c", "ls /proc/$$/fd; true"]);
    let descriptors: Vec<&str> = ran.ok().split_whitespace().collect();
    assert!(descriptors == ["0", "1", "2"] || descriptors == ["0", "1", "2", "10"], "{descriptors:?}");
    host.finish();
}

#[test]
fn labels_and_a_container_id_file() {
    let host = Host::with_small_image();
    let file = host.scratch().join("cid");
    let path = file.to_str().unwrap();
    let id = host.start(&["--cidfile", path, "--label", "tier=web", "--name", "l", "small", "sleep", "1000"]);
    assert_eq!(std::fs::read_to_string(&file).unwrap().trim(), id);
    assert_eq!(host.loam(&["ps", "-q", "--no-trunc", "--filter", "label=tier=web"]).ok(), id);
    assert_eq!(host.loam(&["ps", "-q", "--filter", "label=tier=db"]).ok(), "");
    host.finish();
}

#[test]
fn a_run_in_the_foreground_hands_signals_on() {
    let host = Host::with_small_image();
    let script = "trap 'echo caught; exit 3' INT; echo ready; while :; do sleep 0.05; done";
    let mut child = host
        .loam_command(&["run", "--rm", "--name", "fg", "small", "sh", "-c", script])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    loam_tests::until("it is ready", || host.loam(&["logs", "fg"]).stdout.contains("ready").then_some(()));
    // nsenter has replaced itself with loam, so the child's id is loam's.
    let killed = host.sh(&format!("kill -INT {}", child.id()));
    killed.ok();
    assert_eq!(child.wait().unwrap().code(), Some(3));
    host.finish();
}
