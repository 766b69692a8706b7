//! Disk limits: one procedure, over every mechanism.

mod killed;

use std::fs;
use std::path::Path;

use loam_tests::needs::{self, Need};
use loam_tests::quota::{FileSystem, QuotaHost};
use loam_tests::{Host, until};

/// How far from its limit a container may be stopped, in bytes.
const TOLERANCE: u64 = 64 << 10;
const LIMIT: u64 = 48 << 20;

#[test]
fn xfs_project_quotas_keep_the_promises() {
    if !needs::met(&[Need::XfsProjectQuota]) {
        return;
    }
    keeps_the_promises(QuotaHost::new(FileSystem::Xfs), "project", true);
}

#[test]
fn ext4_project_quotas_keep_the_promises() {
    if !needs::met(&[Need::Ext4ProjectQuota]) {
        return;
    }
    keeps_the_promises(QuotaHost::new(FileSystem::Ext4), "project", true);
}

#[test]
fn btrfs_quota_groups_keep_the_promises() {
    if !needs::met(&[Need::Btrfs]) {
        return;
    }
    keeps_the_promises(QuotaHost::new(FileSystem::Btrfs), "btrfs-qgroup", false);
}

#[test]
fn disk_files_keep_the_promises() {
    keeps_the_promises(QuotaHost::new(FileSystem::Plain), "disk-file", true);
}

/// The promises, one after the other. `df_is_right`: the mechanism tells `df` the truth.
fn keeps_the_promises(bed: QuotaHost, mechanism: &str, df_is_right: bool) {
    let host = bed.host();
    let info: serde_json::Value =
        serde_json::from_str(host.loam(&["info", "--output", "json"]).ok()).unwrap();
    assert_eq!(info["disk_quota"], mechanism);
    run(host, "a", LIMIT, &[]);
    run(host, "b", 8 << 20, &[]);
    if df_is_right {
        df_tells(host, mechanism, 0);
    }
    the_writer_is_stopped_at_the_limit(&bed, mechanism);
    if df_is_right {
        df_tells(host, mechanism, LIMIT);
    }
    // The neighbour has what it was promised.
    assert_eq!(
        host.loam(&["exec", "b", "sh", "-c", "head -c 4194304 /dev/zero > /f && wc -c < /f"]).ok(),
        "4194304"
    );
    near(fill(host, "b", "/more"), 4 << 20, TOLERANCE);
    deleting_makes_space(host);
    if df_is_right {
        // Some file systems free it in the background.
        until("`df` shows it", || (df(host)[2] >= LIMIT - TOLERANCE).then_some(()));
        df_tells(host, mechanism, 0);
    }
    a_machine_that_was_shut_down_keeps_limit_and_content(&bed);
    a_restart_of_everything_keeps_limit_and_content(&bed);
    a_full_one_starts_again_and_can_delete(&bed, mechanism);
    nothing_is_got_around(&bed, mechanism);
    a_limit_is_changed_while_it_runs(&bed, mechanism);
    if mechanism != "disk-file" {
        killed::a_change_that_is_killed_is_done_or_undone(&bed);
    }
    if mechanism == "project" {
        an_id_on_which_a_limit_was_left_gets_its_own(&bed);
    }
    what_has_no_limit_is_counted(&bed, mechanism);
    run(host, "f", 8 << 20, &[]);
    host.loam(&["stop", "-t", "0", "f"]).ok();
    assert_eq!(bed.lose_row("f"), [""; 0]);
    host.loam(&["rm", "f"]).ok();
    bed.finish(&["a", "b", "c", "d", "e"]);
}

fn the_writer_is_stopped_at_the_limit(bed: &QuotaHost, mechanism: &str) {
    let host = bed.host();
    near(fill(host, "a", "/big"), LIMIT, TOLERANCE);
    // A few blocks may be left. `dd` says why a write failed; `head` of busybox knows only that one did.
    let said = host.loam(&["exec", "a", "dd", "if=/dev/zero", "of=/x", "bs=4096", "count=50"]).stderr;
    assert!(said.contains("No space left") || said.to_lowercase().contains("quota exceeded"), "{said}");
    bed.sync();
    let detail = host.inspect("a");
    assert_eq!(detail["disk"]["mechanism"], mechanism);
    assert_eq!(detail["disk"]["limit"], LIMIT);
    near(detail["disk"]["used"].as_u64().unwrap(), LIMIT, 4 * TOLERANCE);
    let stats = host.loam(&["stats", "--no-stream", "--output", "json", "a"]);
    let stats: serde_json::Value = serde_json::from_str(stats.ok()).unwrap();
    assert_eq!(stats[0]["disk_limit"], LIMIT);
    near(stats[0]["disk_used"].as_u64().unwrap(), LIMIT, 4 * TOLERANCE);
}

