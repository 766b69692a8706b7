//! `loam network bench`: the report is whole, and plugins that behave badly are rows of it. How fast anything is, is no
//! test's business.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use loam_tests::{Host, Need, needs};
use serde_json::Value;

/// Where Debian has the reference plugins.
const REFERENCE: &str = "/usr/lib/cni";

fn bench(host: &Host, flags: &[&str]) -> Value {
    bench_that_ends_with(0, host, flags)
}

fn bench_that_ends_with(code: i32, host: &Host, flags: &[&str]) -> Value {
    let ran = host.loam(&[&["network", "bench", "--format", "json"], flags].concat());
    assert_eq!(ran.code, code, "{ran:#?}");
    serde_json::from_str(&ran.stdout).expect("JSON")
}

fn rows<'a>(report: &'a Value, part: &str, contender: &str, list: &str) -> Vec<&'a Value> {
    let rows = report[part].as_array().unwrap_or_else(|| panic!("no {part}: {report:#}"));
    rows.iter().filter(|row| row["contender"] == contender && row["list"] == list).collect()
}

/// A directory with one plugin, a shell script.
fn plugin(host: &Host, name: &str, script: &str) -> PathBuf {
    let directory = host.scratch().join(format!("plugins-{name}"));
    fs::create_dir(&directory).expect("made");
    let path = directory.join(name);
    fs::write(&path, format!("#!/bin/sh\n{script}\n")).expect("written");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("changed");
    directory
}

fn list(host: &Host, name: &str) -> PathBuf {
    let path = host.scratch().join(format!("{name}.conf"));
    fs::write(&path, format!(r#"{{"cniVersion":"1.0.0","name":"odd","type":"{name}"}}"#)).expect("written");
    path
}

/// Why a contender has no figures at all. Nor has any other, of which none has such a plugin: the exit code says it.
fn failure(host: &Host, name: &str, script: &str) -> String {
    let (directory, conf) = (plugin(host, name, script), list(host, name));
    let text = |path: &Path| path.display().to_string();
    let flags = ["--plugin-dir", &text(&directory), "--conf", &text(&conf), "--timeout", "1"];
    let report = bench_that_ends_with(1, host, &[&flags[..], &["--rounds", "1"]].concat());
    let rows = rows(&report, "contenders", &text(&directory), "odd");
    assert_eq!(rows.len(), 1, "{report:#}");
    rows[0]["failure"].as_str().unwrap_or_else(|| panic!("it has figures: {report:#}")).to_owned()
}

/// Ours, and the reference plugins where they are installed.
fn contenders() -> (Vec<&'static str>, Vec<&'static str>) {
    match Path::new(REFERENCE).join("bridge").exists() {
        true => (vec!["loam", "loam-cni", REFERENCE], vec!["--compare", REFERENCE]),
        false => (vec!["loam", "loam-cni"], Vec::new()),
    }
}

#[test]
fn a_tiny_bench_has_every_row_of_every_contender() {
    if !needs::met(&[Need::NativeProcessor]) {
        return;
    }
    let host = Host::new();
    let (svg, conf) = (host.scratch().join("plots.svg"), host.scratch().join("ports.conflist"));
    let list = r#"{"cniVersions":["1.0.0","1.1.0"],"name":"ports","plugins":[{"type":"bridge","bridge":"b0",
        "isGateway":true,"ipMasq":true,"ipam":{"type":"host-local","routes":[{"dst":"0.0.0.0/0"}],
        "ranges":[[{"subnet":"10.9.0.0/24"}]]}},
        {"type":"portmap","capabilities":{"portMappings":true}}]}"#;
    fs::write(&conf, list).expect("written");
    let (svg_text, conf) = (svg.display().to_string(), conf.display().to_string());
    let (contenders, mut flags) = contenders();
    flags.extend(["--rounds", "1", "--attachments", "2", "--parallel", "2"]);
    flags.extend(["--svg", &svg_text, "--conf", &conf]);
    let report = bench(&host, &flags);
    assert_eq!(report["format"], 1);
    for contender in &contenders {
        let of = |part| rows(&report, part, contender, "ports");
        let state = of("contenders");
        assert!(state.len() == 1 && state[0]["failure"].is_null(), "{state:#?}");
        assert_eq!(of("latency").len(), 4, "{contender}: {:#}", report["latency"]);
        let points = of("growth")[0]["points"].as_array().expect("points");
        assert_eq!(points.len(), 2, "{contender}: {:#}", report["growth"]);
        let has_pair = |point: &Value| point["bare"].is_number() && point["bare_ratio"].is_number();
        assert!(points.iter().all(has_pair), "{contender}: {:#}", report["growth"]);
        let callers: Vec<_> = of("parallel").iter().map(|row| row["callers"].clone()).collect();
        assert_eq!(callers, [1, 2], "{contender}");
        let after: Vec<_> = of("leftovers").iter().map(|row| row["after"].clone()).collect();
        assert_eq!(after, ["DEL", "DEL, namespace gone", "kill -9, then DEL", "kill -9, then GC"]);
        assert_eq!(of("data_path").len(), 4, "{contender}: {:#}", report["data_path"]);
        assert_eq!(of("promises").len(), 13, "{contender}: {:#}", report["promises"]);
    }
    // What is measured of ours is not only there, but without a failure.
    for part in ["latency", "growth", "parallel", "leftovers", "data_path"] {
        for row in rows(&report, part, "loam", "ports") {
            assert!(row["failure"].is_null(), "{part}: {row:#}");
        }
    }
    let rules = report["rules"].as_array().expect("rows");
    assert!(rules.len() == 2 && rules.iter().all(|row| row["wall"]["count"] == 1), "{rules:#?}");
    let targets = report["targets"].as_array().expect("rows");
    assert!(targets.iter().any(|row| row["met"].is_boolean()), "{targets:#?}");
    let promises = rows(&report, "promises", "loam", "ports");
    assert!(promises.iter().all(|row| row["verdict"] == "kept"), "{promises:#?}");
    assert!(fs::read_to_string(host.path_from_outside(&svg)).expect("written").starts_with("<svg"));
    host.finish();
}

