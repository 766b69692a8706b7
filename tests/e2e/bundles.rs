//! Images as bundles, run by other people's runtimes.

use std::fs;
use std::os::unix::fs::MetadataExt as _;

use loam_tests::{Host, Need, needs};
use serde_json::Value;

/// Runs a bundle, and gives what it printed.
fn run(host: &Host, runtime: &str, bundle: &str) -> String {
    let name = format!("loam-bundle-{runtime}-{}", std::process::id());
    let root = host.scratch().join("runtime").display().to_string();
    host.sh(&format!("cd {bundle} && {runtime} --root {root} run {name}")).ok().to_owned()
}

fn config(bundle: &str) -> Value {
    serde_json::from_slice(&fs::read(format!("{bundle}/config.json")).unwrap()).unwrap()
}

#[test]
fn a_real_image_runs_the_same_by_runc_crun_and_loam() {
    if !needs::met(&[Need::NativeProcessor]) {
        return;
    }
    let host = Host::new();
    let source = format!("oci:{}:gzip", loam_testkit::images::python().display());
    let id = host.loam(&["pull", "--quiet", &source]).ok().to_owned();
    let look = "import os, pwd, ssl; \
        print(os.getuid(), os.getgid(), sorted(os.getgroups()), os.getcwd(), pwd.getpwuid(os.getuid()).pw_name); \
        print(sorted((k, v) for k, v in os.environ.items() if k != 'HOSTNAME')); \
        print(sorted(os.listdir('/usr/bin'))[:50], os.stat('/etc/passwd').st_mtime_ns, os.stat('/tmp').st_mode); \
        print([line for line in open('/proc/self/status') if line.startswith(('Cap', 'NoNew', 'Seccomp:'))])";
    let command = ["python3", "-c", look];
    let flags =
        ["run", "--rm", "--network", "none", "--userns", "host", "--hostname", "h", "--entrypoint", ""];
    let expected = host.loam(&[&flags[..], &[&id], &command].concat()).ok().to_owned();
    let bundle = host.scratch().join("bundle").display().to_string();
    host.loam(&[&["image", "bundle", "--entrypoint", "", &id, &bundle], &command[..]].concat()).ok();
    assert_eq!(fs::read_dir(host.scratch()).unwrap().count(), 1, "nothing beside it");
    for runtime in ["runc", "crun"] {
        assert_eq!(run(&host, runtime, &bundle), expected, "{runtime}");
    }
    // Every file is what umoci makes of the image.
    let umoci = host.scratch().join("umoci").display().to_string();
    host.sh(&format!(
        "umoci unpack --image {}:gzip {umoci} >/dev/null",
        loam_testkit::images::python().display()
    ))
    .ok();
    let list = |tree: &str| {
        let form = "%p %y %m %U:%G %s %T@ %n %l\\n";
        // A directory's size is its file system's business, the root is the unpacker's.
        host.sh(&format!(
            "cd {tree} && find . -mindepth 1 -type d -printf '%p %m %U:%G %T@\\n' -o -printf '{form}' | sort"
        ))
        .ok()
        .to_owned()
    };
    let (ours, theirs) = (list(&format!("{bundle}/rootfs")), list(&format!("{umoci}/rootfs")));
    let differing: Vec<_> =
        ours.lines().zip(theirs.lines()).filter(|(one, other)| one != other).take(5).collect();
    assert!(ours.lines().count() > 5_000 && differing.is_empty(), "{differing:?}");
    // Of devices and pipes diff compares nothing.
    let contents = format!(
        "diff -r --no-dereference {bundle}/rootfs {umoci}/rootfs | grep -v -e 'special file' -e 'is a fifo'; true"
    );
    assert_eq!(host.sh(&contents).ok(), "");
    let devices = |tree: &str| {
        host.sh(&format!("cd {tree}/rootfs && find . -type c -exec stat -c '%n %t:%T' {{}} + | sort"))
            .ok()
            .to_owned()
    };
    assert_eq!(devices(&bundle), devices(&umoci));
    host.finish();
}

