//! Limits, read back from the kernel and felt.

use loam_tests::Host;

#[test]
fn memory_beyond_the_limit_kills_and_is_told() {
    let host = Host::with_small_image();
    let eat = "tail -c 200000000 /dev/zero > /dev/null; echo survived";
    let ran = host.loam(&["run", "--name", "m", "-m", "16m", "small", "sh", "-c", eat]);
    assert!(!ran.stdout.contains("survived") || ran.code != 0 || ran.stderr.contains("Killed"), "{ran:?}");
    let detail = host.inspect("m").to_string().to_lowercase();
    assert!(detail.contains("\"out_of_memory\":true") || detail.contains("\"oom_killed\":true"), "{detail}");
    host.finish();
}

#[test]
fn a_fork_bomb_stops_at_its_limit() {
    let host = Host::with_small_image();
    let bomb = "for i in 1 2 3 4 5 6 7 8 9 10; do sleep 5 & done; echo $(ls -d /proc/[0-9]* | wc -l)";
    let ran = host.loam(&["run", "--rm", "--pids-limit", "6", "small", "sh", "-c", bomb]);
    assert!(ran.stderr.contains("fork") || ran.stdout.trim().parse::<u32>().is_ok_and(|n| n <= 7), "{ran:?}");
    host.finish();
}

#[test]
fn the_kernel_has_the_numbers_that_were_asked_for() {
    let host = Host::with_small_image();
    let id = host.start(&[
        "--name",
        "n",
        "-m",
        "32m",
        "--cpus",
        "0.5",
        "--pids-limit",
        "77",
        "small",
        "sleep",
        "1000",
    ]);
    let read = |file: &str| {
        let v1 = format!(
            "cat /sys/fs/cgroup/*/loam-{id}/{file} 2>/dev/null || cat /sys/fs/cgroup/loam-{id}/{file}"
        );
        host.sh(&v1).stdout.trim().to_owned()
    };
    let memory = [read("memory.limit_in_bytes"), read("memory.max")].concat();
    assert_eq!(memory, "33554432");
    assert_eq!(read("pids.max"), "77");
    let quota = [read("cpu.cfs_quota_us"), read("cpu.max")].concat();
    assert!(quota == "50000" || quota == "50000 100000", "{quota}");
    host.finish();
}
