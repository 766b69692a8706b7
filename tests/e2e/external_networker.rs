//! Networks that an external networker attaches to: Loam's own program for Guardian, called by Loam, and one that is
//! killed, hangs or fails.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Stdio;

use loam_tests::{Host, program, until};
use serde_json::{Value, json};

/// A web server in the small image that answers with a word.
const SERVER: &str = "mkdir -p /www && echo served > /www/index.html && exec httpd -f -p 80 -h /www";

/// Makes the network `cf`, with a program and its arguments.
fn create(host: &Host, program: &str, arguments: &[&str]) {
    let mut words = vec!["network", "create", "--driver", "external-networker", "--opt"];
    let program = format!("program={program}");
    let arguments: Vec<String> = arguments.iter().map(|argument| format!("argument={argument}")).collect();
    words.push(&program);
    words.extend(arguments.iter().flat_map(|argument| ["--opt", argument.as_str()]));
    words.push("cf");
    assert_eq!(host.loam(&words).ok(), "cf");
}

/// Makes the network `cf` of a shell script, which knows action, handle and a directory of its own.
fn scripted(host: &Host, script: &str) -> PathBuf {
    let path = host.scratch().join("networker");
    let text = format!(
        "#!/bin/sh\nHERE={}\nfor word; do case $last in --action) action=$word;; --handle) handle=$word;; esac; last=$word; done\n\
         echo $action $handle >> $HERE/log\n{script}\n",
        host.scratch().display()
    );
    std::fs::write(&path, text).expect("writable");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("ours");
    if host.loam(&["network", "ls", "-q"]).ok().lines().all(|name| name != "cf") {
        create(host, &path.display().to_string(), &[]);
    }
    path
}

fn said(host: &Host) -> String {
    std::fs::read_to_string(host.scratch().join("log")).unwrap_or_default()
}

fn fetch(host: &Host, port: u64) -> String {
    host.sh(&format!("curl --silent --fail --max-time 2 http://127.0.0.1:{port}/")).stdout
}

/// How many containers the program for Guardian has up.
fn up(host: &Host) -> usize {
    std::fs::read_dir(host.root().join("garden-network/handles")).map_or(0, Iterator::count)
}

#[test]
fn what_guardian_would_call_loam_calls() {
    let host = Host::with_small_image();
    let (root, run) = (host.root().display().to_string(), host.run_directory().display().to_string());
    let arguments = ["garden-network", "--root", &root, "--run", &run, "--dns-server", "192.0.2.53"];
    create(&host, &program("loam"), &arguments);
    assert!(
        host.loam(&["network", "ls"])
            .ok()
            .lines()
            .any(|line| line.starts_with("cf ") && line.contains("external-networker"))
    );
    host.start(&["--name", "web", "--network", "cf", "-p", "8080:80", "small", "sh", "-c", SERVER]);
    until("it serves", || fetch(&host, 8080).contains("served").then_some(()));
    let network = host.inspect("web")["network"].clone();
    assert_eq!(network["interfaces"][0]["name"], "eth0");
    assert_eq!(network["interfaces"][0]["addresses"], json!(["10.254.0.2/22"]));
    assert_eq!(network["interfaces"][0]["gateways"], json!(["10.254.0.1"]));
    assert_eq!(network["properties"]["garden.network.host-ip"], "10.254.0.1");
    assert!(host.loam(&["exec", "web", "cat", "/etc/resolv.conf"]).ok().contains("nameserver 192.0.2.53"));
    assert!(host.loam(&["exec", "web", "cat", "/etc/hosts"]).ok().contains("10.254.0.2"));
    assert_eq!(host.loam(&["network", "check", "cf"]).ok(), "cf: well");

    // A port of the networker's choice, and one that is taken.
    host.start(&["--name", "two", "--network", "cf", "-p", "80", "small", "sh", "-c", SERVER]);
    let port = host.inspect("two")["network"]["ports"][0]["host_port"].as_u64().expect("it got one");
    assert_eq!(port, 61001);
    until("it serves", || fetch(&host, port).contains("served").then_some(()));
    let refused = host.loam(&["run", "--rm", "--network", "cf", "-p", "8080:80", "small", "true"]);
    refused.refused(125, "host port `8080/tcp` is taken by container");
    assert_eq!(up(&host), 2, "nothing is left of what was refused");

    host.loam(&["network", "rm", "cf"]).refused(125, "network `cf` is in use by container");
    host.loam(&["stop", "-t", "0", "web"]).ok();
    assert_eq!((up(&host), fetch(&host, 8080).as_str()), (1, ""));
    host.loam(&["start", "web"]).ok();
    until("it serves again", || fetch(&host, 8080).contains("served").then_some(()));
    for name in ["web", "two"] {
        host.loam(&["rm", "-f", name]).ok();
    }
    assert_eq!(up(&host), 0);
    host.loam(&["network", "rm", "cf"]).ok();
    host.finish();
}