#[test]
fn the_built_in_networks_are_measured_with_every_contender() {
    if !needs::met(&[Need::NativeProcessor]) {
        return;
    }
    let host = Host::new();
    let (contenders, mut flags) = contenders();
    flags.extend(["--rounds", "1", "--only", "latency,rules", "--format", "json"]);
    let ran = host.loam(&[&["network", "bench"], &flags[..]].concat());
    let report: Value = serde_json::from_str(ran.ok()).expect("JSON");
    // With rules come chains that packets pass: nothing may be measured behind them.
    let at = |note: &str| ran.stderr.lines().position(|line| line.ends_with(note)).expect("is measured");
    assert!(at("rules") > at("chain: latency"), "{}", ran.stderr);
    for contender in contenders {
        for list in ["bridge", "ports", "chain"] {
            let state = rows(&report, "contenders", contender, list);
            assert!(state.len() == 1 && state[0]["failure"].is_null(), "{state:#?}");
            let verbs: Vec<_> = rows(&report, "latency", contender, list)
                .iter()
                .map(|row| (row["verb"].clone(), row["wall"]["count"].clone()))
                .collect();
            assert_eq!(verbs[0], ("ADD".into(), 2.into()), "two a round: {verbs:#?}");
            assert_eq!(verbs.len(), 4, "{verbs:#?}");
        }
    }
    host.finish();
}

