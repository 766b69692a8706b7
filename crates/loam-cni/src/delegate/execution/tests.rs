use std::path::Path;

use super::*;

const LONG: Duration = Duration::from_secs(120);
/// What nothing here takes unless it hangs.
const SOON: Duration = Duration::from_secs(30);

fn shell(script: &str) -> Command {
    let mut program = Command::new("sh");
    program.args(["-c", script]);
    program
}

fn limits(time: Duration) -> Limits {
    Limits { time, output: 1 << 20 }
}

/// Runs a script both ways: with the program's end by descriptor, and looked for.
fn both_ways(script: &str, input: &[u8], limits: Limits) -> [Result<Output, String>; 2] {
    let by_look = || {
        let mut program = shell(script);
        program.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
        let mut child = program.spawn().expect("there is a shell");
        let run = Execution::new(&mut child, input, limits.output).expect("pipes");
        let output = run.finish(None, Instant::now() + limits.time, &mut false);
        if output.is_err() {
            kill_process_group(Pid::from_child(&child), Signal::KILL).expect("it is there");
            child.wait().expect("a child");
        }
        output
    };
    [run(shell(script), input, limits), by_look()]
}

#[test]
fn output_and_input_pass_through() {
    for output in both_ways("cat; echo err >&2; exit 3", b"hello", limits(LONG)) {
        let output = output.expect("it runs");
        assert_eq!((output.stdout.as_slice(), output.stderr.as_slice()), (&b"hello"[..], &b"err\n"[..]));
        assert_eq!(output.status.code(), Some(3));
    }
}

#[test]
fn more_than_the_pipes_hold_passes_through() {
    let input = vec![b'x'; 700_000];
    for output in both_ways("cat", &input, limits(LONG)) {
        assert!(output.expect("it runs").stdout == input);
    }
    // One that talks first and reads later, and one that reads nothing.
    let output = run(shell("head -c 500000 /dev/zero; cat"), &input[..400_000], limits(LONG));
    assert_eq!(output.expect("it runs").stdout.len(), 900_000);
    assert!(run(shell("exit 0"), &input, limits(LONG)).expect("it runs").status.success());
}

#[test]
fn a_program_that_hangs_is_ended_with_its_children() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let file = directory.path().join("pid");
    let script = format!("sleep 60 & echo $! > {0}.new; mv {0}.new {0}; sleep 60", file.display());
    let begun = Instant::now();
    let error = run(shell(&script), b"", limits(Duration::from_secs(3))).err();
    assert_eq!(error.as_deref(), Some("did not finish within its time"));
    assert!(begun.elapsed() < SOON);
    let pid = std::fs::read_to_string(&file).expect("written in time");
    let state = Path::new("/proc").join(pid.trim()).join("stat");
    let lives = || std::fs::read_to_string(&state).is_ok_and(|text| !text.contains(") Z "));
    while lives() {
        assert!(begun.elapsed() < SOON, "its child lives");
        std::thread::yield_now();
    }
}

#[test]
fn one_that_closes_its_output_and_stays_is_ended_too() {
    for output in both_ways("exec >&- 2>&- <&-; sleep 60", b"", limits(Duration::from_millis(100))) {
        assert_eq!(output.err().as_deref(), Some("did not finish within its time"));
    }
}

/// Runs a script whose `{AWAY}` begins a process that leaves its process group and holds the pipes.
fn with_one_away(script: &str, run: impl FnOnce(&str)) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let file = directory.path().join("pids");
    let away = format!("setsid sh -c 'echo $$ >> {}; exec sleep 60' &", file.display());
    run(&script.replace("{AWAY}", &format!("{away} until [ -s {} ]; do :; done", file.display())));
    let pids = std::fs::read_to_string(&file).expect("it has begun");
    for pid in pids.lines().map(|pid| pid.parse().expect("a number")) {
        let pid = Pid::from_raw(pid).expect("a process");
        rustix::process::kill_process(pid, Signal::KILL).expect("it lives");
    }
}

#[test]
fn what_it_leaves_behind_keeps_nobody_waiting() {
    let begun = Instant::now();
    with_one_away("echo said; {AWAY}", |script| {
        for output in both_ways(script, b"", limits(LONG)) {
            assert_eq!(output.expect("it ended").stdout, b"said\n");
        }
    });
    with_one_away("{AWAY}; sleep 60", |script| {
        let error = run(shell(script), b"", limits(Duration::from_secs(3))).err();
        assert_eq!(error.as_deref(), Some("did not finish within its time"));
    });
    assert!(begun.elapsed() < SOON);
}

#[test]
fn a_program_that_says_too_much_is_ended() {
    let begun = Instant::now();
    for stream in ["", ">&2"] {
        let script =
            format!("while :; do echo aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa {stream}; done");
        for output in both_ways(&script, b"", Limits { time: LONG, output: 100_000 }) {
            assert_eq!(output.err().as_deref(), Some("says more than 100000 bytes"));
        }
    }
    assert!(begun.elapsed() < SOON);
    // Also when it has ended by then, and not when it is as much as it may say.
    let most = |output| run(shell("head -c 50000 /dev/zero"), b"", Limits { time: LONG, output });
    assert_eq!(most(49_999).err().as_deref(), Some("says more than 49999 bytes"));
    assert_eq!(most(50_000).expect("allowed").stdout.len(), 50_000);
}

#[test]
fn signals_that_the_caller_has_blocked_reach_the_program() {
    // A thread of its own, whose mask nothing else sees.
    let thread = std::thread::spawn(|| {
        let _queue = loam_sys::SignalQueue::block(&[15]).expect("it can be blocked");
        run(shell("kill -TERM $$; exit 0"), b"", limits(LONG)).expect("it runs").status.success()
    });
    assert!(!thread.join().expect("no panic"), "it ended by the signal");
}
