//! What `stats` tells of limits that were felt.

use loam_tests::{Host, Need, needs, until};
use serde_json::Value;

fn stats(host: &Host, container: &str) -> Value {
    let text = host.loam(&["stats", "--no-stream", "-o", "json", container]).ok().to_owned();
    let list: Value = serde_json::from_str(&text).unwrap();
    list[0].clone()
}

/// The figures of a container in which a process was killed for lack of memory.
fn short_of_memory(host: &Host) -> Value {
    let eat = "tail -c 100000000 /dev/zero >/dev/null; sleep 1000";
    host.start(&["--name", "m", "-m", "16m", "small", "sh", "-c", eat]);
    until("a process was killed", || {
        let figures = stats(host, "m");
        (figures["memory_events"]["oom_kill"].as_u64()? > 0).then_some(figures)
    })
}

#[test]
fn version_one_tells_of_memory_that_was_short_what_it_counts() {
    if !needs::met(&[Need::CgroupV1]) {
        return;
    }
    let host = Host::with_small_image();
    let figures = short_of_memory(&host);
    // What version 1 does not count is not there, which is not zero.
    for event in ["max", "oom", "high", "low"] {
        assert!(figures["memory_events"][event].is_null(), "{event}: {figures:#}");
    }
    host.finish();
}

#[test]
fn version_two_tells_of_memory_that_was_short() {
    if !needs::met(&[Need::CgroupV2]) {
        return;
    }
    let host = Host::with_small_image();
    let figures = short_of_memory(&host);
    let events = &figures["memory_events"];
    assert!(events["max"].as_u64().unwrap() > 0, "{figures:#}");
    assert!(events["oom"].as_u64().unwrap() > 0 && events["high"].as_u64() == Some(0), "{figures:#}");
    host.finish();
}

/// A host with a container `p` that is held back.
fn held_back() -> Host {
    let host = Host::with_small_image();
    host.start(&["--name", "p", "--cpus", "0.2", "small", "sh", "-c", "while :; do :; done"]);
    host
}

/// The table that people see.
fn table(host: &Host) -> String {
    host.loam(&["stats", "--no-stream", "p"]).ok().to_owned()
}

#[test]
fn version_one_tells_nothing_of_the_time_lost_waiting() {
    if !needs::met(&[Need::CgroupV1]) {
        return;
    }
    let host = held_back();
    let (figures, table) = (stats(&host, "p"), table(&host));
    assert!(figures["cpu_pressure"].is_null() && figures["io_pressure"].is_null(), "{figures:#}");
    assert!(!table.contains("WAITED"), "{table}");
    host.finish();
}

#[test]
fn version_two_tells_of_the_time_lost_waiting() {
    if !needs::met(&[Need::CgroupV2]) {
        return;
    }
    let host = held_back();
    // A container that is held back waits for a processor nearly all the time.
    until("it has waited", || {
        let figures = stats(&host, "p");
        (figures["cpu_pressure"]["some"]["total_us"].as_u64()? > 500_000).then_some(())
    });
    let (figures, table) = (stats(&host, "p"), table(&host));
    assert!(figures["memory_pressure"]["some"]["avg10"].is_number(), "{figures:#}");
    assert!(figures["io_pressure"]["full"]["total_us"].is_number(), "{figures:#}");
    assert!(table.contains("WAITED"), "{table}");
    host.finish();
}
