//! The image that the program carries works on any machine, offline.

use loam_tests::{Host, until};

#[test]
fn hello_tells_what_the_container_sees() {
    let host = Host::new();
    let ran = host.loam(&["run", "--rm", "--hostname", "greeter", "-m", "64m", "hello"]);
    let text = ran.ok();
    for word in ["greeter", "uid", "eth0", "seccomp", "capabilities", "mounts"] {
        assert!(text.to_lowercase().contains(word), "no {word:?} in:\n{text}");
    }
    host.finish();
}

#[test]
fn hello_serves_the_same_over_http() {
    let host = Host::new();
    host.start(&["--name", "web", "-p", "8080:80", "hello", "serve"]);
    let page = until("the page comes", || {
        let ran = host.sh("curl --silent --fail --max-time 2 http://127.0.0.1:8080/");
        (ran.code == 0).then_some(ran.stdout)
    });
    assert!(page.to_lowercase().contains("seccomp"), "{page}");
    assert_eq!(host.loam(&["stop", "web"]).code, 0);
    host.finish();
}

#[test]
fn init_reaps_and_hands_signals_on() {
    let host = Host::with_small_image();
    let script =
        "trap 'echo got-term; exit 7' TERM; (sleep 0.01 &) ; echo ready; while :; do sleep 0.05; done";
    host.start(&["--name", "i", "--init", "small", "sh", "-c", script]);
    until("it is ready", || host.loam(&["logs", "i"]).stdout.contains("ready").then_some(()));
    let init = host.loam(&["exec", "i", "cat", "/proc/1/cmdline"]);
    assert!(init.ok().contains("loam-init"), "{init:?}");
    let zombies = host.loam(&["exec", "i", "sh", "-c", "grep -l '^State:.Z' /proc/[0-9]*/status | wc -l"]);
    assert_eq!(zombies.ok(), "0");
    host.loam(&["kill", "-s", "TERM", "i"]).ok();
    assert_eq!(host.loam(&["wait", "i"]).ok(), "7");
    assert!(host.loam(&["logs", "i"]).stdout.contains("got-term"));
    host.finish();
}
