//! Processes: how many there may be, and stopping or ending all of them at once.

use std::fs;
use std::thread::sleep;
use std::time::Duration;

use loam_tests::cgroup::is_version_two;
use loam_tests::trace::with_words;
use loam_tests::{Host, Need, Trace, needs, until};

/// Makes children without end, each of which does. A shell that can't fork ends; the first process does not try.
const BOMB: &str = "bomb() { bomb & bomb; }; bomb 2>/dev/null & exec sleep 1000";
/// Makes as many processes as there may be.
const MANY: &str = "(while :; do sleep 1000 & done) 2>/dev/null & exec sleep 1000";

#[test]
fn a_fork_bomb_stops_at_its_limit() {
    let host = Host::with_small_image();
    host.start(&["--name", "bomb", "--pids-limit", "30", "small", "sh", "-c", BOMB]);
    let cgroup = host.cgroup("bomb");
    until("the limit is reached", || {
        (cgroup.keyed(("pids", "pids.events"), "pids.events", "max") > 0).then_some(())
    });
    for _ in 0..50 {
        let count = cgroup.number(("pids", "pids.current"), "pids.current");
        assert!(count <= 30, "{count} processes");
    }
    host.loam(&["rm", "-f", "bomb"]).ok();
    host.finish();
}

#[test]
fn a_paused_container_stands_still() {
    let host = Host::with_small_image();
    let data = host.scratch();
    fs::set_permissions(&data, std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
    let count = "i=0; while :; do i=$((i+1)); echo $i > /data/n; done";
    let volume = format!("{}:/data", data.display());
    host.start(&["--name", "c", "-v", &volume, "small", "sh", "-c", count]);
    let read = || fs::read_to_string(data.join("n")).unwrap_or_default();
    until("it counts", || (read().trim().parse::<u64>().ok()? > 5).then_some(()));
    host.loam(&["pause", "c"]).ok();
    let cgroup = host.cgroup("c");
    if is_version_two() {
        assert_eq!(cgroup.read(("", ""), "cgroup.freeze"), "1");
        assert_eq!(cgroup.keyed(("", ""), "cgroup.events", "frozen"), 1);
    } else {
        assert_eq!(cgroup.read(("freezer", "freezer.state"), ""), "FROZEN");
    }
    let (stands, used) = (read(), cgroup.processor_time());
    sleep(Duration::from_millis(500));
    assert_eq!((read(), cgroup.processor_time()), (stands.clone(), used));
    host.loam(&["unpause", "c"]).ok();
    until("it goes on", || (read() != stands && !read().is_empty()).then_some(()));
    host.finish();
}

/// Starts a container with many processes, with this feature turned off.
fn start_many(host: &Host, without: &str) {
    let line = ["run", "-d", "--name", "k", "--pids-limit", "60", "small", "sh", "-c", MANY];
    host.loam_with(&[("LOAM_WITHOUT", without)], &line).ok();
    let cgroup = host.cgroup("k");
    until("there are many", || (cgroup.number(("pids", "pids.current"), "pids.current") > 20).then_some(()));
}

#[test]
fn a_stop_ends_all_processes_with_and_without_cgroup_kill() {
    for without in ["", "cgroup.kill"] {
        let host = Host::with_small_image();
        start_many(&host, without);
        host.loam_with(&[("LOAM_WITHOUT", without)], &["stop", "-t", "0", "k"]).ok();
        assert_eq!(host.inspect("k")["state"], "stopped");
        host.finish();
    }
}

/// What the shim of a container with many processes does to kill them: how often it writes to `cgroup.kill`, and how many
/// get the signal from it. That they are gone says nothing: all others in the container die with process 1.
fn writes_and_signals(without: &str) -> (usize, usize) {
    let host = Host::with_small_image();
    start_many(&host, without);
    let trace = Trace::attach(&host, "write,kill,pidfd_send_signal", host.shim("k"));
    host.loam_with(&[("LOAM_WITHOUT", without)], &["stop", "-t", "0", "k"]).ok();
    let calls = trace.end();
    host.finish();
    let writes = with_words(&calls, &[" write(", "/cgroup.kill>, \"1\", 1)"]);
    (writes.len(), with_words(&calls, &[", SIGKILL"]).len())
}

#[test]
fn one_write_kills_them_where_the_kernel_has_cgroup_kill() {
    if !needs::met(&[Need::CgroupV2]) {
        return;
    }
    let (writes, signals) = writes_and_signals("");
    assert!(writes > 0 && signals == 0, "{writes} writes, {signals} signals");
    let (writes, signals) = writes_and_signals("cgroup.kill");
    assert!(writes == 0 && signals > 20, "{writes} writes, {signals} signals");
}
