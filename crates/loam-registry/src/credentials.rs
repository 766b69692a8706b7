//! Credentials from the files that other tools write: `auth.json` of Podman, Buildah and Skopeo
//! (containers-auth.json(5)), `config.json` of Docker, and the credential helpers that they name.

mod keep;

use std::collections::BTreeMap;
use std::env;
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use crate::error::RegistryError;
use crate::helper;
use crate::reference::{HUB, Reference};
use crate::secret::Secret;

pub use keep::{Keeper, forget_login, keep_login, login_key};

/// The longest credentials file that is read.
const LONGEST_FILE: u64 = 1024 * 1024;
/// What Docker calls Docker Hub in its files.
const HUB_KEY: &str = "https://index.docker.io/v1/";

/// What a registry, or its token service, is given. Its `Debug` shows no secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Login {
    /// A user name and a password.
    Password {
        /// The name.
        user: String,
        /// The password.
        password: Secret,
    },
    /// A token that the token service turns into others.
    Identity {
        /// The name that came with it, perhaps empty.
        user: String,
        /// The token.
        token: Secret,
    },
}

impl Login {
    /// The `Authorization` header that hands it over as it is.
    pub(crate) fn basic(&self) -> Option<reqwest::header::HeaderValue> {
        let (Login::Password { user, password: secret } | Login::Identity { user, token: secret }) = self;
        Secret::new(STANDARD.encode(format!("{user}:{}", secret.reveal()))).header("Basic")
    }
}

/// A credentials file.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct AuthFile {
    auths: BTreeMap<String, Entry>,
    cred_helpers: BTreeMap<String, String>,
    creds_store: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Entry {
    auth: Option<String>,
    identitytoken: Option<String>,
    username: Option<String>,
    password: Option<String>,
}

/// Finds the login for a repository: in this file, or in the first of the usual ones that has one.
pub(crate) async fn find(
    explicit: Option<&Path>,
    reference: &Reference,
) -> Result<Option<Login>, RegistryError> {
    let files = match explicit {
        Some(path) => vec![path.to_owned()],
        None => usual_files(&|name| env::var_os(name), rustix::process::geteuid().as_raw()),
    };
    for path in files {
        let Some(file) = read(&path, explicit.is_some())? else { continue };
        if let Some(login) = look_up(&file, &path, reference).await? {
            return Ok(Some(login));
        }
    }
    Ok(None)
}

/// The usual files, in the order in which they are looked at.
fn usual_files(variable: &dyn Fn(&str) -> Option<OsString>, user: u32) -> Vec<PathBuf> {
    let path = |name: &str| variable(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    if let Some(file) = path("REGISTRY_AUTH_FILE") {
        return vec![file];
    }
    let home = path("HOME");
    let below_home = |rest: &str| home.as_ref().map(|home| home.join(rest));
    let runtime = match path("XDG_RUNTIME_DIR") {
        Some(directory) => directory.join("containers/auth.json"),
        None => PathBuf::from(format!("/run/containers/{user}/auth.json")),
    };
    let config = path("XDG_CONFIG_HOME").or_else(|| below_home(".config"));
    let docker = path("DOCKER_CONFIG").or_else(|| below_home(".docker"));
    [
        Some(runtime),
        config.map(|directory| directory.join("containers/auth.json")),
        docker.map(|directory| directory.join("config.json")),
        below_home(".dockercfg"),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Reads a file; `None` when it is not there and need not be.
fn read(path: &Path, must_exist: bool) -> Result<Option<AuthFile>, RegistryError> {
    let bad = |source: crate::error::Cause| RegistryError::CredentialsFile { path: path.to_owned(), source };
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error)
            if !must_exist
                && matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) =>
        {
            return Ok(None);
        }
        Err(error) => return Err(bad(error.into())),
    };
    let mut text = Vec::new();
    file.take(LONGEST_FILE + 1).read_to_end(&mut text).map_err(|error| bad(error.into()))?;
    if text.len() as u64 > LONGEST_FILE {
        return Err(bad("it is longer than 1 MiB".into()));
    }
    parse(&text, path)
}

/// Reads the text of a file; `None` when there is nothing in it.
fn parse(text: &[u8], path: &Path) -> Result<Option<AuthFile>, RegistryError> {
    let bad = |source: crate::error::Cause| RegistryError::CredentialsFile { path: path.to_owned(), source };
    if text.iter().all(u8::is_ascii_whitespace) {
        return Ok(None);
    }
    if path.file_name().is_some_and(|name| name == ".dockercfg") {
        let auths = serde_json::from_slice(text).map_err(|error| bad(position(&error).into()))?;
        return Ok(Some(AuthFile { auths, ..AuthFile::default() }));
    }
    serde_json::from_slice(text).map(Some).map_err(|error| bad(position(&error).into()))
}

