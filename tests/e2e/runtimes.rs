//! The same container by other OCI runtimes.

use loam_tests::Host;

/// What every runtime has to do alike.
fn conforms(host: &Host, runtime: &[&str]) {
    // A null device of this host's own: whatever goes wrong does not reach the machine.
    let null = host.scratch().join("null").display().to_string();
    host.sh(&format!("test -c {null} || mknod -m 666 {null} c 1 3 && mount --bind {null} /dev/null")).ok();
    let run = |arguments: &[&str]| host.loam(&[&["run", "--rm"], runtime, arguments].concat());
    assert_eq!(run(&["small", "echo", "ran"]).ok(), "ran", "{runtime:?}");
    assert_eq!(run(&["small", "sh", "-c", "exit 42"]).code, 42, "{runtime:?}");
    assert_eq!(run(&["--init", "small", "sh", "-c", "kill -9 $$"]).code, 137, "{runtime:?}");
    run(&["small", "no-such-program"]).refused(127, "no-such-program");
    run(&["small", "/etc"]).refused(126, "/etc");
    let look = "id -u; hostname; pwd; grep -E '^(Seccomp|NoNewPrivs):' /proc/self/status | tr -d '\\t'; ip -o link | cut -d: -f2 | cut -d@ -f1 | tr -d '\\n '";
    let ran = run(&["--hostname", "h", "-w", "/work/here", "small", "sh", "-c", look]);
    assert_eq!(ran.ok(), "0\nh\n/work/here\nNoNewPrivs:1\nSeccomp:2\nloeth0", "{runtime:?}");
    let echoed =
        host.loam_with_input(&[&["run", "--rm", "-i"], runtime, &["small", "cat"]].concat(), b"through");
    assert_eq!(echoed.stdout, "through", "{runtime:?}");
    // Nothing that a runtime or a process does to its standard input reaches the host's null device.
    run(&["small", "sh", "-c", "chmod 600 /proc/self/fd/0; cat"]).ok();
    assert_eq!(host.sh("stat -c '%u:%g %a' /dev/null").ok(), "0:0 666", "{runtime:?}");
    assert_eq!(
        run(&["-t", "small", "sh", "-c", "test -t 0 && echo terminal"]).ok().trim(),
        "terminal",
        "{runtime:?}"
    );
    let id = host.start(&[runtime, &["--name", "c", "-m", "64m", "small", "sleep", "1000"]].concat());
    assert_eq!(host.loam(&["exec", "c", "sh", "-c", "echo in; exit 3"]).code, 3, "{runtime:?}");
    let rights = host.loam(&["exec", "c", "grep", "Seccomp:", "/proc/self/status"]);
    assert_eq!(rights.ok(), "Seccomp:\t2", "{runtime:?}");
    host.loam(&["exec", "c", "no-such-program"]).refused(127, "no-such-program");
    host.loam(&["exec", "c", "chmod", "600", "/proc/self/fd/0"]);
    assert_eq!(host.sh("stat -c '%u:%g %a' /dev/null").ok(), "0:0 666", "{runtime:?}");
    host.loam(&["pause", "c"]).ok();
    host.loam(&["unpause", "c"]).ok();
    assert_eq!(host.loam(&["stop", "-t", "0", "c"]).code, 0, "{runtime:?}");
    assert_eq!(host.loam(&["rm", "c"]).code, 0, "{id}");
    // Lazily: a process that is ending may have it open still.
    host.sh("umount -l /dev/null").ok();
}

#[test]
fn the_embedded_one() {
    let host = Host::with_small_image();
    conforms(&host, &[]);
    host.finish();
}

#[test]
fn runc() {
    let host = Host::with_small_image();
    conforms(&host, &["--runtime", "runc"]);
    host.finish();
}

#[test]
fn crun() {
    let host = Host::with_small_image();
    conforms(&host, &["--runtime", "crun"]);
    host.finish();
}

#[test]
fn the_embedded_one_without_a_user_namespace() {
    let host = Host::with_small_image();
    conforms(&host, &["--userns", "host"]);
    host.finish();
}
