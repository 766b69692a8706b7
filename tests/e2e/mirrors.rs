//! What settings files say of registries, proxies, and pulls that were broken off.

use std::fs;
use std::process::Stdio;

use loam_testkit::hostile::{Answer, Image, Proxy, Server};
use loam_testkit::registry::Registry;
use loam_tests::{Host, Need, Ran, needs, until};

/// Runs `loam` with a home in which `registries.conf` says this.
fn with_registries(host: &Host, registries: &str, arguments: &[&str]) -> Ran {
    let home = host.scratch().join("home");
    fs::create_dir_all(home.join(".config/containers")).unwrap();
    fs::write(home.join(".config/containers/registries.conf"), registries).unwrap();
    host.loam_outside_with(&[("HOME", home.to_str().unwrap())], arguments, "")
}

#[test]
fn a_mirror_stands_for_a_registry_and_the_image_keeps_its_name() {
    if !needs::met(&[Need::NativeProcessor]) {
        return;
    }
    let host = Host::new();
    let registry = Registry::plain();
    loam_testkit::images::push_small(&registry);
    let mirror = format!(
        "[[registry]]\nprefix = \"registry.invalid/library\"\n[[registry.mirror]]\nlocation = \"127.0.0.1:1\"\n[[registry.mirror]]\nlocation = \"{}\"\n",
        registry.address()
    );
    let name = "registry.invalid/library/small";
    let ran = with_registries(&host, &mirror, &["pull", "--quiet", name]);
    ran.ok();
    assert!(ran.stderr.contains("the mirror `127.0.0.1:1` is passed over"), "{ran:?}");
    assert_eq!(host.loam(&["run", "--rm", "--network", "none", name, "echo", "mirrored"]).ok(), "mirrored");
    host.finish();
}

#[test]
fn short_names_are_what_the_settings_say() {
    if !needs::met(&[Need::NativeProcessor]) {
        return;
    }
    let host = Host::new();
    let registry = Registry::plain();
    loam_testkit::images::push_small(&registry);
    let address = registry.address();
    let alias = format!("[aliases]\n\"shorty\" = \"{address}/small\"\n");
    with_registries(&host, &alias, &["pull", "--quiet", "shorty"]).ok();
    assert!(host.loam(&["images"]).ok().contains(&format!("{address}/small:latest")));
    let run = ["run", "--rm", "--pull", "never", "--network", "none", "shorty", "echo", "short"];
    assert_eq!(with_registries(&host, &alias, &run).ok(), "short");
    host.loam(&["rmi", &format!("{address}/small")]).ok();
    let search = format!("unqualified-search-registries = [\"{address}\"]\n");
    with_registries(&host, &search, &["pull", "--quiet", "small"]).ok();
    let two = format!("unqualified-search-registries = [\"{address}\", \"docker.io\"]\n");
    let ran = with_registries(&host, &two, &["pull", "--quiet", "small"]);
    ran.refused(125, "`small` may be of several registries");
    assert!(
        ran.stderr.contains(&format!("{address}/small:latest, docker.io/library/small:latest")),
        "{ran:?}"
    );
    host.finish();
}

#[test]
fn blocked_registries_and_files_that_make_no_sense_are_named() {
    if !needs::met(&[Need::NativeProcessor]) {
        return;
    }
    let host = Host::new();
    let blocked = "[[registry]]\nlocation = \"127.0.0.1:5000\"\nblocked = true\n";
    with_registries(&host, blocked, &["pull", "--quiet", "127.0.0.1:5000/a"])
        .refused(125, "`127.0.0.1:5000/a` is blocked");
    let wrong = "[[registry]]\nlocation = \"h.example\"\ninsecure = \"perhaps\"\n";
    let ran = with_registries(&host, wrong, &["pull", "--quiet", "127.0.0.1:5000/a"]);
    ran.refused(125, "registries.conf` can't be used: line 3, `insecure`: invalid type");
    assert_eq!(host.loam(&["images", "-q"]).ok(), "");
    host.finish();
}