/// Where a file's JSON is wrong. The message of the parser might quote a secret.
fn position(error: &serde_json::Error) -> String {
    format!("it is not valid at line {}, column {}", error.line(), error.column())
}

/// The login for a repository in the text of a file, without a look at helpers.
#[cfg(feature = "fuzzing")]
pub(crate) fn in_text(
    text: &[u8],
    path: &Path,
    reference: &Reference,
) -> Result<Option<Login>, RegistryError> {
    let Some(file) = parse(text, path)? else { return Ok(None) };
    Ok(entry(&file.auths, reference).map(|entry| entry.login(path)).transpose()?.flatten())
}

async fn look_up(
    file: &AuthFile,
    path: &Path,
    reference: &Reference,
) -> Result<Option<Login>, RegistryError> {
    let keys = registry_keys(reference.domain());
    if let Some((key, name)) = keys.iter().find_map(|key| file.cred_helpers.get_key_value(*key)) {
        return helper::ask(name, key).await;
    }
    if let Some(login) = entry(&file.auths, reference).map(|entry| entry.login(path)).transpose()?.flatten() {
        return Ok(Some(login));
    }
    match &file.creds_store {
        Some(name) if !name.is_empty() => {
            let key = if reference.domain() == HUB { HUB_KEY } else { reference.domain() };
            helper::ask(name, key).await
        }
        _ => Ok(None),
    }
}

/// What a registry may be called as a whole.
fn registry_keys(domain: &str) -> Vec<&str> {
    if domain == HUB { vec![HUB, HUB_KEY, "index.docker.io", "registry-1.docker.io"] } else { vec![domain] }
}

/// The entry with the longest fitting name: the repository, the namespaces above it, then the registry, however it
/// is written.
fn entry<'a>(auths: &'a BTreeMap<String, Entry>, reference: &Reference) -> Option<&'a Entry> {
    let mut name = format!("{}/{}", reference.domain(), reference.path());
    while name.contains('/') {
        if let Some(entry) = auths.get(&name).filter(|entry| !entry.is_marker()) {
            return Some(entry);
        }
        name.truncate(name.rfind('/').unwrap_or(0));
    }
    let keys = registry_keys(reference.domain());
    let exact = keys.iter().find_map(|key| auths.get(*key));
    let found = exact.filter(|entry| !entry.is_marker());
    found.or_else(|| {
        let mut usable = auths.iter().filter(|(_, entry)| !entry.is_marker());
        usable.find(|(key, _)| keys.contains(&host_of_key(key))).map(|(_, entry)| entry)
    })
}

/// The host of a key that was written as a URL, as Docker did: `https://host/v1/`.
fn host_of_key(key: &str) -> &str {
    let rest = key.strip_prefix("https://").or_else(|| key.strip_prefix("http://"));
    match rest {
        Some(rest) => rest.split('/').next().unwrap_or_default(),
        None => key.strip_suffix("/v1/").or_else(|| key.strip_suffix("/v2/")).unwrap_or(key),
    }
}

impl Entry {
    /// Whether it holds nothing, as Docker writes it beside a credential store.
    fn is_marker(&self) -> bool {
        let empty = |field: &Option<String>| field.as_deref().unwrap_or_default().is_empty();
        empty(&self.auth) && empty(&self.identitytoken) && empty(&self.username)
    }

