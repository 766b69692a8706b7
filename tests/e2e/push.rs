//! Into a registry: push, tags, removal, logins; others read what was pushed.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;

use loam_testkit::registry::Registry;
use loam_tests::{Host, Need, Ran, needs};

/// A home with the registry's authority in it, and where the login is kept.
struct Home {
    home: String,
    authfile: String,
}

impl Home {
    fn new(host: &Host, registry: &Registry) -> Self {
        let home = host.scratch().join("home");
        let certificates = home.join(".config/containers/certs.d").join(registry.address());
        fs::create_dir_all(&certificates).unwrap();
        if registry.authority().exists() {
            fs::copy(registry.authority(), certificates.join("ca.crt")).unwrap();
        }
        let authfile = home.join("auth.json").display().to_string();
        Self { home: home.display().to_string(), authfile }
    }

    fn loam(&self, host: &Host, arguments: &[&str], input: &str) -> Ran {
        let variables = [("HOME", self.home.as_str()), ("REGISTRY_AUTH_FILE", self.authfile.as_str())];
        host.loam_outside_with(&variables, arguments, input)
    }
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

#[test]
fn a_login_is_kept_when_the_registry_takes_it_and_push_uses_it() {
    if !needs::met(&[Need::NativeProcessor]) {
        return;
    }
    let host = Host::with_small_image();
    let registry = Registry::with_tls_and_password();
    let (address, home) = (registry.address(), Home::new(&host, &registry));
    let name = format!("{address}/team/small:1");
    let login = ["login", "--username", "somebody", "--password-stdin", address];
    let variables = [("HOME", home.home.as_str())];
    host.loam_outside_with(&variables, &["push", "--quiet", "small", &name], "").refused(125, "no access");
    home.loam(&host, &login, "wrong\n").refused(125, address);
    assert!(!Path::new(&home.authfile).exists(), "a login that is not taken is not kept");
    let ran = home.loam(&host, &login, &format!("{}\n", registry.password()));
    ran.ok();
    assert!(!format!("{ran:?}").contains(registry.password()), "{ran:?}");
    assert_eq!(fs::metadata(&home.authfile).unwrap().mode() & 0o777, 0o600);

    let digest = home.loam(&host, &["push", "--quiet", "small", &name], "").ok().to_owned();
    let certificates = format!("{}/.config/containers/certs.d/{address}", home.home);
    let skopeo = format!(
        "skopeo inspect --authfile {} --cert-dir {certificates} --format '{{{{.Digest}}}}' docker://{name}",
        home.authfile
    );
    assert_eq!(outside(&skopeo), digest, "skopeo reads the login and the image");

    // Podman has the same files.
    let podman = format!(
        "podman --root {0}/podman --runroot {0}/podman-run --storage-driver vfs",
        text(&host.scratch())
    );
    outside(&format!("{podman} pull -q --authfile {} --cert-dir {certificates} {name}", home.authfile));
    let mounted = outside(&format!("{podman} image mount {name}"));
    let layout = text(&loam_testkit::images::small());
    let bundle = text(&host.scratch().join("bundle"));
    outside(&format!("umoci unpack --image {layout}:latest {bundle}"));
    outside(&format!("diff -r --no-dereference {bundle}/rootfs {mounted}"));
    let list = |tree: &str| {
        outside(&format!("cd {tree} && find . -mindepth 1 -printf '%p %y %m %U:%G %T@ %l\\n' | sort"))
    };
    assert_eq!(list(&format!("{bundle}/rootfs")), list(&mounted));
    outside(&format!("{podman} image unmount {name} && {podman} rmi {name}"));

    home.loam(&host, &["logout", address], "").ok();
    home.loam(&host, &["logout", address], "").refused(125, address);
    home.loam(&host, &["push", "--quiet", "small", &name], "").refused(125, "no access");
    host.finish();
}

/// Runs a shell command line on the machine, where the registries are.
#[track_caller]
fn outside(line: &str) -> String {
    loam_testkit::program::words("sh", &["-c", line]).unwrap().trim_end().to_owned()
}

#[test]
fn tags_are_listed_and_images_deleted_with_all_their_tags() {
    if !needs::met(&[Need::NativeProcessor]) {
        return;
    }
    let host = Host::with_small_image();
    let registry = Registry::plain();
    let name = |rest: &str| format!("{}/some/small{rest}", registry.address());
    for tag in [":b", ":a", ":c"] {
        host.loam_outside(&["push", "--quiet", "small", &name(tag)]).ok();
    }
    assert_eq!(host.loam_outside(&["image", "tags", &name("")]).ok(), "a\nb\nc");
    let listed = host.loam_outside(&["image", "tags", "--output", "json", &name("")]);
    assert_eq!(listed.ok().split_whitespace().collect::<String>(), "[\"a\",\"b\",\"c\"]");
    host.loam_outside(&["image", "delete", "small"]).refused(125, "`small` names no registry");
    let deleted = host.loam_outside(&["image", "delete", &name(":a")]);
    assert!(deleted.ok().starts_with("deleted sha256:"), "{deleted:?}");
    host.loam_outside(&["pull", "--quiet", &name(":b")]).refused(125, &name(":b"));
    host.loam_outside(&["image", "delete", &name(":a")]).refused(125, &name(":a"));
    host.loam_outside(&["image", "tags", &format!("{}/nothing", registry.address())]).refused(125, "nothing");

    // Nobody listens there.
    let (nowhere, layout) = ("127.0.0.1:1/app:2", format!("oci:{}", host.scratch().join("layout").display()));
    for (line, sentence) in [
        (
            &["push", "--quiet", "small", nowhere][..],
            format!("`small` can't be pushed to `{nowhere}`: `127.0.0.1:1`"),
        ),
        (&["image", "tags", "127.0.0.1:1/app"], "the tags of `127.0.0.1:1/app` can't be listed: ".to_owned()),
        (&["image", "delete", nowhere], format!("`{nowhere}` can't be deleted: ")),
        (
            &["image", "copy", "--quiet", nowhere, &layout],
            format!("`{nowhere}` can't be copied to `{layout}`: "),
        ),
    ] {
        host.loam_outside(line).refused(125, &sentence);
    }
    // Without a registry it is a registry's all the same, also when this machine has an image of that name.
    let said = host.loam(&["image", "copy", "--quiet", "small", &layout]);
    said.refused(125, "`small` can't be copied to");
    assert!(said.stderr.contains("hint: an image of this machine goes out by"), "{said:?}");
    host.finish();
}

#[test]
fn an_image_goes_where_its_name_says_and_comes_back_the_same() {
    if !needs::met(&[Need::NativeProcessor]) {
        return;
    }
    let host = Host::with_small_image();
    let registry = Registry::plain();
    let name = format!("{}/small:1", registry.address());
    host.loam(&["tag", "small", &name]).ok();
    let pushed = host.loam_outside(&["image", "push", &name]);
    assert!(pushed.stderr.contains(": done"), "{pushed:?}");
    host.loam_outside(&["push", "small"]).refused(125, "`small` names no registry");
    host.loam(&["rmi", "small", &name]).ok();
    host.loam_outside(&["pull", "--quiet", &name]).ok();
    assert_eq!(host.loam(&["run", "--rm", "--network", "none", &name, "echo", "back"]).ok(), "back");
    // What came back is packed to what it was.
    let again = host.loam_outside(&["push", "--quiet", &name]);
    assert_eq!(again.ok(), pushed.ok());
    host.finish();
}

#[test]
fn a_credential_helper_keeps_and_forgets_logins() {
    if !needs::met(&[Need::NativeProcessor]) {
        return;
    }
    let host = Host::new();
    let registry = Registry::with_tls_and_password();
    let (address, home) = (registry.address(), Home::new(&host, &registry));
    let programs = host.scratch().join("bin");
    fs::create_dir_all(&programs).unwrap();
    let store = text(&host.scratch().join("kept"));
    let script = format!(
        "#!/bin/sh\ncase $1 in store) cat > {store};; get) cat > /dev/null; cat {store} 2>/dev/null || echo credentials not found;; erase) rm {store};; esac\n"
    );
    let helper = programs.join("docker-credential-test");
    fs::write(&helper, script).unwrap();
    fs::set_permissions(&helper, fs::Permissions::from_mode(0o755)).unwrap();
    fs::write(&home.authfile, format!("{{\"credHelpers\":{{\"{address}\":\"test\"}}}}")).unwrap();
    let path = format!("{}:{}", text(&programs), std::env::var("PATH").unwrap());
    let loam = |arguments: &[&str], input: &str| {
        let variables = [
            ("HOME", home.home.as_str()),
            ("REGISTRY_AUTH_FILE", home.authfile.as_str()),
            ("PATH", path.as_str()),
        ];
        host.loam_outside_with(&variables, arguments, input)
    };
    let login = ["login", "-u", "somebody", "--password-stdin", address];
    let ran = loam(&login, registry.password());
    ran.ok();
    assert!(ran.stderr.contains("the credential helper `test`"), "{ran:?}");
    assert!(!fs::read_to_string(&home.authfile).unwrap().contains(registry.password()));
    assert!(fs::read_to_string(&store).unwrap().contains(registry.password()));
    // The login is used: the repository is not there, which only those hear who are let in.
    loam(&["image", "tags", &format!("{address}/none")], "").refused(125, "not found");
    loam(&["logout", address], "").ok();
    assert!(!Path::new(&store).exists());
    host.finish();
}

#[test]
fn logins_that_make_no_sense_are_refused() {
    if !needs::met(&[Need::NativeProcessor]) {
        return;
    }
    let host = Host::new();
    let login = |arguments: &[&str], input: &str| {
        let authfile = text(&host.scratch().join("auth.json"));
        let variables = [("REGISTRY_AUTH_FILE", authfile.as_str())];
        host.loam_outside_with(&variables, &[&["login"], arguments].concat(), input)
    };
    login(&["-u", "u", "--password-stdin", "no registry"], "p")
        .refused(125, "`no registry` is not a registry");
    login(&["-u", "u:x", "--password-stdin", "127.0.0.1:1"], "p").refused(125, "u:x");
    login(&["-u", "u", "--password-stdin", "127.0.0.1:1"], "").refused(125, "the password is empty");
    login(&["-u", "u", "--password-stdin", "127.0.0.1:1"], "p").refused(125, "127.0.0.1:1");
    login(&["127.0.0.1:1"], "p").refused(125, "no terminal");
    let server = loam_testkit::hostile::Server::start(|_| loam_testkit::hostile::Answer::new(404));
    login(&["-u", "u", "--password-stdin", &server.host()], "p").refused(125, "is not a registry");
    assert!(!host.scratch().join("auth.json").exists());
    host.finish();
}