#[test]
fn a_networker_that_fails_is_one_sentence_and_is_asked_to_undo_it() {
    let host = Host::with_small_image();
    let run = || host.loam(&["run", "--rm", "--network", "cf", "small", "true"]);
    for (script, thing) in [
        (
            "[ $action = down ] || { echo 'no policy server' >&2; exit 1; }",
            "ended with exit status: 1: no policy server",
        ),
        ("[ $action = down ] || echo '<html>'", "what action `up` gave is not valid JSON"),
        ("[ $action = down ] || echo '{\"dns_servers\":7}'", "`dns_servers` is no list"),
    ] {
        scripted(&host, script);
        run().refused(125, thing);
        let lines = said(&host);
        let actions: Vec<&str> = lines.lines().filter_map(|line| line.split(' ').next()).collect();
        assert_eq!(actions, ["up", "down"], "{script}");
        std::fs::remove_file(host.scratch().join("log")).expect("there");
    }
    let path = scripted(&host, "exit 0");
    run().ok();
    std::fs::remove_file(path).expect("there");
    run().refused(125, "can't be executed");
    let checked = host.loam(&["network", "check", "cf"]);
    assert!(checked.code == 1 && checked.stdout.trim().ends_with("is no program"), "{checked:?}");
    host.loam(&["run", "--rm", "--network", "cf", "-p", "53:53/udp", "small", "true"])
        .refused(125, "ports of UDP");
    // What can't be undone without the program is undone when it is there again.
    scripted(&host, "exit 0");
    host.loam(&["network", "gc"]).ok();
    let lines = said(&host);
    let actions: Vec<&str> = lines.lines().filter_map(|line| line.split(' ').next()).collect();
    assert_eq!(actions, ["up", "down", "down"]);
    host.finish();
}

#[test]
fn a_command_that_is_killed_while_it_attaches_is_undone_after_what_it_began() {
    let host = Host::with_small_image();
    scripted(
        &host,
        "[ $action = down ] || while [ ! -e $HERE/go ]; do sleep 0.01; done; echo end $action >> $HERE/log",
    );
    let mut child = host
        .loam_command(&["run", "--name", "victim", "--network", "cf", "small", "sleep", "1000"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let handle = until("it is asked", || {
        let lines = said(&host);
        lines.strip_suffix('\n').and_then(|line| line.strip_prefix("up ")).map(str::to_owned)
    });
    child.kill().unwrap();
    child.wait().unwrap();
    std::fs::write(host.scratch().join("go"), "").unwrap();
    host.loam(&["rm", "-f", "victim"]);
    host.loam(&["network", "gc"]).ok();
    let expected = format!("up {handle}\nend up\ndown {handle}\nend down\n");
    assert_eq!(said(&host), expected);
    host.finish();
}

#[test]
fn a_list_of_one_s_own_is_held_against_what_a_networker_is() {
    let host = Host::new();
    let file = host.scratch().join("cf.conflist");
    let create = |plugins: Value| {
        let list = json!({"cniVersion": "1.1.0", "name": "cf", "plugins": plugins});
        std::fs::write(&file, list.to_string()).unwrap();
        host.loam(&["network", "create", "--conf", &file.display().to_string()])
    };
    let networker = json!({"type": "external-networker", "program": "/no/such/program"});
    create(json!([networker])).refused(125, "`/no/such/program` is no program");
    create(json!([networker, {"type": "portmap"}])).refused(125, "without other plugins");
    create(json!([{"type": "external-networker", "program": "sh"}])).refused(125, "is not an absolute path");
    create(json!([{"type": "external-networker", "program": program("loam")}])).ok();
    host.loam(&["network", "create", "-d", "external-networker", "x"]).refused(125, "needs a program");
    host.loam(&["network", "create", "--opt", "program=/p", "x"]).refused(125, "has no option `program`");
    host.finish();
}
