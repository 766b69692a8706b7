//! `loam cp`.

use loam_tests::Host;

#[test]
fn files_and_trees_go_in_and_out() {
    let host = Host::with_small_image();
    let scratch = host.scratch();
    std::fs::create_dir_all(scratch.join("tree/sub")).unwrap();
    std::fs::write(scratch.join("tree/sub/file"), "in a tree").unwrap();
    let at = |name: &str| scratch.join(name).display().to_string();
    host.start(&["--name", "c", "small", "sleep", "1000"]);
    host.loam(&["cp", &at("tree"), "c:/tmp"]).ok();
    assert_eq!(host.loam(&["exec", "c", "cat", "/tmp/tree/sub/file"]).ok(), "in a tree");
    assert_eq!(host.loam(&["exec", "c", "stat", "-c", "%u %g", "/tmp/tree/sub/file"]).ok(), "0 0");
    host.loam(&["exec", "c", "sh", "-c", "echo made inside > /tmp/out; ln -s /etc/passwd /tmp/link"]).ok();
    host.loam(&["cp", "c:/tmp/out", &at("")]).ok();
    assert_eq!(std::fs::read_to_string(scratch.join("out")).unwrap(), "made inside\n");
    host.loam(&["stop", "-t", "0", "c"]).ok();
    host.loam(&["cp", "c:/tmp/tree", &at("back")]).ok();
    assert_eq!(std::fs::read_to_string(scratch.join("back/sub/file")).unwrap(), "in a tree");
    host.loam(&["cp", "c:/no/such/file", &at("")]).refused(125, "/no/such/file");
    host.finish();
}

#[test]
fn links_in_the_container_lead_nowhere_on_the_host() {
    let host = Host::with_small_image();
    let scratch = host.scratch();
    std::fs::write(scratch.join("secret"), "host's").unwrap();
    host.start(&["--name", "c", "small", "sleep", "1000"]);
    let line = format!("ln -s {0} /there; ln -s {0}/secret /secret; ln -s / /up", scratch.display());
    host.loam(&["exec", "c", "sh", "-c", &line]).ok();
    std::fs::write(scratch.join("payload"), "written").unwrap();
    let _either_way = host.loam(&["cp", &format!("{}/payload", scratch.display()), "c:/there/secret"]);
    assert_eq!(std::fs::read_to_string(scratch.join("secret")).unwrap(), "host's");
    let out = host.loam(&["cp", "c:/up/secret", "-"]);
    assert!(!out.stdout.contains("host's"), "{out:?}");
    host.finish();
}
