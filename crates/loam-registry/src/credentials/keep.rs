//! Keeping logins, and forgetting them: in the file that Podman, Buildah and Skopeo write too (containers-auth.json(5)), or
//! with the credential helper that the file names for the registry.
//!
//! The file is replaced as a whole, so that it is never half written; it is for its owner's eyes only. Who changes it
//! holds the flock(2) of its directory. What is in it besides is kept.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustix::fs::FlockOperation;
use serde_json::{Map, Value};

use super::{AuthFile, HUB_KEY, host_of_key, read, registry_keys, usual_files};
use crate::error::{Cause, RegistryError};
use crate::helper;
use crate::reference::{HUB, Reference};
use crate::secret::Secret;

/// Where a login is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Keeper {
    /// In this file, in base64, which hides it from nobody who can read the file.
    File(PathBuf),
    /// With this credential helper.
    Helper(String),
}

/// A registry, or a part of one, as logins are kept for it: `host[:port][/path]`. A person may write it as a URL.
pub fn login_key(text: &str) -> Result<String, RegistryError> {
    let place = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://")).unwrap_or(text);
    let place = place.strip_suffix('/').unwrap_or(place);
    let place = if place == "index.docker.io" || place == "index.docker.io/v1" { HUB } else { place };
    match Reference::in_registry(&format!("{place}/x")) {
        Some(_) => Ok(place.to_owned()),
        None => Err(RegistryError::NoRegistryName { text: text.to_owned() }),
    }
}

/// Keeps a login for a key, in this file or the first of the usual ones.
pub async fn keep_login(
    file: Option<&Path>,
    key: &str,
    user: &str,
    password: &Secret,
) -> Result<Keeper, RegistryError> {
    let path = target(file)?;
    let held = Held::take(&path)?;
    let known = read(&path, false)?.unwrap_or_default();
    if let Some(name) = helper_for(&known, key) {
        helper::store(&name, server_name(key), user, password).await?;
        // As Docker marks it, so that others see that there is a login.
        held.change(|auths| drop(auths.insert(key.to_owned(), Value::Object(Map::new()))))?;
        return Ok(Keeper::Helper(name));
    }
    let auth = STANDARD.encode(format!("{user}:{}", password.reveal()));
    held.change(|auths| {
        forget(auths, key);
        auths.insert(key.to_owned(), serde_json::json!({ "auth": auth }));
    })?;
    Ok(Keeper::File(path))
}

/// Forgets the login for a key; false when there was none.
pub async fn forget_login(file: Option<&Path>, key: &str) -> Result<bool, RegistryError> {
    let path = target(file)?;
    let Some(known) = read(&path, false)? else { return Ok(false) };
    let held = Held::take(&path)?;
    let mut had = false;
    if let Some(name) = helper_for(&known, key) {
        had = helper::ask(&name, server_name(key)).await?.is_some();
        if had {
            helper::erase(&name, server_name(key)).await?;
        }
    }
    held.change(|auths| had |= forget(auths, key))?;
    Ok(had)
}

/// The file that is written.
fn target(file: Option<&Path>) -> Result<PathBuf, RegistryError> {
    let usual = || {
        let user = rustix::process::geteuid().as_raw();
        usual_files(&|name| std::env::var_os(name), user).into_iter().next()
    };
    let path = file.map(Path::to_owned).or_else(usual).unwrap_or_default();
    // A link to the file stays one.
    let target = match fs::read_link(&path) {
        Ok(link) => path.parent().unwrap_or(Path::new("")).join(link),
        Err(_) => path,
    };
    match target.file_name() {
        Some(_) => Ok(target),
        None => Err(RegistryError::CredentialsFile { path: target, source: "it is no file".into() }),
    }
}

fn helper_for(file: &AuthFile, key: &str) -> Option<String> {
    let own = registry_keys(key).into_iter().find_map(|key| file.cred_helpers.get(key));
    let store = file.creds_store.as_ref().filter(|name| !name.is_empty());
    own.or(store).cloned()
}

/// What helpers call a registry.
fn server_name(key: &str) -> &str {
    if key == HUB { HUB_KEY } else { key }
}

/// Takes all entries out that are for the key, however it is written.
fn forget(auths: &mut Map<String, Value>, key: &str) -> bool {
    let names = registry_keys(key);
    let before = auths.len();
    auths.retain(|known, _| !names.contains(&known.as_str()) && !names.contains(&host_of_key(known)));
    auths.len() < before
}

/// A credentials file that nobody else changes.
struct Held<'a> {
    path: &'a Path,
    /// Open and locked.
    _directory: File,
}

impl<'a> Held<'a> {
    fn take(path: &'a Path) -> Result<Self, RegistryError> {
        let directory = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        let bad = |error: io::Error| bad(path, error.into());
        fs::DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(bad)?;
        let opened = File::open(directory).map_err(bad)?;
        rustix::fs::flock(&opened, FlockOperation::LockExclusive).map_err(|errno| bad(errno.into()))?;
        Ok(Self { path, _directory: opened })
    }

