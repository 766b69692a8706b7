//! Debian's `docker-registry`, for tests: started on a free port of the loopback interface, and ended with its owner.

use std::fmt;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Stdio};

use anyhow::{Context as _, Result, bail};
use tempfile::TempDir;

use crate::program;

/// The user of a registry with a password.
const USER: &str = "somebody";
/// The password: nothing that occurs by chance, so that tests can search for it.
const PASSWORD: &str = "correct-horse-battery-staple";
/// What the registry writes to its log, before the address, when it serves.
const READY: &str = "listening on ";

/// What a registry wants of who speaks to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Security {
    None,
    Password,
    ClientCertificate,
}

/// A running registry. It ends when it is dropped, and its temporary files go with it.
pub struct Registry {
    process: Child,
    address: String,
    storage: PathBuf,
    files: TempDir,
    secured: bool,
}

impl fmt::Debug for Registry {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Registry").field("address", &self.address).finish_non_exhaustive()
    }
}

impl Registry {
    /// Starts an empty registry that speaks plain HTTP and lets everybody in.
    pub fn plain() -> Self {
        let files = temporary();
        let storage = files.path().join("storage");
        Self::start(files, storage, false).expect("the registry starts")
    }

    /// Starts an empty registry that speaks TLS, with a certificate of an authority that nobody knows (see
    /// [`Registry::authority`]), and wants a user name and a password.
    pub fn with_tls_and_password() -> Self {
        let files = temporary();
        let storage = files.path().join("storage");
        make_certificates(files.path()).expect("openssl makes certificates");
        let users = program::words("htpasswd", &["-Bbn", USER, PASSWORD]).expect("htpasswd makes a file");
        fs::write(files.path().join("htpasswd"), users).expect("the file is written");
        Self::start(files, storage, true).expect("the registry starts")
    }

    /// Starts an empty registry that speaks TLS, and only with who shows a certificate of the same authority (see
    /// [`Registry::client_certificate`]).
    pub fn with_client_certificates() -> Self {
        let files = temporary();
        let storage = files.path().join("storage");
        make_certificates(files.path()).expect("openssl makes certificates");
        Self::start_with(files, storage, Security::ClientCertificate).expect("the registry starts")
    }

    /// Starts a plain registry over what a directory holds.
    pub fn serving(storage: &Path) -> Self {
        Self::start(temporary(), storage.to_owned(), false).expect("the registry starts")
    }

    fn start(files: TempDir, storage: PathBuf, secured: bool) -> Result<Self> {
        let security = if secured { Security::Password } else { Security::None };
        Self::start_with(files, storage, security)
    }

    fn start_with(files: TempDir, storage: PathBuf, security: Security) -> Result<Self> {
        let secured = security == Security::Password;
        let command = command_with(&storage, "127.0.0.1:0", files.path(), security)?;
        let mut process = Command::new(&command[0])
            .args(&command[1..])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .context("`docker-registry` can't be started")?;
        let stderr = process.stderr.take().context("standard error is a pipe")?;
        // From here on the process is ended when something fails.
        let mut registry = Self { process, address: String::new(), storage, files, secured };
        registry.address = wait_until_ready(stderr)?;
        Ok(registry)
    }

    /// `127.0.0.1:PORT`, as it stands in a reference.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The directory that holds what was pushed.
    pub fn storage(&self) -> &Path {
        &self.storage
    }

    /// The certificate of the authority that signed the registry's own.
    pub fn authority(&self) -> PathBuf {
        self.files.path().join("ca.crt")
    }

    /// A certificate of the authority with its key: one that the registry knows, where it wants one.
    pub fn client_certificate(&self) -> (PathBuf, PathBuf) {
        (self.files.path().join("server.crt"), self.files.path().join("server.key"))
    }

    /// The password, to search for where it must not be.
    pub fn password(&self) -> &str {
        PASSWORD
    }

    /// The contents of an `auth.json` with the login for this registry.
    pub fn credentials_file(&self) -> String {
        let login = base64(format!("{USER}:{PASSWORD}").as_bytes());
        serde_json::json!({ "auths": { &self.address: { "auth": login } } }).to_string()
    }

    /// Pushes an image with skopeo: `source` as skopeo names it (`oci:DIR:TAG`), `name` without the address.
    /// `options` are further options of `skopeo copy`, such as `--format v2s2`.
    pub fn push(&self, source: &str, name: &str, options: &[&str]) -> Result<()> {
        let login = format!("{USER}:{PASSWORD}");
        let target = format!("docker://{}/{name}", self.address);
        let mut command = Command::new("skopeo");
        command.args(["--insecure-policy", "copy", "--quiet", "--dest-tls-verify=false"]).args(options);
        if self.secured {
            command.args(["--dest-creds", &login]);
        }
        program::run(command.args([source, &target])).map(drop)
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        // One that ended by itself is only to be waited for.
        let _ended = self.process.kill();
        let _reaped = self.process.wait();
    }
}

