//! What is turned off is not used: the system calls that show a feature are made with it and not without, and then those of
//! the other way are. `cgroup.kill`, which is a file, has its test in `limits/processes.rs`.

use loam_tests::trace::with_words;
use loam_tests::{Host, Trace, until};

/// All calls that show something.
const CALLS: &str = "fsopen,fsconfig,fsmount,move_mount,open_tree,mount_setattr,mount,openat,openat2,pidfd_open,\
                     pidfd_send_signal,kill,clone,clone3";

/// Words that one call's line has, all of them.
type Call = &'static [&'static str];

/// What shows a feature.
struct Sign {
    feature: &'static str,
    /// One of these is made with the feature, none without.
    used: &'static [Call],
    /// One of these is made without it.
    otherwise: &'static [Call],
}

/// Those of starting and stopping a container.
const SIGNS: [Sign; 6] = [
    Sign {
        feature: "layer-descriptors",
        used: &[&[" fsconfig(", "FSCONFIG_SET_FD", "\"lowerdir+\""]],
        otherwise: &[&[" fsconfig(", "FSCONFIG_SET_STRING", "\"lowerdir+\""]],
    },
    Sign {
        feature: "lowerdir+",
        used: &[&[" fsconfig(", "\"lowerdir+\""]],
        otherwise: &[&[" mount(\"overlay\"", "lowerdir=/proc/self/fd/"]],
    },
    Sign {
        feature: "idmapped-mounts",
        used: &[&[" mount_setattr(", "MOUNT_ATTR_IDMAP"]],
        // Owners are changed in the container's own directory, contents stay in the layer.
        otherwise: &[&[" fsconfig(", "\"metacopy\", \"on\""], &[" mount(\"overlay\"", ",metacopy=on"]],
    },
    Sign { feature: "openat2", used: &[&[" openat2("]], otherwise: &[&[" openat(", "O_NOFOLLOW", "O_PATH"]] },
    Sign {
        feature: "pidfd",
        used: &[&[" pidfd_open("], &[" pidfd_send_signal("]],
        otherwise: &[&[" kill(", "SIGTERM"]],
    },
    Sign {
        feature: "clone3",
        used: &[&[" clone3(", "CLONE_NEWPID"]],
        otherwise: &[&[" clone(", "CLONE_NEWPID"]],
    },
];

/// The calls of mounts by descriptor, each of which shows the feature.
const MOUNT_API: [Call; 6] = [
    &[" fsopen("],
    &[" fsconfig("],
    &[" fsmount("],
    &[" move_mount("],
    &[" open_tree("],
    &[" mount_setattr("],
];

/// What starting and stopping a container calls with this feature turned off.
fn start_and_stop(feature: &str) -> Vec<String> {
    let host = Host::with_small_image();
    let variables = [("LOAM_WITHOUT", feature)];
    let run = ["run", "--rm", "--name", "c", "--network", "none", "small", "sleep", "1000"];
    let trace = Trace::of(&host, CALLS, &variables, &run);
    until("it runs and is stopped", || {
        (host.loam_with(&variables, &["stop", "-t", "0", "c"]).code == 0).then_some(())
    });
    let calls = trace.end();
    host.finish();
    calls
}

fn has_one(calls: &[String], of: &[Call]) -> bool {
    of.iter().any(|call| !with_words(calls, call).is_empty())
}

#[test]
fn what_is_turned_off_is_not_called() {
    let with_all = start_and_stop("");
    for Sign { feature, used, .. } in &SIGNS {
        assert!(has_one(&with_all, used), "{feature} is not used: {with_all:#?}");
    }
    for Sign { feature, used, otherwise } in &SIGNS {
        let without = start_and_stop(feature);
        for call in *used {
            assert_eq!(with_words(&without, call), [""; 0], "without {feature}");
        }
        assert!(has_one(&without, otherwise), "no other way without {feature}: {without:#?}");
    }
}

/// What looking into a stopped container calls with this feature turned off. Another runtime would start it, by calls of its
/// own choice.
fn look_inside(feature: &str) -> Vec<String> {
    let host = Host::with_small_image();
    let variables = [("LOAM_WITHOUT", feature)];
    let create = ["create", "--runtime", "crun", "--name", "c", "--network", "none", "small", "true"];
    host.loam_with(&variables, &create).ok();
    let copy = host.scratch().join("copy").display().to_string();
    let calls = Trace::of(&host, CALLS, &variables, &["cp", "c:/etc/passwd", &copy]).end();
    assert!(std::fs::read_to_string(&copy).unwrap().starts_with("root:"));
    host.finish();
    calls
}

#[test]
fn without_the_mount_calls_none_of_them_is_made() {
    let with = look_inside("");
    // Asking for a feature calls each for what can't be; using it does not.
    let used: [Call; 3] = [
        &[" fsopen(\"overlay\""],
        &[" open_tree(", "OPEN_TREE_CLONE"],
        &[" mount_setattr(", "MOUNT_ATTR_IDMAP"],
    ];
    for call in MOUNT_API.into_iter().chain(used) {
        assert!(has_one(&with, &[call]), "{call:?} is not made: {with:#?}");
    }
    let without = look_inside("mount-api");
    for call in MOUNT_API {
        assert_eq!(with_words(&without, call), [""; 0]);
    }
    assert!(has_one(&without, &[&[" mount(\"overlay\""]]), "{without:#?}");
}