    /// Changes the logins in the file.
    fn change(&self, change: impl FnOnce(&mut Map<String, Value>)) -> Result<(), RegistryError> {
        let mut document = match fs::read(self.path) {
            Ok(text) if text.iter().all(u8::is_ascii_whitespace) => Value::Object(Map::new()),
            Ok(text) => serde_json::from_slice(&text)
                .map_err(|error| bad(self.path, super::position(&error).into()))?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Value::Object(Map::new()),
            Err(error) => return Err(bad(self.path, error.into())),
        };
        let auths = document
            .as_object_mut()
            .map(|document| document.entry("auths").or_insert_with(|| Value::Object(Map::new())));
        let Some(Value::Object(auths)) = auths else {
            return Err(bad(self.path, "it holds no object of logins".into()));
        };
        change(auths);
        self.write(&document).map_err(|error| bad(self.path, error.into()))
    }

    fn write(&self, document: &Value) -> io::Result<()> {
        let mut name = self.path.file_name().unwrap_or_default().to_owned();
        name.push(format!(".{}", std::process::id()));
        let temporary = self.path.with_file_name(name);
        let text = serde_json::to_string_pretty(document)? + "\n";
        let written = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&temporary)
            .and_then(|mut file| file.write_all(text.as_bytes()).and_then(|()| file.sync_all()))
            .and_then(|()| fs::rename(&temporary, self.path));
        if written.is_err() {
            // It holds a secret, as far as it got.
            fs::remove_file(&temporary).ok();
        }
        written
    }
}

fn bad(path: &Path, source: Cause) -> RegistryError {
    RegistryError::CredentialsFile { path: path.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt, symlink};

    use super::*;

    fn run<T>(future: impl Future<Output = T>) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(future)
    }

    fn keep(path: &Path, key: &str, user: &str) -> Result<Keeper, RegistryError> {
        run(keep_login(Some(path), key, user, &Secret::new("p:w")))
    }

    fn json(path: &Path) -> Value {
        serde_json::from_slice(&fs::read(path).expect("reads")).expect("JSON")
    }

    #[test]
    fn a_login_is_kept_for_its_owner_alone_and_beside_what_there_is() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("deep/auth.json");
        assert_eq!(keep(&path, "h.x", "one").expect("kept"), Keeper::File(path.clone()));
        assert_eq!(fs::metadata(&path).expect("there").mode() & 0o7777, 0o600);
        assert_eq!(json(&path)["auths"]["h.x"]["auth"], STANDARD.encode("one:p:w"));
        fs::write(
            &path,
            r#"{"auths":{"https://h.x/v1/":{"auth":"b2xk"},"g.x":{"auth":"bw=="}},"other":[1]}"#,
        )
        .expect("written");
        keep(&path, "h.x", "two").expect("kept");
        let expected = serde_json::json!({
            "auths": { "g.x": { "auth": "bw==" }, "h.x": { "auth": STANDARD.encode("two:p:w") } }, "other": [1],
        });
        assert_eq!(json(&path), expected);
        assert!(run(forget_login(Some(&path), "h.x")).expect("forgotten"));
        assert!(!run(forget_login(Some(&path), "h.x")).expect("nothing to forget"));
        assert_eq!(json(&path)["auths"], serde_json::json!({ "g.x": { "auth": "bw==" } }));
        let names: Vec<_> = fs::read_dir(path.parent().expect("a directory")).expect("reads").collect();
        assert_eq!(names.len(), 1, "no temporary file stays: {names:?}");
    }

    #[test]
    fn a_link_to_the_file_stays_a_link() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let (link, file) = (directory.path().join("auth.json"), directory.path().join("real.json"));
        symlink("real.json", &link).expect("a link");
        keep(&link, "h.x", "u").expect("kept");
        assert!(fs::symlink_metadata(&link).expect("there").is_symlink());
        assert!(json(&file)["auths"]["h.x"].is_object());
    }

    #[test]
    fn a_broken_file_is_left_as_it_is() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("auth.json");
        for text in ["{\"auths\":", "[]", "{\"auths\":[]}"] {
            fs::write(&path, text).expect("written");
            let told = keep(&path, "h.x", "u").expect_err("refused").into_failure().chain();
            assert!(told.contains("auth.json` can't be used: "), "{told}");
            assert_eq!(fs::read_to_string(&path).expect("reads"), text);
        }
    }

    #[test]
    fn keys_are_registries_or_parts_of_them() {
        let key = |text: &str| login_key(text).map_err(|error| error.to_string());
        assert_eq!(key("https://h.x:5000/"), Ok("h.x:5000".to_owned()));
        assert_eq!(key("h.x/team"), Ok("h.x/team".to_owned()));
        assert_eq!(key("https://index.docker.io/v1/"), Ok("docker.io".to_owned()));
        assert_eq!(key("localhost"), Ok("localhost".to_owned()));
        for bad in ["", "word", "h.x/UPPER", "h x", "ftp://h.x"] {
            assert_eq!(key(bad), Err(format!("`{bad}` is not a registry")), "{bad}");
        }
    }
}
