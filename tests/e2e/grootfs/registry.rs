//! Images from registries.

use loam_testkit::registry::Registry;
use loam_tests::grootfs::Store;
use loam_tests::{Need, needs};

#[test]
fn a_registry_s_image_is_fetched_with_its_environment() {
    if !needs::met(&[Need::NativeProcessor]) {
        return;
    }
    let store = Store::mapped();
    let registry = Registry::plain();
    loam_testkit::images::push_small(&registry);
    let name = format!("docker://{}/small", registry.address());
    let printed = store.create(&[], &name, "a");
    assert!(printed["root"]["path"].as_str().unwrap().ends_with("images/a/rootfs"));
    assert!(store.file("a", "bin/busybox").exists());
    store.refuses(&["create", &format!("{name}:no-such"), "b"], "was not found");
    store.finish();
}

#[test]
fn a_private_registry_wants_trust_and_a_password_that_no_log_has() {
    if !needs::met(&[Need::NativeProcessor]) {
        return;
    }
    let store = Store::mapped();
    let registry = Registry::with_tls_and_password();
    loam_testkit::images::push_small(&registry);
    let name = format!("docker://{}/small", registry.address());
    let (password, log) = (registry.password(), store.host().scratch().join("log"));
    let login = ["--username", "somebody", "--password", password];
    store.refuses(
        &["create", &name, "a"],
        "This registry is insecure. To pull images from this registry, please use the --insecure-registry option.",
    );
    // Only the host that is named is trusted.
    store.refuses(&["create", "--insecure-registry", "127.0.0.1", &name, "a"], "--insecure-registry option");
    let trusted = ["--insecure-registry", "other:5000", "--insecure-registry", registry.address()];
    let create = |more: &[&str], id: &str| {
        let global = ["--log-level", "debug", "--log-file", log.to_str().unwrap(), "create"];
        store.run(&[&global[..], &trusted, more, &[&name, id]].concat())
    };
    let unknown = create(&[], "a");
    let permissions = format!("{name} does not exist or you do not have permissions to see it.");
    assert_eq!((unknown.code, unknown.stdout.trim_end()), (1, permissions.as_str()));
    let wrong = create(&["--username", "somebody", "--password", "wrong-one"], "a");
    let refused = "authorization failed: username and password are invalid";
    assert_eq!((wrong.code, wrong.stdout.trim_end()), (1, refused));
    create(&login, "a").ok();
    assert!(store.file("a", "bin/busybox").exists());
    let written = std::fs::read_to_string(&log).unwrap();
    assert!(written.lines().count() > 3, "{written}");
    for line in written.lines() {
        let line: serde_json::Value = serde_json::from_str(line).expect("a line of lager");
        assert!(line["message"].as_str().unwrap().starts_with("grootfs."), "{line}");
    }
    assert!(!written.contains(password) && !written.contains("wrong-one"), "{written}");
    store.finish();
}