    fn login(&self, path: &Path) -> Result<Option<Login>, RegistryError> {
        let bad = || RegistryError::CredentialsFile {
            path: path.to_owned(),
            source: "an `auth` in it is not `user:password` in base64".into(),
        };
        let (user, password) = match self.auth.as_deref().filter(|auth| !auth.is_empty()) {
            Some(auth) => {
                let decoded = STANDARD.decode(auth.trim()).map_err(|_| bad())?;
                let text = String::from_utf8(decoded).map_err(|_| bad())?;
                let (user, password) = text.split_once(':').ok_or_else(bad)?;
                (user.to_owned(), password.trim_matches('\0').to_owned())
            }
            None => (self.username.clone().unwrap_or_default(), self.password.clone().unwrap_or_default()),
        };
        if let Some(token) = self.identitytoken.as_deref().filter(|token| !token.is_empty()) {
            return Ok(Some(Login::Identity { user, token: Secret::new(token) }));
        }
        Ok((!user.is_empty()).then(|| Login::Password { user, password: Secret::new(password) }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(file: &str, reference: &str) -> Option<(String, String)> {
        let file: AuthFile = serde_json::from_str(file).expect("valid JSON");
        let reference: Reference = reference.parse().expect("valid reference");
        let login = entry(&file.auths, &reference)?.login(Path::new("f")).expect("valid entry")?;
        match login {
            Login::Password { user, password } => Some((user, password.reveal().to_owned())),
            Login::Identity { user, token } => Some((user, format!("token {}", token.reveal()))),
        }
    }

    fn auth(text: &str) -> String {
        format!(r#"{{"auth":"{}"}}"#, STANDARD.encode(text))
    }

    #[test]
    fn the_longest_name_wins() {
        let file = format!(
            r#"{{"auths":{{"h.x":{},"h.x/a":{},"h.x/a/b":{}}}}}"#,
            auth("host:1"),
            auth("space:2"),
            auth("repo:3:\0")
        );
        let user = |reference| found(&file, reference).map(|(user, _)| user);
        assert_eq!(user("h.x/a/b").as_deref(), Some("repo"));
        assert_eq!(user("h.x/a/c/d").as_deref(), Some("space"));
        assert_eq!(user("h.x/ab").as_deref(), Some("host"));
        assert_eq!(user("other.x/a"), None);
        assert_eq!(found(&file, "h.x/a/b"), Some(("repo".to_owned(), "3:".to_owned())));
    }

    #[test]
    fn old_spellings_of_the_registry_are_found() {
        for key in
            ["https://index.docker.io/v1/", "docker.io", "index.docker.io", "https://registry-1.docker.io"]
        {
            let file = format!(r#"{{"auths":{{"{key}":{}}}}}"#, auth("u:p"));
            assert!(found(&file, "debian").is_some(), "{key}");
            assert!(found(&file, "h.x/debian").is_none(), "{key}");
        }
        for key in ["https://h.x:5000/v1/", "http://h.x:5000", "h.x:5000/v2/", "h.x:5000"] {
            let file = format!(r#"{{"auths":{{"{key}":{}}}}}"#, auth("u:p"));
            assert!(found(&file, "h.x:5000/debian").is_some(), "{key}");
            assert!(found(&file, "h.x/debian").is_none(), "{key}");
        }
    }

    #[test]
    fn markers_are_no_entries_and_tokens_win() {
        assert_eq!(found(r#"{"auths":{"h.x":{}},"credsStore":"x"}"#, "h.x/a"), None);
        let file = r#"{"auths":{"h.x":{"username":"u","password":"p","identitytoken":"t"}}}"#;
        assert_eq!(found(file, "h.x/a"), Some(("u".to_owned(), "token t".to_owned())));
        let plain = r#"{"auths":{"h.x":{"username":"u","password":"p"}}}"#;
        assert_eq!(found(plain, "h.x/a"), Some(("u".to_owned(), "p".to_owned())));
    }

    #[test]
    fn files_are_looked_at_in_the_usual_order() {
        let with = |pairs: &'static [(&str, &str)]| {
            move |name: &str| {
                pairs.iter().find(|(key, _)| *key == name).map(|(_, value)| OsString::from(value))
            }
        };
        let shown =
            |files: Vec<PathBuf>| files.iter().map(|path| path.display().to_string()).collect::<Vec<_>>();
        assert_eq!(
            shown(usual_files(&with(&[("HOME", "/h")]), 0)),
            [
                "/run/containers/0/auth.json",
                "/h/.config/containers/auth.json",
                "/h/.docker/config.json",
                "/h/.dockercfg"
            ]
        );
        let all = with(&[("XDG_RUNTIME_DIR", "/r"), ("XDG_CONFIG_HOME", "/c"), ("DOCKER_CONFIG", "/d")]);
        assert_eq!(
            shown(usual_files(&all, 7)),
            ["/r/containers/auth.json", "/c/containers/auth.json", "/d/config.json"]
        );
        assert_eq!(shown(usual_files(&with(&[("REGISTRY_AUTH_FILE", "/f"), ("HOME", "/h")]), 0)), ["/f"]);
    }

    #[test]
    fn a_broken_file_is_named_without_its_contents() {
        let directory = tempfile::tempdir().expect("temporary directory");
        let path = directory.path().join("auth.json");
        std::fs::write(&path, r#"{"auths":{"h.x":{"password":hunter2}}}"#).expect("written");
        let Err(error) = read(&path, true) else { panic!("the file is broken") };
        let text = error.into_failure().chain();
        assert!(text.contains("it is not valid at line 1") && !text.contains("hunter2"), "{text}");
        assert!(read(&directory.path().join("none"), false).is_ok_and(|file| file.is_none()));
        assert!(read(&directory.path().join("none"), true).is_err());
    }
}
