//! Credential helpers: programs `docker-credential-NAME` that keep passwords (docker/docker-credential-helpers,
//! README, "Development"): `get`, `store` and `erase`.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};
use serde::Deserialize;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::unix::pipe::{Receiver, Sender};

use crate::credentials::Login;
use crate::error::{RegistryError, printable};
use crate::secret::Secret;

/// How long a helper may take; some ask a person.
const LIMIT: Duration = Duration::from_secs(60);
/// As much as is read of what it says.
const LONGEST: u64 = 64 * 1024;
/// The user name that says that the secret is an identity token.
const TOKEN_USER: &str = "<token>";
/// What helpers say when they know nothing.
const NOTHING_FOUND: &str = "credentials not found";

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    username: String,
    secret: String,
}

/// Asks a helper, by the part of its name after `docker-credential-`, for a registry's login.
pub(crate) async fn ask(name: &str, registry: &str) -> Result<Option<Login>, RegistryError> {
    let (program, failed) = named(name)?;
    let said = run(&program, "get", &format!("{registry}\n"), LIMIT).await.map_err(&failed)?.said;
    login(&said).map_err(failed)
}

/// The login that a helper answers with, `None` when it knows none; an error is what it did.
pub(crate) fn login(said: &[u8]) -> Result<Option<Login>, String> {
    match serde_json::from_slice::<Answer>(said) {
        Ok(answer) if answer.secret.is_empty() => Ok(None),
        Ok(answer) if answer.username == TOKEN_USER => {
            Ok(Some(Login::Identity { user: answer.username, token: Secret::new(answer.secret) }))
        }
        Ok(answer) => {
            Ok(Some(Login::Password { user: answer.username, password: Secret::new(answer.secret) }))
        }
        Err(_) => {
            let text = String::from_utf8_lossy(said);
            // What is no JSON is a sentence; what begins like JSON might hold the secret.
            match text.trim_start() {
                text if text.starts_with(NOTHING_FOUND) => Ok(None),
                text if text.starts_with('{') => Err("it answers in another form than agreed".to_owned()),
                "" => Err("it says nothing".to_owned()),
                text => Err(printable(text, 200)),
            }
        }
    }
}

/// Hands a login to a helper.
pub(crate) async fn store(
    name: &str,
    registry: &str,
    user: &str,
    password: &Secret,
) -> Result<(), RegistryError> {
    let login = serde_json::json!({ "ServerURL": registry, "Username": user, "Secret": password.reveal() });
    tell(name, "store", &login.to_string()).await
}

/// Lets a helper forget a login.
pub(crate) async fn erase(name: &str, registry: &str) -> Result<(), RegistryError> {
    tell(name, "erase", &format!("{registry}\n")).await
}

async fn tell(name: &str, word: &str, input: &str) -> Result<(), RegistryError> {
    let (program, failed) = named(name)?;
    let ran = run(&program, word, input, LIMIT).await.map_err(&failed)?;
    if ran.well {
        return Ok(());
    }
    let text = printable(&String::from_utf8_lossy(&ran.said), 200);
    Err(failed(if text.is_empty() { format!("it can't {word} a login") } else { text }))
}

/// The program of a helper, and what its failures are.
fn named(name: &str) -> Result<(String, impl Fn(String) -> RegistryError + use<>), RegistryError> {
    let program = format!("docker-credential-{name}");
    let shown = printable(&program, 80);
    let failed = move |reason: String| RegistryError::CredentialHelper { program: shown.clone(), reason };
    if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte)) {
        return Err(failed("that is no name of a program".to_owned()));
    }
    Ok((program, failed))
}

/// What a helper did.
struct Ran {
    said: Vec<u8>,
    well: bool,
}

