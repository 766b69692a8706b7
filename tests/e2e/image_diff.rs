//! What has changed in images' and containers' files, told as Podman tells it.

use loam_tests::{Host, Need, needs};

/// An image of two layers beside the small one: `two`, of which the upper one has changed some files.
pub(crate) fn load_two_layers(host: &Host) {
    let scratch = host.scratch().display().to_string();
    let small = loam_testkit::images::small().display().to_string();
    let change = "cd $B/rootfs && echo new > added && mkdir -m 700 dir && echo x > dir/inner && rm bin/vi \
                  && echo changed > etc/passwd && chmod 600 etc/group";
    host.sh(&format!(
        "set -e; L={scratch}/two; B={scratch}/two-bundle; cp -a {small} $L; umoci unpack --image $L:latest $B >/dev/null
         {change}; umoci repack --image $L:two $B >/dev/null; umoci gc --layout $L; rm -rf $B"
    ))
    .ok();
    host.loam(&["pull", "--quiet", &format!("oci:{scratch}/two:two")]).ok();
    host.loam(&["tag", "localhost/two:two", "two"]).ok();
}

#[test]
fn an_image_is_told_from_what_it_stands_on_as_podman_does() {
    if !needs::met(&[Need::NativeProcessor]) {
        return;
    }
    let host = Host::with_small_image();
    load_two_layers(&host);
    let ours = host.loam(&["image", "diff", "two"]).ok().to_owned();
    let expected = "C /bin\nD /bin/vi\nA /added\nA /dir\nA /dir/inner\nC /etc\nC /etc/group\nC /etc/passwd";
    let sorted = |text: &str| {
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        lines.sort_unstable();
        lines
    };
    assert_eq!(sorted(&ours), sorted(expected));
    assert_eq!(host.loam(&["image", "diff", "small", "two"]).ok(), ours, "the one that it stands on");
    let back = host.loam(&["image", "diff", "two", "small"]).ok().to_owned();
    assert!(
        back.contains("D /added\n") && back.contains("A /bin/vi\n") && back.contains("D /dir\n"),
        "{back}"
    );
    assert!(!back.contains("/dir/inner"), "{back}");
    assert_eq!(host.loam(&["image", "diff", "two", "two"]).ok(), "");
    let scratch = host.scratch().display().to_string();
    let podman =
        format!("podman --root {scratch}/podman --runroot {scratch}/podman-run --storage-driver vfs");
    let theirs = host
        .sh(&format!(
            "skopeo copy -q oci:{scratch}/two:two oci-archive:{scratch}/two.tar:two \
             && id=$({podman} pull -q oci-archive:{scratch}/two.tar) && {podman} diff $id && {podman} rmi $id >/dev/null"
        ))
        .ok()
        .to_owned();
    assert_eq!(sorted(&ours), sorted(&theirs));
    let json: serde_json::Value =
        serde_json::from_str(host.loam(&["image", "diff", "--format", "json", "two"]).ok()).unwrap();
    assert_eq!(json["deleted"], serde_json::json!(["/bin/vi"]));
    assert_eq!(json["added"], serde_json::json!(["/added", "/dir", "/dir/inner"]));
    host.loam(&["image", "diff", "none"]).refused(125, "none");
    host.loam(&["image", "diff", "two", "none"]).refused(125, "none");
    host.finish();
}

#[test]
fn a_container_shows_what_it_has_written() {
    let host = Host::with_small_image();
    let change = "echo x > /new; rm /bin/vi; chmod 700 /tmp; ln -s /new /etc/link; exec sleep 1000";
    host.start(&["--name", "c", "--tmpfs", "/scratch", "small", "sh", "-c", change]);
    loam_tests::until("it has written", || {
        (host.loam(&["exec", "c", "test", "-L", "/etc/link"]).code == 0).then_some(())
    });
    let expected = ["C /bin", "D /bin/vi", "C /etc", "A /etc/link", "A /new", "C /tmp"];
    let changes = |name: &str| {
        let ran = host.loam(&["diff", name]);
        ran.ok().lines().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(changes("c"), expected);
    host.loam(&["stop", "-t", "0", "c"]).ok();
    assert_eq!(changes("c"), expected, "stopped, too");
    host.loam(&["create", "--name", "fresh", "small"]).ok();
    assert_eq!(changes("fresh"), [""; 0]);
    host.loam(&["diff", "none"]).refused(125, "none");
    host.finish();
}
