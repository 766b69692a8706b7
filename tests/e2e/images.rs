//! Images from layouts, archives and tars; what is kept of a layer; removal.

use loam_tests::{Host, Need, needs};

#[test]
fn every_local_form_gives_the_same_image() {
    if !needs::met(&[Need::NativeProcessor]) {
        return;
    }
    let host = Host::new();
    let layout = loam_testkit::images::small();
    let scratch = host.scratch();
    let at = |name: &str| scratch.join(name).display().to_string();
    host.sh(&format!(
        "skopeo copy -q oci:{0} oci-archive:{1}:small:latest && skopeo copy -q oci:{0} docker-archive:{2}:small:latest && gzip -k {2}",
        layout.display(),
        at("oci.tar"),
        at("docker.tar")
    ))
    .ok();
    let sources = [
        format!("oci:{}", layout.display()),
        format!("oci-archive:{}", at("oci.tar")),
        format!("docker-archive:{}", at("docker.tar")),
        format!("docker-archive:{}", at("docker.tar.gz")),
    ];
    let mut layers = Vec::new();
    for source in &sources {
        let id = host.loam(&["pull", "--quiet", source]).ok().to_owned();
        layers.push(host.sh(&format!("ls {}/layers | wc -l", host.root().display())).ok().to_owned());
        assert_eq!(host.loam(&["run", "--rm", &id, "echo", "ran"]).ok(), "ran", "{source}");
    }
    layers.dedup();
    assert_eq!(layers.len(), 1, "one layer on disk serves them all");
    host.finish();
}

#[test]
fn a_root_file_system_tar_becomes_an_image() {
    if !needs::met(&[Need::NativeProcessor]) {
        return;
    }
    let host = Host::new();
    let tree = host.scratch().join("tree");
    host.sh(&format!("mkdir -p {0}/bin && cp $(command -v busybox) {0}/bin/ && ln -s busybox {0}/bin/sh && tar -C {0} -czf {0}.tar.gz .", tree.display())).ok();
    host.loam(&["import", &format!("{}.tar.gz", tree.display()), "mine:1"]).ok();
    assert_eq!(host.loam(&["run", "--rm", "mine:1", "sh", "-c", "echo imported"]).ok(), "imported");
    let tar =
        host.command("sh").args(["-c", &format!("tar -C {} -c .", tree.display())]).output().unwrap().stdout;
    assert_eq!(host.loam_with_input(&["import", "-", "piped"], &tar).code, 0);
    assert!(host.loam(&["images"]).ok().contains("piped"));
    host.finish();
}

#[test]
fn images_are_listed_inspected_and_removed() {
    if !needs::met(&[Need::NativeProcessor]) {
        return;
    }
    let host = Host::with_small_image();
    let listed = host.loam(&["images", "--output", "json"]);
    let value: serde_json::Value = serde_json::from_str(listed.ok()).unwrap();
    assert!(value.as_array().is_some_and(|list| !list.is_empty()), "{value}");
    host.loam(&["tag", "small", "registry.example/team/app:2"]).ok();
    let named = |filters: &[&str]| {
        let listed = host.loam(&[&["images", "-o", "json"], filters].concat());
        let listed: serde_json::Value = serde_json::from_str(listed.ok()).unwrap();
        let mut names: Vec<String> =
            listed.as_array().unwrap().iter().map(|image| image["name"].to_string()).collect();
        names.sort();
        names.join(" ")
    };
    let app = "\"registry.example/team/app:2\"";
    for filters in [&["team/app"][..], &["app:2"], &["registry.example/*/app"], &["-f", "reference=a*"]] {
        assert_eq!(named(filters), app, "{filters:?}");
    }
    assert!(named(&["small"]).contains("small:latest") && !named(&["small"]).contains("app"));
    assert_eq!(named(&["-f", "dangling=true"]), "");
    assert_eq!(named(&["-f", "reference=app", "-f", "reference=none"]), app);
    assert_eq!(named(&["-f", "reference=app", "small"]), "");
    assert_eq!(named(&["-f", "dangling=false"]), named(&[]));
    host.loam(&["images", "-f", "since=app"]).refused(125, "dangling and reference");
    host.loam(&["rmi", "registry.example/team/app:2"]).ok();
    let detail = host.loam(&["image", "inspect", "small"]);
    let detail: serde_json::Value = serde_json::from_str(detail.ok()).unwrap();
    assert!(detail.to_string().contains("linux"), "{detail}");
    host.start(&["--name", "user", "small", "sleep", "1000"]);
    let id = host.loam(&["images", "-q"]).ok().lines().next().unwrap().to_owned();
    host.loam(&["rmi", &id]).refused(125, "in use");
    host.loam(&["rm", "-f", "user"]).ok();
    host.loam(&["rmi", &id]).ok();
    assert_eq!(host.loam(&["images", "-q"]).ok(), "");
    assert_eq!(host.sh(&format!("ls {}/layers | grep -vc lock; true", host.root().display())).ok(), "0");
    host.finish();
}

