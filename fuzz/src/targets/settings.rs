//! Files with settings and logins: `registries.conf`, `hosts.toml`, `auth.json`, `config.json`, `.dockercfg`.

use loam_registry::{Login, Reference, RegistryError, fuzzing};

use super::{seed, selected};
use crate::{Target, sentence};

/// The target. The first byte says what the rest is: a `registries.conf`, and behind a zero perhaps a `hosts.toml`; or a
/// file of logins, of one form or the other.
pub const TARGET: Target = Target { name: "settings", run, seeds, words: WORDS };

/// What no message may quote.
const SECRET: &str = "hunter2";

const WORDS: &[&str] = &[
    "unqualified-search-registries = [",
    "[[registry]]\n",
    "[[registry.mirror]]\n",
    "prefix = \"*.x\"\n",
    "location = \"h.x\"\n",
    "insecure = true\n",
    "blocked = true\n",
    "mirror-by-digest-only = true\n",
    "pull-from-mirror = \"tag-only\"\n",
    "[aliases]\n",
    "short-name = \"h.x/a/b\"\n",
    "server = \"https://h.x\"\n",
    "[host.\"http://m.x:5000/v2/sub\"]\n",
    "capabilities = [\"pull\", \"resolve\", \"push\"]\n",
    "override_path = true\n",
    "skip_verify = true\n",
    "ca = \"c.pem\"\n",
    "client = [[\"a\", \"b\"]]\n",
    "[header]\n",
    "\"auths\":{",
    "\"credHelpers\":{",
    "\"credsStore\":\"x\"",
    "\"auth\":\"dTpodW50ZXIy\"",
    "\"identitytoken\":\"hunter2\"",
    "\"username\":\"u\",\"password\":\"hunter2\"",
    "https://index.docker.io/v1/",
];

/// Names that are looked up.
const NAMES: [&str; 5] =
    ["debian", "short-name:1", "h.x/a/b:2", "sub.h.x:5000/a", "docker.io/library/debian"];

fn run(bytes: &[u8]) {
    let Some((how, rest)) = selected(bytes) else { return };
    match how % 3 {
        0 => registries(&String::from_utf8_lossy(rest)),
        1 => logins(rest, "auth.json"),
        _ => logins(rest, ".dockercfg"),
    }
}

fn registries(text: &str) {
    let (registries, hosts) =
        text.split_once('\0').map_or((text, None), |(first, second)| (first, Some(second)));
    for name in NAMES {
        match fuzzing::addresses(registries, hosts.map(|text| ("h.x", text)), name) {
            Ok(addresses) => {
                let http =
                    |address: &String| address.starts_with("http://") || address.starts_with("https://");
                assert!(addresses.iter().all(http), "{addresses:?}");
            }
            Err(error) => told(error),
        }
    }
}

fn logins(text: &[u8], file: &str) {
    for name in NAMES {
        let reference: Reference = name.parse().expect("a name");
        match fuzzing::credentials(text, file, &reference) {
            Ok(Some(login)) => {
                let (Login::Password { user, .. } | Login::Identity { user, .. }) = &login;
                let is_shown = format!("{login:?}").contains(SECRET) && !user.contains(SECRET);
                assert!(!is_shown, "{login:?}");
            }
            Ok(None) => {}
            Err(error) => {
                assert!(!format!("{error:?} {error}").contains(SECRET), "{error:?}");
                told(error);
            }
        }
    }
}

fn told(error: RegistryError) {
    sentence::check(&error.into_failure());
}

fn seeds() -> Vec<Vec<u8>> {
    let registries = r#"unqualified-search-registries = ["h.x", "docker.io"]
[[registry]]
prefix = "*.h.x"
location = "m.x:5000/sub"
insecure = true
[[registry.mirror]]
location = "one.x"
pull-from-mirror = "digest-only"
[[registry]]
location = "docker.io"
blocked = true
[aliases]
"short-name" = "h.x/a/b"
"#;
    let hosts = r#"server = "https://h.x"
[host."http://m.x:5000/v2/sub"]
capabilities = ["pull", "resolve"]
override_path = true
ca = ["c.pem"]
client = [["a.pem", "b.pem"], "c.pem"]
[host."http://m.x:5000/v2/sub".header]
x-secret = ["hunter2"]
[host."[::1]:5000"]
skip_verify = true
"#;
    let logins = r#"{"auths":{"h.x":{"auth":"dTpodW50ZXIy"},"https://index.docker.io/v1/":{"username":"u","password":"hunter2"},
        "h.x/a":{"identitytoken":"hunter2"}},"credHelpers":{"g.x":"pass"},"credsStore":"x"}"#;
    vec![
        seed(0, registries),
        seed(0, format!("\0{hosts}")),
        seed(0, format!("{registries}\0{hosts}")),
        seed(0, "[registries.search]\nregistries = [\"x\"]"),
        seed(0, "[[registry]]\nlocation = 5\n"),
        seed(1, logins),
        seed(1, "{\"auths\":{\"h.x\":{\"password\":hunter2}}}"),
        seed(1, " \n"),
        seed(2, "{\"h.x\":{\"auth\":\"dTpodW50ZXIy\"},\"https://index.docker.io/v1/\":{\"auth\":\"!\"}}"),
    ]
}
