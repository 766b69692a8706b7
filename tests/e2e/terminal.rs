//! A real terminal: `script` gives the command one, as a person's would be.

use std::io::{Read as _, Write as _};
use std::process::{Command, Stdio};

use loam_tests::{Host, Need, needs, until};

/// The command, run by `script` in a terminal of 40 lines of 100 characters.
fn in_a_terminal(host: &Host, arguments: &[&str]) -> Command {
    with_terminal(&host.loam_command(arguments))
}

fn with_terminal(loam: &Command) -> Command {
    let quoted: Vec<String> = std::iter::once(loam.get_program())
        .chain(loam.get_args())
        .map(|word| format!("'{}'", word.to_string_lossy().replace('\'', r"'\''")))
        .collect();
    let mut script = Command::new("script");
    let line = format!("stty rows 40 cols 100; {}", quoted.join(" "));
    script.args(["--quiet", "--return", "--command", &line, "/dev/null"]);
    script.stdin(Stdio::piped()).stdout(Stdio::piped());
    script
}

#[test]
fn a_terminal_has_the_size_of_the_person_s() {
    let host = Host::with_small_image();
    let mut child =
        in_a_terminal(&host, &["run", "--rm", "-it", "small", "sh", "-c", "tty; stty size; exit 5"])
            .spawn()
            .unwrap();
    let mut text = String::new();
    child.stdout.take().unwrap().read_to_string(&mut text).unwrap();
    assert!(text.contains("/dev/"), "{text:?}");
    assert!(text.contains("40 100"), "{text:?}");
    assert_eq!(child.wait().unwrap().code(), Some(5));
    host.finish();
}

#[test]
fn typing_reaches_the_process_and_the_detach_keys_leave_it() {
    let host = Host::with_small_image();
    let mut child = in_a_terminal(&host, &["run", "-it", "--name", "t", "small", "sh"]).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    until("it runs", || (!host.loam(&["ps", "-q"]).stdout.trim().is_empty()).then_some(()));
    stdin.write_all(b"echo typed-$((40+2))\n").unwrap();
    until("the shell answers", || host.loam(&["logs", "t"]).stdout.contains("typed-42").then_some(()));
    stdin.write_all(&[16, 17]).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert!(!host.loam(&["ps", "-q"]).ok().is_empty(), "it still runs");
    host.finish();
}

#[test]
fn exec_gets_a_terminal_too() {
    let host = Host::with_small_image();
    host.start(&["--name", "t", "small", "sleep", "1000"]);
    let mut child =
        in_a_terminal(&host, &["exec", "-it", "t", "sh", "-c", "stty size; tty"]).spawn().unwrap();
    let mut text = String::new();
    child.stdout.take().unwrap().read_to_string(&mut text).unwrap();
    assert!(text.contains("40 100") && text.contains("/dev/"), "{text:?}");
    assert_eq!(child.wait().unwrap().code(), Some(0));
    host.finish();
}

#[test]
fn asking_for_a_terminal_without_one_still_runs() {
    let host = Host::with_small_image();
    let ran = host.loam(&["run", "--rm", "-t", "small", "sh", "-c", "test -t 1 && echo terminal"]);
    assert_eq!(ran.ok().trim(), "terminal");
    host.finish();
}

#[test]
fn a_password_is_asked_for_and_not_shown() {
    if !needs::met(&[Need::NativeProcessor]) {
        return;
    }
    let host = Host::new();
    let registry = loam_testkit::registry::Registry::with_tls_and_password();
    let authfile = host.scratch().join("auth.json");
    let arguments = ["login", "--insecure", "--authfile", authfile.to_str().unwrap(), registry.address()];
    for (password, code) in [("wrong\r", 125), ("given up\u{3}", 125), ("x\u{7f}RIGHT\r", 0)] {
        let mut child = with_terminal(&host.loam_outside_command(&arguments)).spawn().unwrap();
        let (mut stdin, mut stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let mut shown = Vec::new();
        let mut wait_for = |question: &str| {
            let mut byte = [0];
            while !String::from_utf8_lossy(&shown).ends_with(question) && stdout.read(&mut byte).unwrap() > 0
            {
                shown.extend_from_slice(&byte);
            }
        };
        wait_for("User name: ");
        stdin.write_all(b"somebody\n").unwrap();
        wait_for("Password: ");
        stdin.write_all(password.replace("RIGHT", registry.password()).as_bytes()).unwrap();
        wait_for("until the end");
        let shown = String::from_utf8_lossy(&shown).into_owned();
        assert_eq!(child.wait().unwrap().code(), Some(code), "{shown}");
        assert!(!shown.contains(registry.password()) && !shown.contains("wrong"), "{shown}");
        assert_eq!(authfile.exists(), code == 0, "{shown}");
    }
    host.finish();
}