#[test]
fn a_hostile_archive_writes_nothing_outside() {
    if !needs::met(&[Need::NativeProcessor]) {
        return;
    }
    let host = Host::new();
    let scratch = host.scratch();
    let script = r#"
import tarfile, io, sys
out = sys.argv[1]
def make(name, members):
    with tarfile.open(f"{out}/{name}.tar", "w") as tar:
        for info, data in members:
            tar.addfile(info, io.BytesIO(data) if data is not None else None)
def file(name, data=b"x"):
    info = tarfile.TarInfo(name); info.size = len(data); return info, data
def link(name, target, kind=tarfile.SYMTYPE):
    info = tarfile.TarInfo(name); info.type = kind; info.linkname = target; return info, None
def directory(name, mode=0o777):
    info = tarfile.TarInfo(name); info.type = tarfile.DIRTYPE; info.mode = mode; return info, None
canary = f"{out}/canary"
make("dotdot", [file("../canary/escaped")])
make("absolute", [file(f"{canary}/escaped")])
make("through-link", [link("d", canary), file("d/escaped")])
make("through-dotdot-link", [link("d", "../../../../../../../../../../../.." + canary), file("d/escaped")])
make("hard-link", [link("h", f"../../../../../../../../../../../..{canary}/file", tarfile.LNKTYPE), file("h")])
make("link-then-directory", [link("d", canary), directory("d", 0o700)])
"#;
    std::fs::create_dir(scratch.join("canary")).unwrap();
    std::fs::write(scratch.join("canary/file"), "canary").unwrap();
    std::fs::write(scratch.join("make.py"), script).unwrap();
    host.sh(&format!("python3 {0}/make.py {0}", scratch.display())).ok();
    let state =
        || host.sh(&format!("cd {}/canary && stat -c '%n %a %Y %u' . * && cat *", scratch.display())).stdout;
    let before = state();
    for name in
        ["dotdot", "absolute", "through-link", "through-dotdot-link", "hard-link", "link-then-directory"]
    {
        let ran = host.loam(&["import", &format!("{}/{name}.tar", scratch.display()), name]);
        assert_eq!(state(), before, "{name}: {ran:?}");
    }
    host.finish();
}

#[test]
fn a_directory_with_a_root_file_system_becomes_an_image() {
    let host = Host::with_small_image();
    let directory = host.scratch().join("root").display().to_string();
    let bundle = host.scratch().join("bundle").display().to_string();
    host.loam(&["image", "bundle", "small", &bundle]).ok();
    host.sh(&format!(
        "mv {bundle}/rootfs {directory} && cd {directory} && mkdir proc mnt; echo own > own && chown 7:8 own \
         && ln own twin && mount -t tmpfs none mnt && touch mnt/hidden"
    ))
    .ok();
    let import = ["import", "--change", "CMD [\"cat\", \"/own\"]", &directory, "taken:1"];
    let id = host.loam(&import).ok().to_owned();
    assert_eq!(host.loam(&["run", "--rm", "taken:1"]).ok(), "own");
    let look = "stat -c '%u:%g %h' /own; ls -A /mnt; cmp /own /twin";
    assert_eq!(host.loam(&["run", "--rm", "taken:1", "sh", "-c", look]).ok(), "7:8 2");
    host.sh(&format!("umount {directory}/mnt && touch {directory}/.wh.x")).ok();
    host.loam(&["import", &directory, "other:1"]).refused(125, ".wh.x");
    host.loam(&["import", &format!("{directory}/none"), "other:1"]).refused(125, "none");
    assert_eq!(
        host.loam(&["images", "-q", "--no-trunc"]).ok().lines().filter(|line| **line == *id).count(),
        1
    );
    host.loam(&["rmi", "taken:1"]).ok();
    host.finish();
}
