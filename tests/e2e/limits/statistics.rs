//! What `stats` tells of limits that were felt.

use loam_tests::cgroup::is_version_two;
use loam_tests::{Host, until};
use serde_json::Value;

fn stats(host: &Host, container: &str) -> Value {
    let text = host.loam(&["stats", "--no-stream", "-o", "json", container]).ok().to_owned();
    let list: Value = serde_json::from_str(&text).unwrap();
    list[0].clone()
}

#[test]
fn stats_tell_of_memory_that_was_short() {
    let host = Host::with_small_image();
    let eat = "tail -c 100000000 /dev/zero >/dev/null; sleep 1000";
    host.start(&["--name", "m", "-m", "16m", "small", "sh", "-c", eat]);
    let figures = until("a process was killed", || {
        let figures = stats(&host, "m");
        (figures["memory_events"]["oom_kill"].as_u64()? > 0).then_some(figures)
    });
    let events = &figures["memory_events"];
    if is_version_two() {
        assert!(events["max"].as_u64().unwrap() > 0, "{figures:#}");
        assert!(events["oom"].as_u64().unwrap() > 0 && events["high"].as_u64() == Some(0), "{figures:#}");
    } else {
        // What version 1 does not count is not there, which is not zero.
        assert!(
            events["max"].is_null()
                && events["oom"].is_null()
                && events["high"].is_null()
                && events["low"].is_null(),
            "{figures:#}"
        );
    }
    host.finish();
}

#[test]
fn stats_tell_of_the_time_lost_waiting() {
    let host = Host::with_small_image();
    host.start(&["--name", "p", "--cpus", "0.2", "small", "sh", "-c", "while :; do :; done"]);
    let table = || host.loam(&["stats", "--no-stream", "p"]).ok().to_owned();
    if is_version_two() {
        // A container that is held back waits for a processor nearly all the time.
        until("it has waited", || {
            let figures = stats(&host, "p");
            (figures["cpu_pressure"]["some"]["total_us"].as_u64()? > 500_000).then_some(())
        });
        let figures = stats(&host, "p");
        assert!(figures["memory_pressure"]["some"]["avg10"].is_number(), "{figures:#}");
        assert!(figures["io_pressure"]["full"]["total_us"].is_number(), "{figures:#}");
        assert!(table().contains("WAITED"), "{}", table());
    } else {
        let figures = stats(&host, "p");
        assert!(figures["cpu_pressure"].is_null() && figures["io_pressure"].is_null(), "{figures:#}");
        assert!(!table().contains("WAITED"), "{}", table());
    }
    host.finish();
}