#[test]
fn plugins_that_hang_crash_or_lie_have_rows_that_say_so() {
    let host = Host::new();
    for (name, script, words) in [
        ("hangs", "sleep 60", "did not finish within its time"),
        ("crashes", "kill -9 $$", "signal: 9"),
        ("mumbles", "echo no JSON at all", "is not valid JSON"),
        ("refuses", r#"echo '{"code":7,"msg":"not on a Friday"}'; exit 1"#, "not on a Friday"),
        (
            "lies",
            r#"echo '{"cniVersion":"1.0.0","interfaces":[{"name":"eth0","sandbox":"/x"}]}'"#,
            "there is no interface `eth0`",
        ),
        ("forgets", r#"echo '{"cniVersion":"1.0.0"}'"#, "names no interface"),
    ] {
        let said = failure(&host, name, script);
        assert!(said.contains(words), "{name}: {said}");
    }
    host.finish();
}

#[test]
fn what_a_contender_lacks_is_named() {
    let host = Host::new();
    let path = host.scratch().join("lacks.conflist");
    let list = r#"{"cniVersion":"1.0.0","name":"lacks","plugins":[{"type":"bridge","bridge":"b0","ipam":
        {"type":"host-local","ranges":[[{"subnet":"10.9.0.0/24"}]]}},{"type":"no-such-plugin"}]}"#;
    fs::write(&path, list).expect("written");
    let conf = path.display().to_string();
    let report =
        bench(&host, &["--conf", &conf, "--only", "latency", "--rounds", "1", "--contenders", "loam"]);
    assert_eq!(report["contenders"].as_array().map(Vec::len), Some(1), "{report:#}");
    assert_eq!(report["contenders"][0]["lacks"][0], "no-such-plugin");
    assert_eq!(report["latency"].as_array().map(Vec::len), Some(4), "{report:#}");
    assert_eq!(report["growth"].as_array().map(Vec::len), Some(0), "nothing else was asked for");
    host.finish();
}

#[test]
fn the_environment_of_a_bench_is_that_of_its_workers() {
    let host = Host::new();
    let config = host.scratch().join("config.toml");
    fs::write(&config, "keep_blobs = false\n").expect("written");
    let (root, run, config) = (host.root(), host.run_directory(), config.display().to_string());
    let (root, run) = (root.display().to_string(), run.display().to_string());
    let variables = [
        ("LOAM_ROOT", root.as_str()),
        ("LOAM_RUN", run.as_str()),
        ("LOAM_CONFIG", config.as_str()),
        ("LOAM_CGROUP_DRIVER", "cgroupfs"),
        ("LOAM_CGROUP_SLICE", "machine.slice"),
        ("LOAM_LOG", "error"),
    ];
    let flags = ["network", "bench", "--format", "json", "--only", "latency", "--rounds", "1"];
    let ran = host.loam_with(&variables, &[&flags[..], &["--contenders", "loam"]].concat());
    let report: Value = serde_json::from_str(ran.ok()).expect("JSON");
    let state = rows(&report, "contenders", "loam", "bridge");
    assert!(state.len() == 1 && state[0]["failure"].is_null(), "{report:#}");
    let latency = rows(&report, "latency", "loam", "bridge");
    assert!(latency.len() == 4 && latency.iter().all(|row| row["failure"].is_null()), "{report:#}");
    host.finish();
}

#[test]
fn mistakes_are_told_before_anything_is_measured() {
    let host = Host::new();
    let refused = |flags: &[&str], thing: &str| {
        host.loam(&[&["network", "bench"], flags].concat()).refused(125, thing);
    };
    refused(&["--only", "speed"], "speed");
    refused(&["--contenders", "nobody"], "nobody");
    refused(&["--compare", "/nonexistent"], "/nonexistent");
    refused(&["--conf", "/nonexistent"], "/nonexistent");
    refused(&["--rounds", "0"], "0");
    refused(&["--svg", "/nonexistent/plots.svg"], "/nonexistent/plots.svg");
    let empty = host.scratch().join("empty.conflist");
    fs::write(&empty, "{}").expect("written");
    refused(&["--conf", &empty.display().to_string()], "empty.conflist");
    // The programs may lie where only root can look; a copy does not.
    let copied = host.scratch().join("loam");
    fs::copy(loam_tests::program("loam"), &copied).expect("copied");
    let (scratch, copied) = (host.scratch().display().to_string(), copied.display().to_string());
    host.sh(&format!("chmod 755 {scratch} {scratch}/.. {copied}")).ok();
    let line = format!("setpriv --reuid 65534 --regid 65534 --clear-groups {copied} network bench");
    host.sh(&line).refused(125, "root");
    host.finish();
}
