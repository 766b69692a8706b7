//! A disk that is full to its last block: what has begun ends, and nothing new begins.

use std::process::Stdio;

use loam_tests::{Host, until};

/// A host whose state directory is on an ext4 file system with blocks smaller than a page, with the small image.
fn small_blocks() -> Host {
    let host = Host::new();
    let (disk, mount) = (host.scratch().join("disk"), host.root());
    std::fs::create_dir_all(&mount).unwrap();
    host.sh(&format!(
        "truncate -s 24M {0} && mkfs.ext4 -q -b 1024 -m 0 -F {0} && mount -o loop {0} {1}",
        disk.display(),
        mount.display()
    ))
    .ok();
    host.load_small_image();
    host
}

/// Takes all that is free.
fn fill(host: &Host) {
    let line = "cd ROOT && i=0; while [ $(stat -f -c %a .) != 0 ]; do i=$((i+1)); \
                dd if=/dev/zero of=ballast.$i bs=1024 2>/dev/null; sync -f .; done";
    host.sh(&line.replace("ROOT", &host.root().display().to_string())).ok();
}

fn free(host: &Host) {
    host.sh(&format!("rm {0}/ballast.* && sync -f {0}", host.root().display())).ok();
}

/// The length of the reserve, and the bytes of its blocks with those of its map, which depend on how scattered it is.
fn reserve(host: &Host) -> (u64, u64) {
    let said = host.sh(&format!("stat -c '%s %b' {}/loam.db-reserve", host.root().display()));
    let (length, blocks) = said.ok().split_once(' ').unwrap();
    (length.parse().unwrap(), blocks.parse::<u64>().unwrap() * 512)
}

/// Everything that making something would make something of.
fn made(host: &Host) -> String {
    let line = "cd ROOT && find containers snapshots staging layers trash network/attachments -mindepth 1 -maxdepth 1; ls RUN/containers";
    let line = line.replace("ROOT", &host.root().display().to_string());
    host.sh(&line.replace("RUN", &host.run_directory().display().to_string())).stdout
}

#[test]
fn what_has_begun_ends_on_a_full_disk_and_nothing_begins() {
    let host = small_blocks();
    let whole = reserve(&host);
    assert!(whole.0 > 0 && whole.1 >= whole.0, "its blocks are allocated: {whole:?}");
    for name in ["killed", "stopped", "removed"] {
        host.start(&["--name", name, "small", "sleep", "1000"]);
    }
    let mut watched = host.loam_command(&["run", "--rm", "-i", "--name", "watched", "small", "cat"]);
    let mut watched = watched.stdin(Stdio::piped()).spawn().unwrap();
    until("it runs", || host.loam(&["ps"]).ok().contains("watched").then_some(()));
    fill(&host);
    let before = made(&host);

    // Its own process writes the end down, when the container has ended and nobody waits.
    host.sh(&format!("kill -9 {}", host.pid("killed"))).ok();
    until("the end is recorded", || {
        let listed = host.loam(&["ps", "-a", "--output", "json"]);
        let listed: serde_json::Value = serde_json::from_str(listed.ok()).unwrap();
        let mut rows = listed.as_array().unwrap().iter();
        rows.find(|row| row["name"] == "killed" && row["state"] == "stopped").map(|_| ())
    });
    // One that had the database open before the disk was full.
    drop(watched.stdin.take());
    assert_eq!(watched.wait().unwrap().code(), Some(0));
    assert!(!host.loam(&["ps", "-a"]).ok().contains("watched"));

    let source = format!("oci:{}", loam_testkit::images::small().display());
    let mount = host.root().display().to_string();
    for line in [
        &["run", "--rm", "small", "true"][..],
        &["create", "small", "true"],
        &["start", "killed"],
        &["pull", "--quiet", &source],
        &["tag", "small", "other"],
        &["run", "--rm", "hello"],
    ] {
        let said = host.loam(line);
        said.refused(125, "no space is left on the file system at").refused(125, &mount);
    }
    let after = made(&host);
    assert!(after.lines().all(|path| before.contains(path)), "{before}{after}");

    // Again and again: who looks takes nothing that stays.
    for _ in 0..20 {
        host.loam(&["ps", "-a"]).ok();
    }
    host.loam(&["stop", "-t", "0", "stopped"]).ok();
    host.loam(&["rm", "killed", "stopped"]).ok();
    host.loam(&["rm", "-f", "removed"]).ok();
    assert_eq!(host.loam(&["ps", "-a", "-q"]).ok(), "");
    host.loam(&["image", "prune"]).ok();
    host.loam(&["settle"]).ok();

    free(&host);
    host.loam(&["run", "--rm", "small", "true"]).ok();
    let back = reserve(&host);
    assert!(back.0 == whole.0 && back.1 >= back.0, "it is back: {whole:?}, {back:?}");
    host.loam(&["rmi", "small"]).ok();
    host.sh(&format!("umount -l {}", host.root().display())).ok();
    host.finish();
}

#[test]
fn without_a_reserve_a_full_disk_is_a_sentence() {
    let host = small_blocks();
    host.start(&["--name", "a", "small", "sleep", "1000"]);
    let reserve = format!("rm {}/loam.db-reserve", host.root().display());
    host.sh(&reserve).ok();
    fill(&host);
    let said = host.loam(&["ps", "-a"]);
    said.refused(125, "No space left")
        .refused(125, &format!("on the file system at `{}`", host.root().display()));
    free(&host);
    host.loam(&["rm", "-f", "a"]).ok();
    host.sh(&format!("umount -l {}", host.root().display())).ok();
    host.finish();
}