fn deleting_makes_space(host: &Host) {
    host.loam(&["exec", "a", "rm", "/big"]).ok();
    host.loam(&["exec", "a", "sh", "-c", "rm -f /x; sync"]).ok();
    near(fill(host, "a", "/again"), LIMIT, TOLERANCE);
    host.loam(&["exec", "a", "sh", "-c", "rm /again; echo kept > /keep; sync"]).ok();
}

fn a_restart_of_everything_keeps_limit_and_content(bed: &QuotaHost) {
    let host = bed.host();
    host.loam(&["stop", "-t", "0", "a", "b"]).ok();
    assert_eq!(host.sh(&format!("{} cp a:/keep - | tar -xO", bed.loam())).ok(), "kept");
    let used = host.inspect("a")["disk"]["used"].as_u64().unwrap();
    assert!(used < LIMIT / 2, "{used}");
    bed.remount();
    host.loam(&["start", "a"]).ok();
    assert_eq!(host.loam(&["exec", "a", "cat", "/keep"]).ok(), "kept");
    near(fill(host, "a", "/big"), LIMIT, TOLERANCE);
    host.loam(&["start", "b"]).ok();
    near(fill(host, "b", "/last"), 0, TOLERANCE);
    // Killed, not stopped: what held the container's disk goes with its processes.
    let pid = host.pid("a");
    host.sh(&format!("kill -9 {pid}")).ok();
    host.loam(&["wait", "a"]).ok();
    host.loam(&["start", "a"]).ok();
    assert_eq!(host.loam(&["exec", "a", "cat", "/keep"]).ok(), "kept");
}

/// What is left of a machine that was shut down under its containers is the state directory, unmounted: no shim, no process, an empty run
/// directory. A container has its limit and its files again, and one that was at its limit still is.
fn a_machine_that_was_shut_down_keeps_limit_and_content(bed: &QuotaHost) {
    let host = bed.host();
    let processes = ["a", "b"].map(|name| [host.shim(name), host.pid(name)]).concat();
    let list = processes.iter().map(u64::to_string).collect::<Vec<_>>().join(" ");
    host.sh(&format!("kill -9 {list}; true")).ok();
    until("all of them are gone", || {
        let is_there = |pid: &u64| Path::new(&format!("/proc/{pid}")).exists();
        (!processes.iter().any(is_there)).then_some(())
    });
    fs::remove_dir_all(host.run_directory()).unwrap();
    bed.remount();
    assert_eq!(host.loam(&["ps", "-q"]).ok(), "");
    host.loam(&["start", "a", "b"]).ok();
    assert_eq!(host.loam(&["exec", "a", "cat", "/keep"]).ok(), "kept");
    assert_eq!(host.inspect("a")["disk"]["limit"], LIMIT);
    near(fill(host, "a", "/whole"), LIMIT, TOLERANCE);
    near(fill(host, "b", "/even-more"), 0, TOLERANCE);
    host.loam(&["exec", "a", "sh", "-c", "rm /whole; sync"]).ok();
}

