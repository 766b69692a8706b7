//! Processors: who spins gets its share, and no other processor than allowed.

use std::thread::sleep;
use std::time::{Duration, Instant};

use loam_tests::Host;
use loam_tests::cgroup::CgroupFiles;

/// A shell that never rests.
const SPIN: &str = "while :; do :; done";
/// How long is measured.
const SPAN: Duration = Duration::from_secs(3);
/// The quota and the period of half a processor, in microseconds.
const QUOTA: u64 = 50_000;

/// Periods in which the limit was reached.
fn throttled(cgroup: &CgroupFiles) -> u64 {
    cgroup.keyed(("cpu", "cpu.stat"), "cpu.stat", "nr_throttled")
}

on_both_versions!(one_that_spins_gets_its_share);
fn one_that_spins_gets_its_share() {
    let host = Host::with_small_image();
    host.start(&["--name", "spin", "--cpus", "0.5", "small", "sh", "-c", SPIN]);
    let cgroup = host.cgroup("spin");
    loam_tests::until("the limit is reached", || (throttled(&cgroup) > 0).then_some(()));
    let (begin, used, held) = (Instant::now(), cgroup.processor_time(), throttled(&cgroup));
    sleep(SPAN);
    loam_tests::until("it is held back again and again", || (throttled(&cgroup) > held + 2).then_some(()));
    let used = cgroup.processor_time() - used;
    let (held, elapsed) = (throttled(&cgroup) - held, begin.elapsed().as_secs_f64());
    let share = Duration::from_micros(used).as_secs_f64() / elapsed;
    assert!(share < 0.5 * 1.1, "{share} of a processor");
    // A busy machine gives less; but in every period in which it was held back it had its whole quota.
    assert!(used as f64 > (held.saturating_sub(1) * QUOTA) as f64 * 0.9, "{used} µs in {held} periods");
    host.finish();
}

on_both_versions!(weights_divide_a_processor);
fn weights_divide_a_processor() {
    let host = Host::with_small_image();
    for (name, shares) in [("one", "1024"), ("three", "3072")] {
        let limits = ["--cpu-shares", shares, "--cpuset-cpus", "0"];
        host.start(&[&["--name", name], &limits[..], &["small", "sh", "-c", SPIN]].concat());
    }
    let (one, three) = (host.cgroup("one"), host.cgroup("three"));
    let weight = |cgroup: &CgroupFiles| cgroup.number(("cpu", "cpu.shares"), "cpu.weight") as f64;
    // In version 2 the weights are not the shares, but what the kernel has is what it must give.
    let wanted = weight(&three) / weight(&one);
    let before = (one.processor_time(), three.processor_time());
    sleep(SPAN * 2);
    let used = (one.processor_time() - before.0, three.processor_time() - before.1);
    let had = used.1 as f64 / used.0 as f64;
    assert!((had / wanted - 1.0).abs() < 0.1, "{had} times as much, {wanted} was asked for: {used:?}");
    host.finish();
}

on_both_versions!(only_the_allowed_processors_are_used);
fn only_the_allowed_processors_are_used() {
    let host = Host::with_small_image();
    let look = "grep Cpus_allowed_list /proc/self/status | cut -f2; grep Mems_allowed_list /proc/self/status | cut -f2; nproc";
    let ran =
        host.loam(&["run", "--rm", "--cpuset-cpus", "0", "--cpuset-mems", "0", "small", "sh", "-c", look]);
    assert_eq!(ran.ok(), "0\n0\n1");
    host.loam(&["run", "--rm", "--cpuset-cpus", "999", "small", "true"]).refused(125, "processor list `999`");
    host.finish();
}
