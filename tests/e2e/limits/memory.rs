//! Memory: who wants more than the limit is killed, and that is told.

use loam_tests::{Host, Need, needs};

/// A program that holds some 48 MiB, in files in memory.
const HOLD: &str = "dd if=/dev/zero of=/dev/shm/held bs=1M count=48 2>/dev/null && echo held";

#[test]
fn memory_beyond_the_limit_kills_and_is_told() {
    let host = Host::with_small_image();
    let eat = "exec tail -c 200000000 /dev/zero";
    let ran = host.loam(&["run", "--name", "m", "-m", "16m", "small", "sh", "-c", eat]);
    assert_eq!(ran.code, 137, "{ran:?}");
    let detail = host.inspect("m");
    assert_eq!(detail["exit"]["out_of_memory"], true, "{detail:#}");
    let ran = host.loam(&["run", "--name", "killed", "-m", "64m", "small", "sh", "-c", "kill -9 $$; exit 3"]);
    assert_eq!(host.inspect("killed")["exit"]["out_of_memory"], false, "{ran:?}");
    host.finish();
}

#[test]
fn memory_within_the_limit_is_had() {
    let host = Host::with_small_image();
    let ran = host.loam(&["run", "--rm", "-m", "96m", "--shm-size", "64m", "small", "sh", "-c", HOLD]);
    assert_eq!(ran.ok(), "held");
    host.finish();
}

#[test]
fn swap_beyond_memory_is_had_and_no_more() {
    if !needs::met(&[Need::Swap]) {
        return;
    }
    let host = Host::with_small_image();
    let file = host.scratch().join("swap").display().to_string();
    let swaps = std::fs::read_to_string("/proc/swaps").unwrap();
    let made = swaps.lines().count() < 2;
    if made {
        host.sh(&needs::make_swap(&file)).ok();
    }
    let run = |swap: &str| {
        host.loam(&[
            "run",
            "--rm",
            "-m",
            "32m",
            "--memory-swap",
            swap,
            "--shm-size",
            "64m",
            "small",
            "sh",
            "-c",
            HOLD,
        ])
    };
    let (none, some) = (run("32m"), run("96m"));
    if made {
        host.sh(&format!("swapoff '{file}'")).ok();
    }
    assert!(!none.stdout.contains("held"), "{none:?}");
    assert_eq!(some.ok(), "held");
    host.finish();
}