/// At its limit, or above one that was lowered, a container is started as one that has room: it can delete, and then write.
fn a_full_one_starts_again_and_can_delete(bed: &QuotaHost, mechanism: &str) {
    let host = bed.host();
    run(host, "n", LIMIT, &[]);
    near(fill(host, "n", "/big"), LIMIT, TOLERANCE);
    host.loam(&["exec", "n", "sh", "-c", "sync"]).ok();
    let restart = || {
        host.loam(&["stop", "-t", "0", "n"]).ok();
        host.loam(&["start", "n"]).ok();
    };
    restart();
    near(fill(host, "n", "/more"), 0, TOLERANCE);
    host.loam(&["exec", "n", "rm", "-f", "/big", "/more"]).ok();
    bed.sync();
    near(fill(host, "n", "/big"), LIMIT, TOLERANCE);
    if mechanism != "disk-file" {
        // What was written last is not counted everywhere yet.
        host.loam(&["update", "--storage-opt", "size=16m", "n"]).ok();
        restart();
        killed::after_a_start_that_is_killed_the_next_one_sets_the_limit(bed, 16 << 20);
        host.loam(&["exec", "n", "rm", "-f", "/big", "/more"]).ok();
        bed.sync();
        near(fill(host, "n", "/big"), 16 << 20, TOLERANCE);
        a_copy_limits_nobody_else(bed);
    }
    host.loam(&["rm", "-f", "n"]).ok();
}

/// A state directory may be restored from a copy, whose directories have no projects and are no subvolumes.
fn a_copy_limits_nobody_else(bed: &QuotaHost) {
    let host = bed.host();
    let id = host.inspect("n")["id"].as_str().unwrap().to_owned();
    host.loam(&["stop", "-t", "0", "n"]).ok();
    let line = "mv $1 $1.kept && mkdir $1 && chmod 700 $1 && cp -a $1.kept/. $1/";
    let directory = host.root().join("snapshots").join(id);
    host.sh(&format!("set -- {}; {line}", directory.display())).ok();
    host.loam(&["start", "n"]).ok();
    assert_eq!(bed.enforced_on_all(), 0);
    host.loam(&["stop", "-t", "0", "n"]).ok();
    host.sh(&format!("set -- {}; rm -r $1 && mv $1.kept $1", directory.display())).ok();
}

/// Containers that try to move their files out of the quota, with more and more rights.
fn nothing_is_got_around(bed: &QuotaHost, mechanism: &str) {
    let host = bed.host();
    let limit: u64 = 8 << 20;
    let tool = format!("{}:/tool:ro", bed.chattr().display());
    let mounted = ["-v", tool.as_str()];
    let unconfined = if mechanism == "project" { "disk-file" } else { mechanism };
    for (name, flags, expected) in [
        ("c", &[][..], mechanism),
        ("d", &["--userns", "host"][..], mechanism),
        ("e", &["--userns", "host", "--security-opt", "seccomp=unconfined"], unconfined),
    ] {
        run(host, name, limit, &[&mounted[..], flags].concat());
        assert_eq!(host.inspect(name)["disk"]["mechanism"], expected, "{name}");
        let chattr = "/tool/ld-* --library-path /tool /tool/chattr";
        let line = format!(
            "mkdir /out /in; {chattr} -P /out; {chattr} -p 77 /out; echo > /in/f; {chattr} -p 77 /in/f /in; \
             for f in /out/1 /in/f /in/2; do head -c 6000000 /dev/zero > $f; done; cat /out/1 /in/f /in/2 | wc -c"
        );
        let ran = host.loam(&["exec", name, "sh", "-c", &line]);
        let written: u64 = ran.ok().parse().unwrap();
        assert!(written <= limit + TOLERANCE, "{name}: {ran:?}");
        if expected == "project" {
            assert!(ran.stderr.matches("setting").count() >= 3, "{name} is told no: {ran:?}");
        }
    }
}

