//! The programs, run on this machine as they are.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, Output, Stdio};

use rustix::process::{Pid, Signal, geteuid, kill_process};

const HELLO: &str = concat!(env!("OUT_DIR"), "/hello");
const INIT: &str = concat!(env!("OUT_DIR"), "/loam-init");

fn run(program: &str, arguments: &[&str]) -> Output {
    Command::new(program).args(arguments).stdin(Stdio::null()).output().expect("the program can be run")
}

fn init(arguments: &[&str]) -> Output {
    run(INIT, &[&["--"], arguments].concat())
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("UTF-8")
}

fn signal(child: &Child, signal: Signal) {
    let pid = Pid::from_child(child);
    kill_process(pid, signal).expect("the child lives");
}

/// Starts `hello serve` on a free port, by way of `before`, and gives it with its port when it listens.
fn serve(before: &[&str]) -> (Child, u16) {
    // Between the look and the start somebody else may get the port.
    (0..5).find_map(|_| try_to_serve(before)).expect("a port that stays free")
}

/// Does it once; `None` when the port was taken in between.
fn try_to_serve(before: &[&str]) -> Option<(Child, u16)> {
    let port =
        std::net::TcpListener::bind("127.0.0.1:0").expect("a free port").local_addr().expect("bound").port();
    let port_text = port.to_string();
    let words = [before, &[HELLO, "serve", &port_text]].concat();
    let mut command = Command::new(words[0]);
    command.args(&words[1..]).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("starts");
    let mut line = String::new();
    let mut output = BufReader::new(child.stdout.take().expect("piped"));
    output.read_line(&mut line).expect("a line");
    let mut errors = child.stderr.take().expect("piped");
    if line.is_empty() {
        let mut told = String::new();
        errors.read_to_string(&mut told).expect("text");
        child.wait().expect("ends");
        assert!(told.contains("address already in use"), "{told}");
        return None;
    }
    assert_eq!(line, format!("hello: listening at port {port}\n"));
    // What it says goes on: it must not meet a closed pipe.
    std::thread::spawn(move || std::io::copy(&mut output, &mut std::io::sink()));
    std::thread::spawn(move || std::io::copy(&mut errors, &mut std::io::sink()));
    Some((child, port))
}

fn request(port: u16, words: &str) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("connects");
    stream.write_all(words.as_bytes()).expect("sends");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer, and then the end");
    answer
}

#[test]
fn the_report_names_everything() {
    let output = Command::new(HELLO).env_clear().env("SECRET", "not to be shown").output().expect("runs");
    let report = text(&output.stdout);
    for name in [
        "host name",
        "kernel",
        "process id",
        "user",
        "user ids",
        "group ids",
        "capabilities",
        "seccomp",
        "new privileges",
        "memory limit",
        "process limit",
        "cpu limit",
        "interfaces",
        "routes",
        "mounts",
        "environment       SECRET\n",
    ] {
        assert!(report.lines().any(|line| format!("{line}\n").starts_with(name)), "{name} in\n{report}");
    }
    assert!(!report.contains("not to be shown"), "{report}");
    assert!(output.status.success());
}

#[test]
fn the_server_answers_and_ends_at_sigterm() {
    let (mut child, port) = serve(&[]);
    let answer = request(port, "GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    assert!(head.contains(&format!("Content-Length: {}\r\n", body.len())), "{head}");
    assert!(body.contains("asked by          127.0.0.1\n"), "{body}");
    assert!(request(port, "PUT / HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc").starts_with("HTTP/1.1 405 "));
    let idle: Vec<_> = (0..40).map(|_| TcpStream::connect(("127.0.0.1", port)).expect("connects")).collect();
    assert!(request(port, "HEAD / HTTP/1.1\r\n\r\n").ends_with("\r\n\r\n"), "idle clients are no hindrance");
    drop(idle);
    signal(&child, Signal::TERM);
    assert_eq!(child.wait().expect("ends").code(), Some(0));
}

#[test]
fn a_taken_port_is_named() {
    let taken = std::net::TcpListener::bind("[::]:0").expect("a port");
    let port = taken.local_addr().expect("bound").port();
    let output = run(HELLO, &["serve", &port.to_string()]);
    assert_eq!(
        text(&output.stderr),
        format!("hello: port {port} can't be listened at: address already in use\n")
    );
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn further_words_do_what_they_say() {
    assert_eq!(run(HELLO, &["exit", "41"]).status.code(), Some(41));
    assert_eq!(text(&run(HELLO, &["echo", "a", "b c"]).stdout), "a b c\n");
    assert_eq!(run(HELLO, &["what"]).status.code(), Some(2));
    let mut child =
        Command::new(HELLO).arg("cat").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("runs");
    let input = "x".repeat(100_000);
    let mut stdin = child.stdin.take().expect("piped");
    let sent = input.clone();
    let writer = std::thread::spawn(move || stdin.write_all(sent.as_bytes()));
    let output = child.wait_with_output().expect("ends");
    writer.join().expect("no panic").expect("all is taken");
    assert!(text(&output.stdout) == input);
}

#[test]
fn init_ends_with_the_programs_code() {
    for code in [0, 1, 42, 255] {
        assert_eq!(init(&[HELLO, "exit", &code.to_string()]).status.code(), Some(code));
    }
    assert_eq!(init(&["sh", "-c", "kill -KILL $$"]).status.code(), Some(128 + 9));
    assert_eq!(run(INIT, &[]).status.code(), Some(125));
}

#[test]
fn init_tells_a_missing_program_from_one_that_cant_be_executed() {
    let missing = init(&["no-such-program"]);
    assert_eq!(missing.status.code(), Some(127));
    let expected = "loam-init: `no-such-program` was not found: no such file or directory\n";
    assert_eq!(text(&missing.stderr), expected);
    assert_eq!(init(&["/no/such/program"]).status.code(), Some(127));
    assert_eq!(init(&["/etc"]).status.code(), Some(126));
    assert_eq!(init(&["/etc/passwd"]).status.code(), Some(126));
}

#[test]
fn init_passes_signals_on() {
    let (mut child, _) = serve(&[INIT, "--"]);
    signal(&child, Signal::TERM);
    assert_eq!(child.wait().expect("ends").code(), Some(0), "the program ended in its own way");
    let (mut child, _) = serve(&[INIT, "--"]);
    signal(&child, Signal::USR1);
    let status = child.wait().expect("ends");
    assert_eq!((status.code(), status.signal()), (Some(128 + 10), None));
}

#[test]
fn init_as_process_1_collects_orphans() {
    if !geteuid().is_root() {
        println!("skipped: init_as_process_1_collects_orphans: needs root");
        return;
    }
    // The orphan ends some time; as long as it is not collected there is a process in state Z.
    let script = "sh -c 'sh -c : & exit 0'; i=0; while [ $i -lt 1000 ]; do i=$((i+1)); \
                  ls -d /proc/[0-9]* | wc -l > /dev/null; \
                  grep -qs '^State:.Z' /proc/[0-9]*/status || exit 33; done; exit 1";
    let output = run("unshare", &["--pid", "--fork", "--mount-proc", INIT, "--", "sh", "-c", script]);
    assert_eq!(output.status.code(), Some(33), "{}", text(&output.stderr));
}