/// The command that serves `storage` in plain HTTP at `address` (host and port). Its configuration is written into the
/// directory `files`.
pub fn command(storage: &Path, address: &str, files: &Path) -> Result<Vec<String>> {
    command_with(storage, address, files, Security::None)
}

fn command_with(storage: &Path, address: &str, files: &Path, security: Security) -> Result<Vec<String>> {
    fs::create_dir_all(storage).with_context(|| format!("`{}` can't be made", storage.display()))?;
    // JSON is YAML.
    let mut configuration = serde_json::json!({
        "version": 0.1,
        "log": { "level": "info", "accesslog": { "disabled": true } },
        "storage": { "filesystem": { "rootdirectory": storage }, "delete": { "enabled": true } },
        "http": { "addr": address },
    });
    if security != Security::None {
        configuration["http"]["tls"] = serde_json::json!({
            "certificate": files.join("server.crt"), "key": files.join("server.key"),
        });
    }
    if security == Security::ClientCertificate {
        configuration["http"]["tls"]["clientcas"] = serde_json::json!([files.join("ca.crt")]);
    }
    if security == Security::Password {
        configuration["auth"] = serde_json::json!({
            "htpasswd": { "realm": "loam", "path": files.join("htpasswd") },
        });
    }
    let path = files.join("registry.yml");
    fs::write(&path, configuration.to_string())
        .with_context(|| format!("`{}` can't be written", path.display()))?;
    Ok(vec!["docker-registry".to_owned(), "serve".to_owned(), path.display().to_string()])
}

/// Reads the log up to the line that names the address, and then lets it flow away.
fn wait_until_ready(log: ChildStderr) -> Result<String> {
    let mut reader = BufReader::new(log);
    let mut said = String::new();
    loop {
        let start = said.len();
        if reader.read_line(&mut said)? == 0 {
            bail!("`docker-registry` ended: {}", said.trim());
        }
        let line = &said[start..];
        if let Some((_, rest)) = line.split_once(READY) {
            let address: String =
                rest.chars().take_while(|c| c.is_ascii_digit() || ".:".contains(*c)).collect();
            std::thread::spawn(move || std::io::copy(&mut reader, &mut std::io::sink()));
            return Ok(address);
        }
    }
}

fn temporary() -> TempDir {
    tempfile::Builder::new().prefix("loam-registry-").tempdir().expect("a temporary directory")
}

/// Makes an authority and a certificate for 127.0.0.1 and localhost.
fn make_certificates(directory: &Path) -> Result<()> {
    let path = |name: &str| directory.join(name).display().to_string();
    let (ca_key, ca, key, request) = (path("ca.key"), path("ca.crt"), path("server.key"), path("server.csr"));
    let (certificate, extensions) = (path("server.crt"), path("extensions"));
    fs::write(&extensions, "subjectAltName=IP:127.0.0.1,DNS:localhost\nbasicConstraints=CA:FALSE\n")?;
    let new_key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-batch"];
    let authority = [
        "req",
        "-x509",
        "-days",
        "3650",
        "-subj",
        "/CN=loam test authority",
        "-keyout",
        &ca_key,
        "-out",
        &ca,
    ];
    program::run(Command::new("openssl").args(authority).args(new_key))?;
    let server = ["req", "-subj", "/CN=127.0.0.1", "-keyout", &key, "-out", &request];
    program::run(Command::new("openssl").args(server).args(new_key))?;
    let sign =
        ["x509", "-req", "-days", "3650", "-in", &request, "-CA", &ca, "-CAkey", &ca_key, "-CAcreateserial"];
    program::run(Command::new("openssl").args(sign).args(["-extfile", &extensions, "-out", &certificate]))?;
    Ok(())
}

/// Base64 with padding (RFC 4648, section 4).
fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for group in bytes.chunks(3) {
        let padded = [group[0], *group.get(1).unwrap_or(&0), *group.get(2).unwrap_or(&0)];
        let number = u32::from_be_bytes([0, padded[0], padded[1], padded[2]]);
        for place in 0..4 {
            let index = (number >> (18 - 6 * place)) as usize & 63;
            text.push(if place > group.len() { '=' } else { char::from(ALPHABET[index]) });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_padded() {
        let encoded: Vec<String> = ["", "f", "fo", "foo", "foob"].map(|text| base64(text.as_bytes())).into();
        assert_eq!(encoded, ["", "Zg==", "Zm8=", "Zm9v", "Zm9vYg=="]);
    }

    #[test]
    fn both_kinds_of_registry_start_and_end() {
        let plain = Registry::plain();
        let secured = Registry::with_tls_and_password();
        for registry in [&plain, &secured] {
            std::net::TcpStream::connect(registry.address()).expect("it listens");
        }
        let (address, files) = (plain.address().to_owned(), plain.files.path().to_owned());
        drop(plain);
        assert!(std::net::TcpStream::connect(address).is_err(), "it listens no more");
        assert!(!files.exists(), "its files are gone");
    }
}