/// Raises and lowers a limit, and sets a first one, under running containers; where that can't be done it is said.
fn a_limit_is_changed_while_it_runs(bed: &QuotaHost, mechanism: &str) {
    let host = bed.host();
    let update =
        |name: &str, size: u64| host.loam(&["update", "--storage-opt", &format!("size={size}"), name]);
    run(host, "g", 8 << 20, &[]);
    host.start(&["--name", "h", "--network", "none", "small", "sleep", "1000"]);
    if mechanism == "disk-file" {
        update("g", 16 << 20).refused(125, "whose size stays as it is");
        update("h", 16 << 20).refused(125, "nothing counts it");
        assert_eq!(host.inspect("g")["disk"]["limit"], 8 << 20);
        near(fill(host, "g", "/f"), 8 << 20, TOLERANCE);
    } else {
        near(fill(host, "g", "/f"), 8 << 20, TOLERANCE);
        assert_eq!(update("g", 16 << 20).ok(), "g");
        near(fill(host, "g", "/more"), 8 << 20, TOLERANCE);
        assert_eq!(host.inspect("g")["disk"]["limit"], 16 << 20);
        assert_eq!(host.inspect("g")["spec"]["limits"]["disk"], 16 << 20);
        // Below what it has: it can only delete until it has less.
        update("g", 8 << 20).ok();
        let said = host.loam(&["exec", "g", "sh", "-c", "echo x >> /f"]).stderr;
        assert!(said.contains("No space left") || said.to_lowercase().contains("quota exceeded"), "{said}");
        host.loam(&["exec", "g", "sh", "-c", "rm /f /more; sync"]).ok();
        near(fill(host, "g", "/f"), 8 << 20, TOLERANCE);
        update("h", 8 << 20).ok();
        near(fill(host, "h", "/f"), 8 << 20, TOLERANCE);
        host.loam(&["stop", "-t", "0", "h"]).ok();
        update("h", 16 << 20).ok();
        host.loam(&["start", "h"]).ok();
        near(fill(host, "h", "/more"), 8 << 20, TOLERANCE);
    }
    update("g", 5).refused(125, "the least is 1 MiB");
    host.loam(&["rm", "-f", "g", "h"]).ok();
}

/// A project id may have a limit when it is given out: a power cut can take the row that it was for.
fn an_id_on_which_a_limit_was_left_gets_its_own(bed: &QuotaHost) {
    let host = bed.host();
    run(host, "k", 8 << 20, &[]);
    let next = bed.project_of("k") + 1;
    for project in next..next + 3 {
        bed.limit_project(project, 1 << 20);
    }
    host.start(&["--name", "l", "--network", "none", "small", "sleep", "1000"]);
    run(host, "m", 8 << 20, &[]);
    for (name, project, limit) in [("l", next, 0), ("m", next + 1, 8 << 20)] {
        assert_eq!((bed.project_of(name), bed.project_limit(project)), (project, limit));
        let line = "head -c 4194304 /dev/zero > /f && wc -c < /f";
        assert_eq!(host.loam(&["exec", name, "sh", "-c", line]).ok(), "4194304");
    }
    bed.limit_project(next + 2, 0);
    host.loam(&["rm", "-f", "k", "l", "m"]).ok();
}

/// What a container without a limit has written is told, where the file system counts it without a walk.
fn what_has_no_limit_is_counted(bed: &QuotaHost, mechanism: &str) {
    let host = bed.host();
    let figures = || -> serde_json::Value {
        serde_json::from_str(host.loam(&["system", "df", "--output", "json"]).ok()).unwrap()
    };
    let before = figures();
    host.start(&["--name", "i", "--network", "none", "small", "sleep", "1000"]);
    let line = "head -c 8388608 /dev/zero > /f; sync";
    host.loam(&["exec", "i", "sh", "-c", line]).ok();
    bed.sync();
    let after = figures();
    let number = |figures: &serde_json::Value, name: &str| figures[name].as_u64().unwrap();
    let written = number(&after, "snapshot_bytes") - number(&before, "snapshot_bytes");
    near(written, 8 << 20, 4 * TOLERANCE);
    assert_eq!(number(&after, "limit_bytes"), number(&before, "limit_bytes"));
    let is_counted = mechanism != "disk-file";
    let walked = number(&after, "walked_snapshots") - number(&before, "walked_snapshots");
    assert_eq!(walked, u64::from(!is_counted));
    let disk = &host.inspect("i")["disk"];
    if is_counted {
        assert_eq!((&disk["mechanism"], &disk["limit"]), (&mechanism.into(), &serde_json::Value::Null));
        near(disk["used"].as_u64().unwrap(), 8 << 20, 4 * TOLERANCE);
        let stats = host.loam(&["stats", "--no-stream", "--output", "json", "i"]);
        let stats: serde_json::Value = serde_json::from_str(stats.ok()).unwrap();
        near(stats[0]["disk_used"].as_u64().unwrap(), 8 << 20, 4 * TOLERANCE);
    } else {
        assert_eq!(*disk, serde_json::Value::Null);
    }
    // With it goes what counted it, as the end of the procedure sees for the others.
    host.loam(&["stop", "-t", "0", "i"]).ok();
    assert_eq!(bed.lose_row("i"), [""; 0]);
    host.loam(&["rm", "i"]).ok();
}

