//! create, start, ps, stop, kill, wait, pause, inspect, stats, rm.

use loam_tests::{Host, Need, Ran, needs, until};

#[test]
fn a_container_goes_through_its_life() {
    let host = Host::with_small_image();
    let id = host.loam(&["create", "--name", "life", "small", "sleep", "1000"]).ok().to_owned();
    assert_eq!(id.len(), 64);
    assert_eq!(host.loam(&["ps", "-q"]).ok(), "", "a created container does not run");
    host.loam(&["start", "life"]).ok();
    assert!(host.loam(&["ps"]).ok().contains("life"));
    assert!(host.pid("life") > 1);
    host.loam(&["pause", "life"]).ok();
    assert!(host.loam(&["ps"]).ok().to_lowercase().contains("paused"));
    host.loam(&["unpause", "life"]).ok();
    host.loam(&["rm", "life"]).refused(125, "life");
    // `sleep` as process 1 ignores the stop signal; the wait is over after a second.
    host.loam(&["stop", "-t", "1", "life"]).ok();
    assert_eq!(host.loam(&["wait", "life"]).ok(), "137");
    host.loam(&["stop", "life"]).ok();
    host.loam(&["start", "life"]).ok();
    host.loam(&["kill", "life"]).ok();
    assert_eq!(host.loam(&["wait", "life"]).ok(), "137");
    for name in ["second", "third"] {
        host.loam(&["create", "--name", name, "small", "true"]).ok();
    }
    let names = |line: &[&str]| {
        let listed = host.loam(&[&["ps", "--output", "json"], line].concat());
        let listed: serde_json::Value = serde_json::from_str(listed.ok()).unwrap();
        listed
            .as_array()
            .unwrap()
            .iter()
            .map(|row| row["name"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(names(&["-l"]), ["third"]);
    assert_eq!(names(&["-n", "2"]), ["third", "second"]);
    assert_eq!(names(&["-n", "9"]), ["third", "second", "life"]);
    assert_eq!(names(&["-l", "-f", "name=life"]), ["life"]);
    host.loam(&["rm", "life", "second", "third"]).ok();
    host.loam(&["inspect", "life"]).refused(125, "life");
    host.finish();
}

/// As on hosts where the state is kept on another disk, and `/var/run` is `/run`.
#[test]
fn state_and_run_directories_may_be_links() {
    let host = Host::new();
    for (name, link) in [("state", host.root()), ("volatile", host.run_directory())] {
        let directory = host.scratch().join(name);
        std::fs::create_dir(&directory).expect("made");
        std::os::unix::fs::symlink(directory, link).expect("linked");
    }
    host.load_small_image();
    // With a slash at its end a link looks like what it leads to.
    let (root, run) = (format!("{}/", host.root().display()), host.run_directory().display().to_string());
    let mut command = host.command(&loam_tests::program("loam"));
    command.args(["--root", &root, "--run", &run, "run", "--rm", "--network", "none", "small", "true"]);
    Ran::of(&command.output().expect("loam runs")).ok();
    for users in [&[][..], &["--userns", "host"]] {
        host.loam(
            &[&["create", "--name", "linked"], users, &["small", "sh", "-c", "echo there > /file"]].concat(),
        )
        .ok();
        host.loam(&["start", "linked"]).ok();
        assert_eq!(host.loam(&["wait", "linked"]).ok(), "0");
        let copied = host.scratch().join("copied").display().to_string();
        host.loam(&["cp", "linked:/file", &copied]).ok();
        assert_eq!(std::fs::read_to_string(copied).expect("copied"), "there\n");
        assert!(host.loam(&["diff", "linked"]).ok().contains("/file"));
        host.loam(&["rm", "linked"]).ok();
    }
    let mounted = host.loam(&["image", "mount", "small"]).ok().to_owned();
    assert!(host.path_from_outside(std::path::Path::new(&mounted)).join("bin").exists(), "{mounted}");
    host.loam(&["image", "unmount", "small"]).ok();
    host.loam(&["system", "check"]).ok();
    host.loam(&["rmi", "small"]).ok();
    host.finish();
}

#[test]
fn of_several_that_are_started_the_one_that_fails_is_named() {
    let host = Host::with_small_image();
    host.loam(&["create", "--name", "good", "small", "true"]).ok();
    host.loam(&["create", "--name", "bad", "small", "no-such-program"]).ok();
    let ran = host.loam(&["start", "bad", "good"]);
    ran.refused(127, "container `bad` can't be started");
    assert_eq!(ran.stdout, "good\n");
    assert_eq!(host.loam(&["wait", "good"]).ok(), "0");
    host.loam(&["stats", "--no-stream", "good"]).refused(125, "good");
    host.loam(&["rm", "good", "bad"]).ok();
    host.finish();
}

#[test]
fn a_stopped_container_keeps_what_it_wrote() {
    let host = Host::with_small_image();
    host.loam(&["run", "--name", "k", "small", "sh", "-c", "echo kept > /file"]).ok();
    host.loam(&["start", "k"]).ok();
    until("it has ended again", || host.loam(&["ps", "-q"]).ok().is_empty().then_some(()));
    assert_eq!(host.loam(&["cp", "k:/file", "-"]).code, 0);
    host.finish();
}

#[test]
fn a_detached_container_that_removes_itself_is_gone() {
    let host = Host::with_small_image();
    host.start(&["--rm", "--name", "gone", "small", "true"]);
    until("it is gone", || host.loam(&["ps", "-a", "-q"]).ok().is_empty().then_some(()));
    host.finish();
}

#[test]
fn ids_names_and_prefixes_find_a_container() {
    let host = Host::with_small_image();
    let id = host.start(&["--name", "findme", "small", "sleep", "1000"]);
    for name in ["findme", &id, &id[..12], &id[..4]] {
        assert_eq!(host.inspect(name)["id"].as_str(), Some(id.as_str()), "{name}");
    }
    host.loam(&["stop", "-t", "0", "nobody"]).refused(125, "nobody");
    // By its image: as it was named, by another name of the same image, by the image's id.
    host.loam(&["tag", "small", "other:1"]).ok();
    let image = host.inspect("findme")["image"]["id"].as_str().expect("an id").to_owned();
    for ancestor in ["small", "other:1", &image, &image["sha256:".len()..][..12]] {
        let found = host.loam(&["ps", "-q", "--no-trunc", "-f", &format!("ancestor={ancestor}")]);
        assert_eq!(found.ok(), id, "{ancestor}");
    }
    host.loam(&["rmi", "other:1"]).ok();
    assert_eq!(host.loam(&["ps", "-q", "-f", "ancestor=other:1"]).ok(), "");
    host.finish();
}

#[test]
fn who_is_asked_to_stop_may_take_all_the_time() {
    let host = Host::with_small_image();
    host.start(&["--name", "polite", "small", "sh", "-c", "trap 'exit 7' TERM; while :; do sleep 0.1; done"]);
    host.loam(&["stop", "-t", "-1", "polite"]).ok();
    assert_eq!(host.loam(&["wait", "polite"]).ok(), "7");
    host.finish();
}

#[test]
fn stats_count_what_the_container_does() {
    let host = Host::with_small_image();
    host.start(&["--name", "busy", "-m", "64m", "small", "sh", "-c", "while :; do :; done"]);
    let text = host.loam(&["stats", "--no-stream", "--output", "json", "busy"]);
    let value: serde_json::Value = serde_json::from_str(text.ok()).unwrap();
    let stats = value.as_array().map_or(&value, |list| &list[0]);
    let text = stats.to_string();
    assert!(text.contains("67108864"), "the limit is shown: {text}");
    host.loam(&["rm", "-f", "busy"]).ok();
    host.finish();
}

#[test]
fn fifty_starts_four_at_a_time() {
    if !needs::met(&[Need::NativeProcessor]) {
        return;
    }
    let host = std::sync::Arc::new(Host::with_small_image());
    let threads: Vec<_> = (0..4)
        .map(|worker| {
            let host = std::sync::Arc::clone(&host);
            std::thread::spawn(move || {
                for number in 0..12 {
                    let ran = host.loam(&["run", "--rm", "small", "echo", &format!("{worker}-{number}")]);
                    assert_eq!(ran.ok(), format!("{worker}-{number}"));
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
    std::sync::Arc::into_inner(host).unwrap().finish();
}
