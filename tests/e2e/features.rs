//! Every kernel feature that has another way: the main job comes to the same with the feature turned off.

mod calls;
mod sandbox;

use loam_tests::{Host, Need, Ran, needs};

/// What a person does with containers, with this feature turned off; gives everything that was said.
fn main_job(feature: &str, runtime: &[&str]) -> Vec<String> {
    main_job_by(runtime, |host, arguments| host.loam_with(&[("LOAM_WITHOUT", feature)], arguments))
}

/// The same with another way to run `loam`.
fn main_job_by(runtime: &[&str], run: impl Fn(&Host, &[&str]) -> Ran) -> Vec<String> {
    let host = Host::new();
    let loam = |arguments: &[&str]| run(&host, arguments).ok().to_owned();
    let image = format!("oci:{}", loam_testkit::images::small().display());
    loam(&["pull", "--quiet", &image]);
    loam(&["tag", &loam(&["images", "-q"]), "small"]);
    let data = host.scratch().join("data");
    std::fs::create_dir(&data).unwrap();
    std::fs::write(data.join("file"), "from the host").unwrap();
    let volume = format!("{}:/data:ro,noidmap", data.display());
    let run = |arguments: &[&str]| loam(&[&["run"], runtime, arguments].concat());

    let mut said = Vec::new();
    let look = "id -u; id -g; stat -c '%n %u:%g %a' /bin/busybox /etc /tmp /etc/hosts; cat /data/file; echo; \
                touch /mine && stat -c '%u:%g' /mine; rm /bin/sh && ls /bin/sh 2>&1 | wc -l; \
                cat /proc/self/uid_map | wc -l; env | grep -c LOAM_; true";
    said.push(run(&["--rm", "--init", "-v", &volume, "small", "sh", "-c", look, "x"]).replace("65534", "0"));
    said.push(run(&["--rm", "--user", "1000:1000", "--read-only", "small", "id", "-u"]));
    let more = "echo first; trap 'echo asked; exit 7' TERM; touch /tmp/ready; while :; do sleep 0.1; done";
    let id = run(&["-d", "--name", "c", "small", "sh", "-c", more]);
    assert_eq!(id.len(), 64);
    let wait = "until [ -e /tmp/ready ]; do sleep 0.1; done; echo in it";
    if runtime.is_empty() {
        said.push(loam(&["exec", "--user", "7", "c", "sh", "-c", &format!("{wait}; id -u")]));
    } else {
        said.push(loam(&["exec", "c", "sh", "-c", wait]) + "\n7");
    }
    let copy = host.scratch().join("copy");
    loam(&["cp", "c:/etc/hostname", &copy.display().to_string()]);
    said.push(std::fs::read_to_string(&copy).unwrap().replace(&id[..12], "ID"));
    loam(&["stop", "c"]);
    said.push(loam(&["wait", "c"]));
    said.push(loam(&["logs", "--follow", "c"]));
    // A second start finds the files as the first left them.
    loam(&["cp", &copy.display().to_string(), "c:/tmp/again"]);
    loam(&["start", "c"]);
    said.push(loam(&["exec", "c", "stat", "-c", "%u:%g %n", "/tmp/again", "/tmp/ready", "/bin/busybox"]));
    loam(&["kill", "c"]);
    said.push(loam(&["wait", "c"]));
    loam(&["rm", "-f", "c"]);
    host.finish();
    said
}

/// The main job with every feature that the kernel has.
fn expected() -> Vec<String> {
    let said = main_job("", &[]);
    assert!(said[0].contains("/bin/busybox 0:0") && said[0].contains("from the host"), "{said:#?}");
    assert!(said[0].ends_with("\n1\n0"), "a user namespace, and nothing of our environment: {said:#?}");
    assert_eq!(said[2], "in it\n7", "{said:#?}");
    assert_eq!((said[4].as_str(), said[5].as_str()), ("7", "first\nasked"), "{said:#?}");
    said
}

#[test]
fn without_any_one_feature_the_main_job_comes_to_the_same() {
    if !needs::met(&[Need::NativeProcessor]) {
        return;
    }
    let expected = expected();
    let features =
        ["layer-descriptors", "lowerdir+", "idmapped-mounts", "cgroup.kill", "openat2", "pidfd", "clone3"];
    for feature in features {
        assert_eq!(main_job(feature, &[]), expected, "without {feature}");
    }
}

#[test]
fn without_all_of_them_too() {
    let all = "layer-descriptors,lowerdir+,idmapped-mounts,cgroup.kill,openat2,pidfd,clone3";
    assert_eq!(main_job(all, &[]), expected());
}