/// Starts a container with a limit that sleeps.
fn run(host: &Host, name: &str, limit: u64, flags: &[&str]) {
    let size = format!("size={limit}");
    let line = ["--name", name, "--network", "none", "--storage-opt", &size];
    host.start(&[&line[..], flags, &["small", "sleep", "1000"]].concat());
}

/// Writes to a new file until that is refused; gives how many bytes it holds.
fn fill(host: &Host, name: &str, file: &str) -> u64 {
    // On btrfs a container at its limit can't even make a file.
    let line = format!("dd if=/dev/zero of={file} bs=4096 2>/dev/null; sync; cat {file} 2>/dev/null | wc -c");
    host.loam(&["exec", name, "sh", "-c", &line]).ok().parse().unwrap()
}

/// What `df` says inside of the container `a`, in bytes: its size, what is used, and what is free.
fn df(host: &Host) -> [u64; 3] {
    let line = host.loam(&["exec", "a", "sh", "-c", "df -k / | tail -n 1"]);
    let figures: Vec<u64> = line.ok().split_whitespace().filter_map(|word| word.parse().ok()).collect();
    let [size, used, free] = *figures else { panic!("{line:?}") };
    [size, used, free].map(|kibibytes| kibibytes << 10)
}

/// Checks all of it, when the container holds so many bytes.
#[track_caller]
fn df_tells(host: &Host, mechanism: &str, held: u64) {
    let [size, used, free] = df(host);
    near(free, LIMIT - held, TOLERANCE);
    near(used, held, TOLERANCE);
    near(size, used + free + kept_back(host, mechanism), TOLERANCE);
}

/// What the kernel keeps back: a fiftieth of a disk file (docs/limits.md).
fn kept_back(host: &Host, mechanism: &str) -> u64 {
    if mechanism != "disk-file" {
        return 0;
    }
    let id = host.inspect("a")["id"].as_str().unwrap().to_owned();
    let length = host.sh(&format!("stat -c %s {}/snapshots/{id}/disk", host.root().display()));
    length.ok().parse::<u64>().unwrap() / 50
}

#[track_caller]
fn near(is: u64, wanted: u64, tolerance: u64) {
    assert!(is.abs_diff(wanted) <= tolerance, "{is} is not {wanted}, give or take {tolerance}");
}

#[test]
fn a_bad_disk_limit_is_named() {
    let host = Host::with_small_image();
    let run = |option: &str| host.loam(&["run", "--rm", "--storage-opt", option, "small", "true"]);
    run("size=lots").refused(125, "lots");
    run("inodes=5").refused(125, "inodes");
    run("1g").refused(125, "1g");
    run("size=4096").refused(125, "the least is 1 MiB");
    run("size=16383p").refused(125, "too large");
    assert_eq!(host.loam(&["ps", "-a", "-q"]).ok(), "");
    host.finish();
}

#[test]
fn a_host_that_can_t_limit_says_what_is_missing() {
    let bed = QuotaHost::new(FileSystem::Plain);
    let host = bed.host();
    let run = |hide: &str| {
        let line = format!("{hide} && exec {} run --rm --storage-opt size=8m small true", bed.loam());
        host.command("unshare").args(["--mount", "sh", "-c", &line]).output().unwrap()
    };
    let said = |output: std::process::Output| {
        assert_eq!(output.status.code(), Some(125));
        String::from_utf8(output.stderr).unwrap()
    };
    let text = said(run("mount -t tmpfs none /usr/sbin && { [ -L /sbin ] || mount -t tmpfs none /sbin; }"));
    assert!(text.contains("mkfs.ext4") && text.contains("e2fsprogs"), "{text}");
    let bare = "d=$(mktemp -d) && mount -t tmpfs none $d && cp -a /dev/null /dev/urandom /dev/random $d/ && \
                mount --move $d /dev && rmdir $d";
    let text = said(run(bare));
    assert!(text.contains("loop device"), "{text}");
    assert_eq!(host.loam(&["ps", "-a", "-q"]).ok(), "");
    bed.finish(&[]);
}