#[test]
fn the_configuration_follows_the_image() {
    if !needs::met(&[Need::NativeProcessor]) {
        return;
    }
    let host = Host::new();
    let layout = host.scratch().join("layout").display().to_string();
    host.sh(&format!(
        "cp -a {} {layout} && umoci config --image {layout}:latest --config.user nobody --config.env A=b \
         --config.workingdir /srv/app --config.entrypoint /bin/echo --config.cmd from --config.cmd image \
         --config.label k=v --config.label run.oci.handler=krun --config.label org.opencontainers.image.author=me \
         --config.stopsignal SIGINT --config.exposedports 80/tcp --config.volume /etc --config.volume /data \
         --author somebody",
        loam_testkit::images::small().display()
    ))
    .ok();
    let id = host.loam(&["pull", "--quiet", &format!("oci:{layout}:latest")]).ok().to_owned();
    let bundle = host.scratch().join("bundle").display().to_string();
    fs::create_dir(&bundle).unwrap();
    let made = host.loam(&["image", "bundle", &id, &bundle]);
    made.ok();
    assert!(made.stderr.contains("`run.oci.handler` is left out"), "{made:?}");
    let config = config(&bundle);
    assert_eq!(config["root"]["path"], "rootfs");
    let process = &config["process"];
    assert_eq!(process["args"], serde_json::json!(["/bin/echo", "from", "image"]));
    assert_eq!((&process["cwd"], &process["user"]["uid"]), (&"/srv/app".into(), &65_534.into()));
    assert!(process["env"].as_array().unwrap().contains(&"A=b".into()), "{process}");
    assert!(
        fs::metadata(format!("{bundle}/rootfs/srv/app")).unwrap().is_dir(),
        "made, as not every runtime does"
    );
    let annotations = &config["annotations"];
    for (key, value) in [
        ("k", "v"),
        ("org.opencontainers.image.os", "linux"),
        ("org.opencontainers.image.author", "me"),
        ("org.opencontainers.image.stopSignal", "SIGINT"),
        ("org.opencontainers.image.exposedPorts", "80/tcp"),
    ] {
        assert_eq!(annotations[key], value, "{annotations}");
    }
    assert!(
        annotations.get("run.oci.handler").is_none()
            && annotations.get("org.opencontainers.image.created").is_some()
    );
    let volumes: Vec<_> = config["mounts"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|mount| mount["source"].as_str().unwrap_or_default().starts_with("volumes/"))
        .map(|mount| mount["destination"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(volumes, ["/data", "/etc"]);
    for runtime in ["runc", "crun"] {
        assert_eq!(run(&host, runtime, &bundle), "from image", "{runtime}");
    }
    let again = host.loam(&["image", "bundle", &id, &bundle]);
    again.refused(125, "is not empty");

    // A volume has the image's files, and what is written there stays out of the root file system.
    let write = ["sh", "-c", "test -e /etc/passwd && echo kept > /data/file && cat /data/file"];
    let other = host.scratch().join("other").display().to_string();
    host.sh(&format!("umoci config --image {layout}:latest --config.user root --clear config.entrypoint"))
        .ok();
    let root = host.loam(&["pull", "--quiet", &format!("oci:{layout}:latest")]).ok().to_owned();
    host.loam(&[&["image", "bundle", &root, &other], &write[..]].concat()).ok();
    assert_eq!(run(&host, "runc", &other), "kept");
    assert_eq!(host.sh(&format!("cat {other}/volumes/*/file; ls -A {other}/rootfs/data")).ok(), "kept");
    host.finish();
}

#[test]
fn a_bundle_has_a_user_namespace_when_it_is_asked_for() {
    let host = Host::with_small_image();
    let bundle = host.scratch().join("bundle").display().to_string();
    let look = "id -u; cut -c-32 /proc/self/uid_map | tr -s ' '; stat -c %u /bin/busybox";
    host.loam(&["image", "bundle", "--uid-map", "0:100000:65536", "small", &bundle, "sh", "-c", look]).ok();
    assert_eq!(fs::metadata(format!("{bundle}/rootfs/bin/busybox")).unwrap().uid(), 100_000);
    // Their root has to come through to the bundle.
    host.sh(&format!("chmod 711 {0}/.. {0}", host.scratch().display())).ok();
    for runtime in ["runc", "crun"] {
        assert_eq!(run(&host, runtime, &bundle), "0\n 0 100000 65536\n0", "{runtime}");
    }
    let at = |name: &str| host.scratch().join(name).display().to_string();
    let refused = |arguments: &[&str], word: &str| {
        host.loam(&[&["image", "bundle"], arguments].concat()).refused(125, word);
    };
    refused(&["--uid-map", "1:5", "small", &at("x")], "no id for 0");
    refused(&["--uid-map", "0:5:x", "small", &at("x")], "0:5:x");
    refused(&["--gid-map", "0:5", "small", &at("x")], "required arguments");
    refused(&["none", &at("x")], "none");
    refused(&["small", &at("no/x")], "no/x");
    refused(&["--hostname", "no host", "small", &at("x")], "no host");
    // Only what was made before is there.
    assert_eq!(host.sh(&format!("ls -A {} | grep -v runtime", host.scratch().display())).ok(), "bundle");
    host.finish();
}
