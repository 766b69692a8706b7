//! What the files say, and who is asked because of it.

use std::fs;
use std::path::Path;

use super::*;
use crate::home::Scheme;

/// Settings of these files, by their paths below a directory.
fn settings(files: &[(&str, &str)]) -> (tempfile::TempDir, Result<Settings, RegistryError>) {
    let directory = tempfile::tempdir().expect("temporary directory");
    for (path, text) in files {
        let path = directory.path().join(path);
        fs::create_dir_all(path.parent().expect("below the directory")).expect("made");
        fs::write(path, text).expect("written");
    }
    let at = |name: &str| directory.path().join(name);
    let places = SettingsFiles {
        registries: vec![at("own.conf"), at("registries.conf")],
        drop_ins: vec![at("registries.conf.d"), at("own.d")],
        hosts: vec![at("certs.d")],
    };
    let settings = Settings::read(&places);
    (directory, settings)
}

fn of(text: &str) -> Settings {
    settings(&[("registries.conf", text)]).1.expect("valid")
}

/// `scheme://host/base repository [options]` of all who are asked.
fn asked(settings: &Settings, name: &str, need: Need) -> Vec<String> {
    let reference: Reference = name.parse().expect("a reference");
    let places = settings.endpoints(&reference, need, false).expect("somebody to ask");
    let shown = places.iter().map(|place| {
        let url = place.url(place.home.scheme().unwrap_or(Scheme::Https), "x").expect("a URL");
        let insecure =
            if place.home.scheme().is_none() && place.home.allows_plain() { " insecure" } else { "" };
        format!("{url}{insecure}")
    });
    shown.collect()
}

fn refused(files: &[(&str, &str)]) -> String {
    let (directory, settings) = settings(files);
    let text = settings.expect_err("refused").into_failure().chain();
    text.replace(&directory.path().display().to_string(), "DIR")
}

