//! A kernel that is too old: every program says so, in the way its callers understand, before it does anything.

use std::io::Write as _;
use std::process::{Command, Stdio};

use loam_tests::{Host, Ran, program};
use serde_json::Value;

const SENTENCE: &str = "is too old: Loam needs Linux 5.14 or later";

/// A command to which the kernel gives a release that begins with `2.6`, as for programs that know no later one
/// (personality(2), `UNAME26`).
fn on_old_kernel(mut command: Command) -> Command {
    let mut old = Command::new("setarch");
    old.args(["--uname-2.6", "--"]).arg(command.get_program()).args(command.get_args());
    old.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command.stdin(Stdio::null());
    old.stdin(Stdio::null());
    old
}

fn run(command: Command) -> Ran {
    Ran::of(&on_old_kernel(command).output().expect("setarch runs"))
}

#[test]
fn the_command_line_refuses_and_makes_nothing() {
    let host = Host::new();
    for arguments in [
        &["ps"][..],
        &["run", "hello"],
        &["pull", "oci:/nowhere"],
        &["network", "ls"],
        &["image", "prune"],
        &["login", "registry.example"],
    ] {
        run(host.loam_command(arguments)).refused(125, SENTENCE);
    }
    assert!(!host.root().exists() && !host.run_directory().exists());
    // What only tells of Loam does so, to find out what is missing.
    for arguments in [&["version"][..], &["info"], &["--help"], &["run", "--help"]] {
        run(host.loam_command(arguments)).ok();
    }
    host.finish();
}

#[test]
fn grootfs_says_it_where_garden_looks_for_it() {
    let host = Host::new();
    let store = host.scratch().join("store");
    let store = store.display().to_string();
    for words in [&["init-store"][..], &["create", "/image.tar", "a"], &["delete", "a"], &["list"]] {
        let ran = run(host.grootfs_command(&[&["--store", &store], words].concat()));
        assert_eq!((ran.code, ran.stdout.lines().count()), (1, 1), "{ran:?}");
        assert!(ran.stdout.contains(SENTENCE), "{ran:?}");
    }
    assert!(!std::path::Path::new(&store).exists());
    run(host.grootfs_command(&["--help"])).ok();
    host.finish();
}

#[test]
fn the_external_networker_says_it_on_standard_error() {
    let host = Host::new();
    let (root, run_directory) =
        (host.root().display().to_string(), host.run_directory().display().to_string());
    for action in ["up", "down", "net-in", "net-out", "bulk-net-out"] {
        let mut command = host.command(&program("loam"));
        command.args(["garden-network", "--root", &root, "--run", &run_directory]);
        command.args(["--action", action, "--handle", "a"]);
        let ran = run(command);
        assert_eq!((ran.code, ran.stdout.as_str(), ran.stderr.lines().count()), (1, "", 1), "{ran:?}");
        assert!(ran.stderr.contains(SENTENCE), "{ran:?}");
    }
    assert!(!host.root().exists());
    host.finish();
}

#[test]
fn plugins_say_it_as_cni_wants_it() {
    let host = Host::new();
    let ask = |plugin: &str, verb: &str| {
        let mut command = host.command(&program("loam-cni"));
        command.arg(plugin).env("CNI_COMMAND", verb).env("CNI_PATH", "/nowhere");
        command.envs([("CNI_CONTAINERID", "a"), ("CNI_NETNS", "/nowhere"), ("CNI_IFNAME", "eth0")]);
        let mut old = on_old_kernel(command);
        let mut child =
            old.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it runs");
        let config = br#"{"cniVersion":"1.1.0","name":"n","type":"x"}"#;
        // It may have ended before it reads.
        let _unread = child.stdin.take().expect("piped").write_all(config).is_err();
        Ran::of(&child.wait_with_output().expect("it ends"))
    };
    for plugin in ["bridge", "host-local", "loopback", "portmap", "dhcp"] {
        for verb in ["ADD", "DEL", "CHECK", "STATUS", "GC"] {
            let ran = ask(plugin, verb);
            let error: Value = serde_json::from_str(&ran.stdout).expect("an error object");
            assert_eq!((ran.code, error["code"].as_u64()), (1, Some(104)), "{plugin} {verb}: {ran:?}");
            assert!(error["msg"].as_str().is_some_and(|text| text.contains(SENTENCE)), "{ran:?}");
        }
        let versions = ask(plugin, "VERSION");
        assert!(versions.ok().contains("supportedVersions"), "{versions:?}");
    }
    let mut daemon = host.command(&program("loam-cni"));
    daemon.args(["dhcp", "daemon"]);
    let ran = run(daemon);
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(ran.stderr.contains(SENTENCE), "{ran:?}");
    host.finish();
}
