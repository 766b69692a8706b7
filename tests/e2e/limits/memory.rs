//! Memory: who wants more than the limit is killed, and that is told.

use loam_tests::Host;
use loam_tests::memory::SwapSpace;

/// A program that holds some 48 MiB, in files in memory.
const HOLD: &str = "dd if=/dev/zero of=/dev/shm/held bs=1M count=48 2>/dev/null && echo held";

on_both_versions!(memory_beyond_the_limit_kills_and_is_told);
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

on_both_versions!(memory_within_the_limit_is_had);
fn memory_within_the_limit_is_had() {
    let host = Host::with_small_image();
    let ran = host.loam(&["run", "--rm", "-m", "96m", "--shm-size", "64m", "small", "sh", "-c", HOLD]);
    assert_eq!(ran.ok(), "held");
    host.finish();
}

on_both_versions!(swap_beyond_memory_is_had_and_no_more, Swap);
fn swap_beyond_memory_is_had_and_no_more() {
    let host = Host::with_small_image();
    let swap = SwapSpace::borrow().expect("the test needs some");
    let run = |swap: &[&str]| {
        let limits = ["run", "--rm", "-m", "32m", "--shm-size", "64m"];
        host.loam(&[&limits, swap, &["small", "sh", "-c", HOLD]].concat())
    };
    for none in [&[][..], &["--memory-swap", "32m"], &["--memory-swap", "40m"]] {
        let ran = run(none);
        assert!(!ran.stdout.contains("held"), "{none:?}: {ran:?}");
    }
    assert_eq!(run(&["--memory-swap", "96m"]).ok(), "held");
    drop(swap);
    host.finish();
}
