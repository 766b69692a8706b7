//! Processes that die while a disk limit is being changed.

use loam_tests::needs::Need;
use loam_tests::quota::QuotaHost;

/// What is before and after the file system is told a limit: `update` is killed before the Nth of these.
const STEPS: &str = "ioctl,quotactl_fd,pwrite64,fdatasync";

/// Wherever `update` dies, the limit that is enforced is the one that is shown. An emulated processor leaves some places out:
/// of those where it counts it has one all the same.
pub(super) fn a_change_that_is_killed_is_done_or_undone(bed: &QuotaHost) {
    let host = bed.host();
    let (first, stride) = if Need::NativeProcessor.is_met() { (1, 1) } else { (9, 3) };
    for (name, flags) in [("k", &["--storage-opt", "size=8m"][..]), ("l", &[])] {
        host.start(&[&["--name", name, "--network", "none"], flags, &["small", "sleep", "1000"]].concat());
        let id = host.inspect(name)["id"].as_str().unwrap().to_owned();
        let mut killed = 0;
        for step in (first..).step_by(stride) {
            let trace = format!(
                "strace -f -qq -o /dev/null -e trace={STEPS} -e inject={STEPS}:signal=KILL:when={step}"
            );
            let size = 8 + (step % 7);
            let changed =
                host.sh(&format!("{trace} {} update --storage-opt size={size}m {name}", bed.loam()));
            let shown = host.inspect(name)["disk"]["limit"].as_u64().unwrap_or(0);
            assert_eq!(shown, bed.enforced(&id), "{name}, step {step}");
            if changed.code == 0 {
                assert_eq!(shown, size << 20);
                break;
            }
            assert_eq!(changed.code, 137, "{changed:?}");
            killed += 1;
        }
        assert!(killed > 3, "{killed}");
    }
    host.loam(&["rm", "-f", "k", "l"]).ok();
}

/// What a process calls while the limit is lifted: a step for each setting of the overlay.
const MOUNTING: &str = "fsconfig";

/// Wherever the process dies that mounts the full container `n`, the next start works and sets the limit that it had.
pub(super) fn after_a_start_that_is_killed_the_next_one_sets_the_limit(bed: &QuotaHost, limit: u64) {
    let host = bed.host();
    let id = host.inspect("n")["id"].as_str().unwrap().to_owned();
    let mut raised = 0;
    // Each process has a count of its own; the first call of each only asks whether there is such a call. The last ones are after
    // the overlay. An emulated processor leaves some out.
    let stride = if Need::NativeProcessor.is_met() { 1 } else { 2 };
    for step in (2..=9).step_by(stride) {
        host.loam(&["stop", "-t", "0", "n"]).ok();
        let trace = format!("timeout 120 strace -f -qq -o /dev/null -e trace={MOUNTING}");
        let inject = format!("-e inject={MOUNTING}:signal=KILL:when={step}");
        let started = host.sh(&format!("{trace} {inject} {} start n", bed.loam()));
        assert_eq!(started.code, 125, "step {step}: {started:?}");
        raised += u32::from(bed.enforced(&id) > limit);
        host.loam(&["start", "n"]).ok();
        assert_eq!(bed.enforced(&id), limit, "step {step}");
    }
    assert!(raised > 0, "it was never killed while the limit was raised");
}