#[test]
fn without_the_mount_calls_another_runtime_does_it() {
    assert_eq!(main_job("mount-api", &["--runtime", "crun"]), expected());
    let host = Host::with_small_image();
    let ran = host.loam_with(&[("LOAM_WITHOUT", "mount-api")], &["run", "--rm", "small", "true"]);
    ran.refused(125, "mount calls");
    assert!(ran.stderr.contains("--runtime crun"), "{ran:?}");
    // Neither is a container made that could not be started.
    host.loam_with(&[("LOAM_WITHOUT", "mount-api")], &["create", "small", "true"])
        .refused(125, "mount calls");
    assert_eq!(host.loam(&["ps", "-aq"]).ok(), "");
    host.finish();
}

#[test]
fn a_volume_whose_ids_can_not_be_shifted_is_refused() {
    let host = Host::with_small_image();
    let volume = format!("{}:/data", host.scratch().display());
    let arguments = ["run", "--rm", "-v", &volume, "small", "true"];
    let ran = host.loam_with(&[("LOAM_WITHOUT", "idmapped-mounts")], &arguments);
    ran.refused(125, &host.scratch().display().to_string());
    assert!(ran.stderr.contains("noidmap"), "{ran:?}");
    host.finish();
}

#[test]
fn a_state_and_a_run_directory_in_memory_serve_on_every_kernel() {
    let host = Host::new();
    let (root, run) = (host.root(), host.run_directory());
    let (root, run) = (root.display(), run.display());
    // Before Linux 6.3 no file system in memory shifts ids.
    host.sh(&format!("for d in '{root}' '{run}'; do mkdir -p $d && mount -t tmpfs tmpfs $d || exit; done"))
        .ok();
    host.loam(&["pull", "--quiet", &format!("oci:{}", loam_testkit::images::small().display())]).ok();
    host.loam(&["tag", host.loam(&["images", "-q"]).ok(), "small"]).ok();
    let line = "stat -c '%u:%g' /bin/busybox /etc/hosts; touch /x; stat -c %u /x";
    let ran = host.loam(&["run", "--rm", "--init", "small", "sh", "-c", line]);
    assert_eq!(ran.ok(), "0:0\n0:0\n0");
    host.sh(&format!("umount '{root}' '{run}'")).ok();
    host.finish();
}

#[test]
fn a_disk_limit_holds_without_idmapped_mounts() {
    let host = Host::with_small_image();
    let without = [("LOAM_WITHOUT", "idmapped-mounts")];
    let line = "stat -c %u:%g /bin/busybox && echo kept > /kept && stat -c %u /kept && dd if=/dev/zero of=/big bs=4096";
    let run = ["run", "--name", "c", "--storage-opt", "size=8m", "small", "sh", "-c", line];
    let ran = host.loam_with(&without, &run);
    assert_eq!(ran.stdout, "0:0\n0\n");
    assert!(ran.code != 0 && ran.stderr.contains("No space left"), "{ran:?}");
    // The files have the host's ids from now on, also with idmapped mounts.
    for environment in [&without[..], &[]] {
        host.loam_with(environment, &["start", "c"]).ok();
        host.loam(&["wait", "c"]).ok();
        assert!(host.loam(&["logs", "c"]).ok().ends_with("0:0\n0"));
    }
    host.loam(&["rm", "c"]).ok();
    host.finish();
}

/// All that can be turned off, in the order in which they are told.
const FEATURES: [&str; 8] = [
    "mount-api",
    "layer-descriptors",
    "lowerdir+",
    "idmapped-mounts",
    "cgroup.kill",
    "openat2",
    "pidfd",
    "clone3",
];

#[test]
fn what_is_turned_off_shows_and_must_exist() {
    let host = Host::new();
    let told_off = |without: &str| -> Vec<String> {
        let ran = host.loam_with(&[("LOAM_WITHOUT", without)], &["info", "-o", "json"]);
        let info: serde_json::Value = serde_json::from_str(ran.ok()).unwrap();
        let features = info["host"]["features"].as_array().unwrap();
        assert_eq!(features.iter().map(|one| &one["name"]).collect::<Vec<_>>(), FEATURES);
        let off = features.iter().filter(|one| one["state"] == "turned-off");
        off.map(|one| one["name"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(told_off(""), [""; 0]);
    for feature in FEATURES {
        assert_eq!(told_off(feature), [feature]);
        let said = host.loam_with(&[("LOAM_WITHOUT", feature)], &["info"]);
        let line = said.ok().lines().find(|line| line.trim_start().starts_with(feature));
        assert!(line.is_some_and(|line| line.contains("turned off: ")), "{feature}: {said:?}");
    }
    assert_eq!(told_off("openat2,pidfd"), ["openat2", "pidfd"]);
    assert_eq!(told_off(&FEATURES.join(",")), FEATURES);
    host.loam_with(&[("LOAM_WITHOUT", "openat2,openat3")], &["ps"]).refused(125, "openat3");
    host.finish();
}