#[test]
fn proxies_of_the_environment_are_used_but_not_for_this_machine() {
    if !needs::met(&[Need::NativeProcessor]) {
        return;
    }
    let host = Host::new();
    let registry = Registry::with_tls_and_password();
    loam_testkit::images::push_small(&registry);
    let authfile = host.scratch().join("auth.json");
    let login = registry.credentials_file().replace(registry.address(), "registry.invalid");
    fs::write(&authfile, login).unwrap();
    let proxy = Proxy::start(registry.address());
    let url = proxy.url().replace("http://", "http://u:p@");
    let pull = |variables: &[(&str, &str)], name: &str| {
        let arguments = ["pull", "--quiet", "--insecure", "--authfile", authfile.to_str().unwrap(), name];
        host.loam_outside_with(variables, &arguments, "")
    };
    let name = "registry.invalid/small";
    pull(&[], name).refused(125, "registry.invalid");
    assert!(proxy.asked().is_empty());
    for variable in ["HTTPS_PROXY", "https_proxy", "ALL_PROXY"] {
        pull(&[(variable, &url)], name).ok();
        let asked = proxy.asked();
        assert_eq!(asked.last().unwrap(), "CONNECT registry.invalid:443 HTTP/1.1 (Basic dTpw)", "{variable}");
    }
    let before = proxy.asked().len();
    for variable in ["NO_PROXY", "no_proxy"] {
        pull(&[("HTTPS_PROXY", &url), (variable, "registry.invalid")], name).refused(125, "registry.invalid");
    }
    // This machine's own registries are reached directly.
    pull(&[("HTTPS_PROXY", &url), ("HTTP_PROXY", &url)], &format!("{}/small", registry.address()))
        .refused(125, "no access");
    assert_eq!(proxy.asked().len(), before);
    host.finish();
}

#[test]
fn plain_http_goes_by_the_proxy_for_http() {
    if !needs::met(&[Need::NativeProcessor]) {
        return;
    }
    let host = Host::new();
    let image = Image::of_layers(&[Image::tar(&[("a", b"first")])]);
    let server = Server::start(move |request| image.answer(request));
    let proxy = Proxy::start(&server.host());
    let home = host.scratch().join("home");
    let place = home.join(".config/containers/certs.d/registry.invalid");
    fs::create_dir_all(&place).unwrap();
    fs::write(place.join("hosts.toml"), "server = \"http://registry.invalid\"\n").unwrap();
    let variables = [("HOME", home.to_str().unwrap()), ("HTTP_PROXY", &proxy.url())];
    let variables = variables.map(|(name, value)| (name, value.to_owned()));
    let variables: Vec<(&str, &str)> =
        variables.iter().map(|(name, value)| (*name, value.as_str())).collect();
    host.loam_outside_with(&variables, &["pull", "--quiet", "registry.invalid/a"], "").ok();
    assert!(
        proxy.asked()[0].starts_with("GET http://registry.invalid/v2/a/manifests/latest"),
        "{:?}",
        proxy.asked()
    );
    host.finish();
}

/// An image with one layer that is large enough to be kept in part. No two parts of it are the same.
fn large() -> Image {
    let mut state = 1_u64;
    let mut bytes = Vec::with_capacity(66 << 20);
    while bytes.len() < 66 << 20 {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        bytes.extend_from_slice(&state.to_be_bytes());
    }
    Image::of_layers(&[Image::tar(&[("large", &bytes)])])
}

#[test]
fn a_pull_that_was_killed_goes_on_where_it_was() {
    if !needs::met(&[Need::NativeProcessor]) {
        return;
    }
    let host = Host::new();
    let image = large();
    let (served, layer) = (image.clone(), image.layers[0].clone());
    // The line is slow, and after some parts nothing more comes.
    let stalled = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(true));
    let stalls = std::sync::Arc::clone(&stalled);
    let server = Server::start(move |request| {
        let is_slow = stalls.load(std::sync::atomic::Ordering::SeqCst);
        if is_slow && request.number > 9 {
            return Answer::new(206).silence();
        }
        if is_slow && request.header("range").is_some_and(|range| !range.starts_with("bytes=0-")) {
            std::thread::sleep(std::time::Duration::from_secs(1));
        }
        served.answer(request)
    });
    let name = format!("{}/large@{}", server.host(), image.digest());
    let kept = host.root().join("partial").join(layer.strip_prefix("sha256:").unwrap());
    let mut child = host.loam_outside_command(&["pull", "--quiet", &name]);
    let mut child = child.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    until("the beginning is kept", || fs::metadata(&kept).ok().filter(|found| found.len() > 8 << 20));
    child.kill().unwrap();
    child.wait().unwrap();
    let length = usize::try_from(fs::metadata(&kept).unwrap().len()).unwrap();
    stalled.store(false, std::sync::atomic::Ordering::SeqCst);
    let before = server.requests().len();
    host.loam_outside(&["pull", "--quiet", &name]).ok();
    let ranges: Vec<String> = server.requests()[before..]
        .iter()
        .filter_map(|request| request.header("range").map(str::to_owned))
        .collect();
    assert!(ranges[0].starts_with(&format!("bytes={length}-")), "{length}: {ranges:?}");
    assert!(!kept.exists(), "nothing is kept of what is whole");

    // What was kept is not believed.
    host.loam(&["rmi", host.loam(&["images", "-q"]).ok()]).ok();
    fs::create_dir_all(kept.parent().unwrap()).unwrap();
    fs::write(&kept, vec![b'x'; 20 << 20]).unwrap();
    host.loam_outside(&["pull", "--quiet", &name]).ok();
    assert!(!kept.exists());
    host.finish();
}