#[test]
fn mirrors_come_first_and_only_where_they_are_for() {
    let settings = of(r#"
        [[registry]]
        prefix = "docker.io"
        location = "hub.example/cache"
        [[registry.mirror]]
        location = "one.example:5000/hub"
        insecure = true
        [[registry.mirror]]
        location = "two.example"
        pull-from-mirror = "digest-only"
        [[registry.mirror]]
        location = "three.example"
        pull-from-mirror = "tag-only"
        "#);
    let digest = format!("debian@sha256:{}", "0".repeat(64));
    assert_eq!(
        asked(&settings, "debian", Need::Resolve),
        [
            "https://one.example:5000/v2/hub/library/debian/x insecure",
            "https://three.example/v2/library/debian/x",
            "https://hub.example/v2/cache/library/debian/x"
        ]
    );
    assert_eq!(asked(&settings, &digest, Need::Pull)[1], "https://two.example/v2/library/debian/x");
    assert_eq!(asked(&settings, "debian", Need::Push), ["https://hub.example/v2/cache/library/debian/x"]);
    assert_eq!(asked(&settings, "quay.io/a/b", Need::Pull), ["https://quay.io/v2/a/b/x"]);
}

#[test]
fn the_longest_prefix_wins_and_ends_at_a_slash() {
    let settings = of(r#"
        [[registry]]
        location = "h.example"
        [[registry]]
        prefix = "h.example/team"
        location = "team.example"
        [[registry]]
        prefix = "*.wild.example"
        location = "tame.example/w"
        [[registry]]
        prefix = "*.plain.example"
        insecure = true
        "#);
    let one = |name| asked(&settings, name, Need::Pull).remove(0);
    assert_eq!(one("h.example/a/b"), "https://h.example/v2/a/b/x");
    assert_eq!(one("h.example/team/b"), "https://team.example/v2/b/x");
    assert_eq!(one("h.example/teams/b"), "https://h.example/v2/teams/b/x");
    assert_eq!(one("a.b.wild.example/c"), "https://tame.example/v2/w/c/x");
    assert_eq!(one("wild.example/c"), "https://wild.example/v2/c/x");
    assert_eq!(one("a.plain.example/c"), "https://a.plain.example/v2/c/x insecure");
}

#[test]
fn a_blocked_registry_is_named_with_the_file_that_blocks_it() {
    let (directory, settings) = settings(&[
        ("registries.conf", "[[registry]]\nlocation = \"h.example\"\n"),
        ("registries.conf.d/50-block.conf", "[[registry]]\nprefix = \"h.example\"\nblocked = true\n"),
    ]);
    let reference: Reference = "h.example/a".parse().expect("a reference");
    let error = settings.expect("valid").endpoints(&reference, Need::Pull, true).expect_err("blocked");
    let file = directory.path().join("registries.conf.d/50-block.conf");
    let expected =
        format!("`h.example/a` is blocked: `{}` has `blocked = true` for `h.example`", file.display());
    assert_eq!(error.into_failure().chain(), expected);
}

#[test]
fn the_persons_own_file_replaces_the_machines_and_drop_ins_add() {
    let (_directory, settings) = settings(&[
        ("own.conf", "[[registry]]\nlocation = \"a.example\"\ninsecure = true\n"),
        ("registries.conf", "this is not even TOML"),
        (
            "registries.conf.d/1.conf",
            "[aliases]\n\"tool\" = \"a.example/first\"\n\"gone\" = \"a.example/g\"\n",
        ),
        ("own.d/1.conf", "[aliases]\n\"tool\" = \"a.example/second\"\n\"gone\" = \"\"\n"),
        ("own.d/readme.txt", "not read"),
    ]);
    let settings = settings.expect("valid");
    assert_eq!(asked(&settings, "a.example/x", Need::Pull), ["https://a.example/v2/x/x insecure"]);
    let meant = |text| settings.meaning(text).expect("one image").canonical();
    assert_eq!(meant("tool:1"), "a.example/second:1");
    assert_eq!(meant("gone"), "docker.io/library/gone:latest");
}

#[test]
fn short_names_are_of_the_one_registry_that_is_searched() {
    let settings = of("unqualified-search-registries = [\"quay.io\"]\n");
    let meant = |text| settings.meaning(text).expect("one image").canonical();
    assert_eq!(meant("a/b:c"), "quay.io/a/b:c");
    assert_eq!(meant("docker.io/a"), "docker.io/library/a:latest");
    let hub = of("unqualified-search-registries = [\"docker.io\"]\n");
    assert_eq!(hub.meaning("a").expect("one image").canonical(), "docker.io/library/a:latest");
    let two = of("unqualified-search-registries = [\"quay.io\", \"docker.io\"]\n");
    let failure = two.meaning("a").expect_err("ambiguous").into_failure();
    assert!(failure.chain().starts_with("`a` may be of several registries, which `"), "{}", failure.chain());
    let hint = "write one of quay.io/a:latest, docker.io/library/a:latest";
    assert_eq!(failure.hint_text(), Some(hint));
}

#[test]
fn hosts_are_asked_as_they_stand_for_what_they_can() {
    let toml = r#"
        server = "https://registry-1.docker.io"
        [host."https://z.example/mirror"]
        capabilities = ["pull"]
        [host."http://a.example:5000/v2/proxy"]
        capabilities = ["pull", "resolve"]
        override_path = true
        [host."https://p.example"]
        capabilities = ["push"]
        skip_verify = true
    "#;
    let (_directory, settings) = settings(&[("certs.d/docker.io/hosts.toml", toml)]);
    let settings = settings.expect("valid");
    let hub = "https://registry-1.docker.io/v2/library/debian/x";
    assert_eq!(
        asked(&settings, "debian", Need::Pull),
        [
            "https://z.example/mirror/v2/library/debian/x?ns=docker.io",
            "http://a.example:5000/v2/proxy/library/debian/x?ns=docker.io",
            hub
        ]
    );
    assert_eq!(asked(&settings, "debian", Need::Resolve).len(), 2);
    assert_eq!(
        asked(&settings, "debian", Need::Push),
        ["https://p.example/v2/library/debian/x?ns=docker.io", hub]
    );
}

#[test]
fn a_default_holds_for_registries_without_a_directory() {
    let (_directory, settings) = settings(&[
        ("certs.d/_default/hosts.toml", "[host.\"https://m.example\"]\n"),
        ("certs.d/own.example_5000_/hosts.toml", "server = \"https://elsewhere.example\"\n"),
    ]);
    let settings = settings.expect("valid");
    assert_eq!(
        asked(&settings, "any.example/a", Need::Pull),
        ["https://m.example/v2/a/x?ns=any.example", "https://any.example/v2/a/x"]
    );
    let own = asked(&settings, "own.example:5000/a", Need::Pull);
    assert_eq!(own, ["https://elsewhere.example/v2/a/x?ns=own.example%3A5000"]);
}

#[test]
fn certificates_are_looked_for_beside_the_file() {
    let toml = "ca = \"ca.pem\"\nclient = [[\"c.pem\", \"/k.pem\"]]\n[host.\"https://m.example\"]\nca = [\"a\", \"b\"]\nclient = \"both\"\n";
    let (directory, settings) = settings(&[("certs.d/h.example/hosts.toml", toml)]);
    let reference: Reference = "h.example/a".parse().expect("a reference");
    let places = settings.expect("valid").endpoints(&reference, Need::Pull, false).expect("two");
    let beside = |name: &str| directory.path().join("certs.d/h.example").join(name);
    let files = |place: usize, url: &str| places[place].home.files(&url.parse().expect("a URL"));
    let mirror = files(0, "https://m.example/v2/");
    assert_eq!(mirror.authorities, [beside("a"), beside("b")]);
    assert_eq!(mirror.identities, [(beside("both"), beside("both"))]);
    let server = files(1, "https://h.example/v2/");
    assert_eq!(server.identities, [(beside("c.pem"), Path::new("/k.pem").to_owned())]);
    assert_eq!(files(1, "https://token.example/"), crate::tls::TlsFiles::default());
}

#[test]
fn mistakes_are_named_with_file_and_key_and_without_values_of_headers() {
    let registries = |text: &str| refused(&[("registries.conf", text)]);
    for (text, sentence) in [
        ("[[registry]]\ninsecure = true\n", "a `[[registry]]` has neither `prefix` nor `location`"),
        ("[[registry]]\nlocation = \"https://x\"\n", "`location` is `https://x`, not host[:port][/path]"),
        (
            "[[registry]]\nlocation = \"h.x\"\ninsecure = \"yes\"\n",
            "line 3, `insecure`: invalid type: string \"yes\", expected a boolean",
        ),
        (
            "[[registry]]\nlocation = \"h.x\"\n[[registry.mirror]]\ninsecure = true\n",
            "a `[[registry.mirror]]` has no `location`",
        ),
        (
            "[[registry]]\nlocation = \"h.x\"\n[[registry.mirror]]\nlocation = \"m.x\"\npull-from-mirror = \"never\"\n",
            "`pull-from-mirror` is `never`, not all, digest-only or tag-only",
        ),
        (
            "[registries.search]\nregistries = ['h.x']\n",
            "`registries`: the file is in the old version 1 of its format",
        ),
        ("[aliases]\n\"a\" = \"b\"\n", "`aliases.a` is not host[:port]/path without tag and digest"),
        ("[aliases]\n\"a\" = \"h.x/b:1\"\n", "`aliases.a` is not host[:port]/path without tag and digest"),
        (
            "unqualified-search-registries = [\"a b\"]\n",
            "`unqualified-search-registries` is `a b`, not host[:port][/path]",
        ),
        ("[[registry]\n", "line 1:"),
    ] {
        let told = registries(text);
        let begin = "the settings file `DIR/registries.conf` can't be used: ";
        assert!(told.starts_with(begin) && told.contains(sentence), "{text}: {told}");
    }
    let hosts = |text: &str| {
        let (_directory, settings) = settings(&[("certs.d/h.x/hosts.toml", text)]);
        let reference: Reference = "h.x/a".parse().expect("a reference");
        let told = settings.expect("not read yet").endpoints(&reference, Need::Pull, false);
        told.expect_err("refused").into_failure().chain()
    };
    for (text, sentence) in [
        ("server = \"ftp://x\"\n", "`server` is `ftp://x`, which is neither http nor https"),
        ("[host.\"https://u:p@x\"]\n", "which has more than host, port and path"),
        ("capabilities = [\"fly\"]\n", "`capabilities` holds `fly`, not pull, resolve or push"),
        ("[header]\n\"a b\" = \"secret\"\n", "`header.a b` can't be sent"),
        ("[header]\nx = 5\n", "a text or a list of texts"),
        ("capabilities = [\"push\"]\n", "no host may be asked for this in `h.x`"),
    ] {
        let told = hosts(text);
        assert!(told.contains(sentence) && !told.contains("secret"), "{text}: {told}");
    }
}

#[test]
fn files_are_where_podman_has_them() {
    let places = |pairs: &'static [(&str, &str)]| {
        SettingsFiles::of_environment(&|name| {
            pairs.iter().find(|(key, _)| *key == name).map(|(_, value)| OsString::from(value))
        })
    };
    let home = places(&[("HOME", "/h")]);
    assert_eq!(home.registries[0], Path::new("/h/.config/containers/registries.conf"));
    assert_eq!(home.registries[1], Path::new("/etc/containers/registries.conf"));
    assert_eq!(home.hosts.len(), 4);
    let named = places(&[("CONTAINERS_REGISTRIES_CONF", "/f"), ("XDG_CONFIG_HOME", "/c")]);
    assert_eq!(named.registries, [Path::new("/f")]);
    assert_eq!(named.drop_ins[1], Path::new("/c/containers/registries.conf.d"));
}

#[test]
fn the_credentials_are_those_of_the_mirrors_own_host() {
    let settings =
        of("[[registry]]\nprefix = \"docker.io\"\n[[registry.mirror]]\nlocation = \"m.example/hub\"\n");
    let reference: Reference = "debian".parse().expect("a reference");
    let places = settings.endpoints(&reference, Need::Pull, false).expect("two");
    assert_eq!(places[0].reference.name(), "m.example/hub/library/debian");
    assert_eq!(places[1].reference.name(), "docker.io/library/debian");
}