/// Runs `PROGRAM WORD` with this on its standard input, and gives what it writes. The program, and whatever it started,
/// does not outlive the call.
async fn run(program: &str, word: &str, input: &str, limit: Duration) -> Result<Ran, String> {
    let spawned = Command::new(program)
        .arg(word)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn();
    let mut helper = Helper(spawned.map_err(|error| error.to_string())?);
    let stdin = helper.0.stdin.take().ok_or("it has no input")?;
    let stdout = helper.0.stdout.take().ok_or("it has no output")?;
    let words = |error: io::Error| error.to_string();
    let mut writer = Sender::from_owned_fd(OwnedFd::from(stdin)).map_err(words)?;
    let reader = Receiver::from_owned_fd(OwnedFd::from(stdout)).map_err(words)?;
    let mut said = Vec::new();
    // A helper need not read what it is told to know what to say: it says so on its own. What it is told may be more than a pipe
    // holds, and it may talk before it listens, so both are done at once.
    let telling = async move {
        let _unread = writer.write_all(input.as_bytes()).await;
    };
    let exchange = async {
        let mut reader = reader.take(LONGEST);
        let hearing = reader.read_to_end(&mut said);
        tokio::pin!(hearing);
        tokio::select! {
            biased;
            heard = &mut hearing => return heard,
            () = telling => {}
        }
        hearing.await
    };
    match tokio::time::timeout(limit, exchange).await {
        Ok(Ok(length)) if length as u64 == LONGEST => Ok(Ran { said, well: false }),
        // An answer is all that is wanted. Who keeps or forgets something has done it when it ends.
        Ok(Ok(_length)) => Ok(Ran { said, well: word == "get" || helper.ended(limit).await }),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_elapsed) => Err(format!("it takes longer than {}", crate::error::in_words(limit))),
    }
}

/// A running helper, the first of its own process group.
struct Helper(Child);

impl Helper {
    /// Whether it ends, and well. It is looked at without reaping it, so that its process group stays its own.
    async fn ended(&self, limit: Duration) -> bool {
        let (began, pid) = (Instant::now(), Pid::from_child(&self.0));
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT | WaitIdOptions::NOHANG;
        while began.elapsed() < limit {
            match waitid(WaitId::Pid(pid), options) {
                Ok(Some(status)) => return status.exit_status() == Some(0),
                Ok(None) => tokio::time::sleep(Duration::from_millis(2)).await,
                Err(_) => return false,
            }
        }
        false
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        let pid = Pid::from_child(&self.0);
        // The group may be gone already; the process itself is still to be waited for.
        let _gone = kill_process_group(pid, Signal::KILL);
        let _reaped = self.0.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn with_script(body: &str, limit: Duration) -> Result<String, String> {
        with_input(body, "h.x\n", limit)
    }

    fn with_input(body: &str, input: &str, limit: Duration) -> Result<String, String> {
        let directory = tempfile::tempdir().expect("temporary directory");
        let path = directory.path().join("docker-credential-test");
        std::fs::write(&path, format!("#!/bin/sh\n{body}\n")).expect("written");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("executable");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("runtime");
        let program = path.to_str().expect("text");
        let said = runtime.block_on(run(program, "get", input, limit))?.said;
        Ok(String::from_utf8_lossy(&said).into_owned())
    }

    #[test]
    fn it_hears_the_registry_and_is_heard() {
        let said = with_script("read line; echo \"$1 $line\"", Duration::from_secs(10));
        assert_eq!(said, Ok("get h.x\n".to_owned()));
    }

    #[test]
    fn one_that_hangs_or_leaves_children_is_ended() {
        let began = Instant::now();
        let said = with_script("sleep 1000 & sleep 1000", Duration::from_millis(200));
        assert_eq!(said, Err("it takes longer than 200 ms".to_owned()));
        assert!(began.elapsed() < Duration::from_secs(20));
    }

    #[test]
    fn one_that_talks_forever_is_cut() {
        let said =
            with_script("while :; do echo yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy; done", LIMIT);
        assert_eq!(said.map(|said| said.len() as u64), Ok(LONGEST));
    }

    #[test]
    fn one_that_does_not_listen_is_ended_and_one_that_answers_all_the_same_is_heard() {
        let much = "x".repeat(1 << 20);
        let brief = Duration::from_millis(200);
        let began = Instant::now();
        let said = with_input("sleep 1000", &much, brief);
        assert_eq!(said, Err("it takes longer than 200 ms".to_owned()));
        assert!(began.elapsed() < Duration::from_secs(20));
        assert_eq!(with_input("echo known", &much, LIMIT), Ok("known\n".to_owned()));
        let said = with_input("head -c 50000 /dev/zero | tr '\\0' y; cat | wc -c", &much, LIMIT);
        assert!(said.expect("heard").ends_with("1048576\n"), "it talks before it listens");
    }

    #[test]
    fn names_that_are_paths_are_refused() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("runtime");
        for name in ["../evil", "a/b", "", "a b"] {
            assert!(runtime.block_on(ask(name, "h.x")).is_err(), "{name}");
        }
    }
}
