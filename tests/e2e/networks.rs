//! Networks that people make, and containers on several of them.

use std::process::Stdio;
use std::time::Duration;

use loam_tests::{Host, until};
use serde_json::Value;

/// A web server in the small image that answers with a word.
const SERVER: &str = "mkdir -p /www && echo served > /www/index.html && exec httpd -f -p 80 -h /www";

fn json(host: &Host, arguments: &[&str]) -> Value {
    serde_json::from_str(host.loam(arguments).ok()).expect("JSON")
}

fn exec(host: &Host, container: &str, line: &str) -> String {
    host.loam(&["exec", container, "sh", "-c", line]).stdout.trim().to_owned()
}

/// The address that a name has for a container, if any.
fn resolved(host: &Host, container: &str, name: &str) -> String {
    exec(host, container, &format!("grep -w -- '{name}' /etc/hosts | grep -v : | cut -d' ' -f1"))
}

#[test]
fn a_network_is_made_listed_used_and_removed() {
    let host = Host::with_small_image();
    let made = host.loam(&[
        "network",
        "create",
        "--subnet",
        "10.61.0.0/24",
        "--label",
        "team=blue",
        "--mtu",
        "1400",
        "db",
    ]);
    assert_eq!(made.ok(), "db");
    let table = host.loam(&["network", "ls"]);
    assert!(
        table.ok().lines().any(|line| line.starts_with("db ") && line.ends_with("10.61.0.0/24")),
        "{table:?}"
    );
    assert_eq!(host.loam(&["network", "ls", "-q"]).ok(), "db\nloam");
    let listed = json(&host, &["network", "ls", "--format", "json"]);
    assert_eq!(listed[0]["labels"]["team"], "blue");
    host.start(&["--name", "web", "--network", "db", "-p", "8080:80", "small", "sh", "-c", SERVER]);
    until("it serves", || {
        host.sh("curl --silent --max-time 2 http://127.0.0.1:8080/").stdout.contains("served").then_some(())
    });
    let detail = json(&host, &["network", "inspect", "db"]);
    assert_eq!(detail[0]["containers"][0]["name"], "web");
    assert_eq!(detail[0]["containers"][0]["addresses"][0], "10.61.0.2/24");
    assert!(exec(&host, "web", "ip link show eth0").contains("mtu 1400"));
    assert_eq!(host.loam(&["network", "check", "db"]).ok(), "db: well");
    host.loam(&["network", "rm", "db"]).refused(125, "web");
    host.loam(&["network", "rm", "-f", "db"]).refused(125, "web");
    host.loam(&["stop", "-t", "0", "web"]).ok();
    host.loam(&["network", "rm", "db"]).refused(125, "web");
    host.loam(&["network", "rm", "-f", "db"]).ok();
    host.loam(&["start", "web"]).refused(125, "db");
    assert_eq!(host.sh("ip -o link show type bridge").ok(), "", "its bridge is gone");
    host.loam(&["network", "inspect", "db"]).refused(125, "network `db` does not exist");
    host.finish();
}

#[test]
fn a_container_on_several_networks_has_what_it_asked_for() {
    let host = Host::with_small_image();
    host.loam(&["network", "create", "--subnet", "10.61.0.0/24", "db"]).ok();
    host.loam(&["network", "create", "--subnet", "10.62.0.0/24", "--subnet", "fd62::/64", "back"]).ok();
    let db = "db:ip=10.61.0.9,mac=02:00:00:00:00:09,alias=main,interface_name=data";
    host.start(&["--name", "one", "--network", "loam", "--network", db, "small", "sleep", "1000"]);
    let link = exec(&host, "one", "ip addr show dev data");
    assert!(link.contains("02:00:00:00:00:09") && link.contains("10.61.0.9/24"), "{link}");
    assert!(exec(&host, "one", "ip route show default").contains("dev eth0"));
    let flags = [
        "--ip",
        "10.62.0.9",
        "--ip6",
        "fd62::9",
        "--mac-address",
        "02:00:00:00:00:0a",
        "--network-alias",
        "spare",
    ];
    host.start(
        &[&["--name", "two", "--network", "back"], flags.as_slice(), &["small", "sleep", "1000"]].concat(),
    );
    let link = exec(&host, "two", "ip addr show dev eth0");
    assert!(
        ["10.62.0.9/24", "fd62::9/64", "02:00:00:00:00:0a"].iter().all(|text| link.contains(text)),
        "{link}"
    );
    assert_eq!(resolved(&host, "two", "spare"), "10.62.0.9");
    let interfaces = &host.inspect("one")["network"]["interfaces"];
    assert_eq!((&interfaces[1]["name"], &interfaces[1]["network"]), (&"data".into(), &"db".into()));
    // What was asked for is there after the next start, too.
    host.loam(&["stop", "-t", "0", "two"]).ok();
    host.loam(&["start", "two"]).ok();
    assert!(exec(&host, "two", "ip addr show dev eth0").contains("10.62.0.9/24"));
    host.finish();
}

#[test]
fn networks_are_connected_and_disconnected_while_a_container_runs() {
    let host = Host::with_small_image();
    host.loam(&["network", "create", "--subnet", "10.61.0.0/24", "db"]).ok();
    host.start(&["--name", "web", "--network", "db", "small", "sh", "-c", SERVER]);
    host.start(&["--name", "app", "small", "sleep", "1000"]);
    // The small image's `wget -T` crashes.
    let fetch = "timeout 3 wget -q -O - http://web/";
    assert_eq!(exec(&host, "app", fetch), "");
    host.loam(&["network", "connect", "--ip", "10.61.0.77", "--alias", "worker", "db", "app"]).ok();
    until("it serves", || (exec(&host, "app", fetch) == "served").then_some(()));
    assert_eq!(resolved(&host, "web", "worker"), "10.61.0.77");
    assert!(exec(&host, "app", "ip route show default").contains("dev eth0"));
    host.loam(&["network", "connect", "db", "app"])
        .refused(125, "container `app` is on network `db` already");
    host.loam(&["network", "disconnect", "db", "app"]).ok();
    assert_eq!((exec(&host, "app", fetch), resolved(&host, "web", "worker")), (String::new(), String::new()));
    assert!(!exec(&host, "app", "ip -o link").contains("eth1"));
    host.loam(&["network", "disconnect", "db", "app"]).refused(125, "container `app` is not on network `db`");
    host.loam(&["network", "connect", "nowhere", "app"]).refused(125, "nowhere");
    host.finish();
}

#[test]
fn containers_on_a_network_find_each_other_by_name_while_they_run() {
    let host = Host::with_small_image();
    host.loam(&["network", "create", "db"]).ok();
    host.start(&["--name", "one", "--network", "db", "small", "sleep", "1000"]);
    assert_eq!(resolved(&host, "one", "two"), "");
    let ran = host.loam(&[
        "run",
        "--rm",
        "--name",
        "two",
        "--network",
        "db:alias=second",
        "small",
        "ping",
        "-c",
        "1",
        "-W",
        "2",
        "one",
    ]);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_eq!(resolved(&host, "one", "two"), "", "who has ended is forgotten");
    host.start(&["--name", "two", "--network", "db:alias=second", "small", "sleep", "1000"]);
    assert_eq!(host.loam(&["exec", "one", "ping", "-c", "1", "-W", "2", "second"]).code, 0);
    host.start(&["--name", "stranger", "small", "sleep", "1000"]);
    assert_eq!(resolved(&host, "stranger", "one"), "");
    host.loam(&["run", "--rm", "--network-alias", "x", "small", "true"]).refused(125, "have no aliases");
    host.loam(&["rm", "-f", "two"]).ok();
    assert_eq!(resolved(&host, "one", "second"), "");
    host.finish();
}

#[test]
fn what_is_taken_used_up_or_makes_no_sense_gets_one_sentence() {
    let host = Host::with_small_image();
    host.loam(&["network", "create", "--subnet", "10.61.0.0/30", "--opt", "bridge=db0", "db"]).ok();
    let make = |flags: &[&str]| host.loam(&[&["network", "create"], flags, &["new"]].concat());
    make(&["--subnet", "10.61.0.0/16"]).refused(125, "`10.61.0.0/30` of network `db`");
    make(&["--subnet", "10.63.0.1/24"]).refused(125, "`10.63.0.1/24` is not a subnet");
    make(&["--subnet", "10.63.0.0/24", "--gateway", "10.64.0.1"]).refused(125, "10.64.0.1");
    make(&["--opt", "bridge=db0"]).refused(125, "network `db`");
    make(&["--opt", "speed=9"]).refused(125, "`speed`");
    make(&["--driver", "nothing"]).refused(125, "nothing");
    make(&["--driver", "macvlan"]).refused(125, "parent");
    host.loam(&["network", "create", "db"]).refused(125, "network `db` exists already");
    host.loam(&["network", "create", "host"]).refused(125, "`host`");
    host.loam(&["network", "create", "../x"]).refused(125, "../x");
    host.loam(&["network", "rm", "loam"]).refused(125, "default");
    host.loam(&["network", "create", "--conf", "/nowhere"]).refused(125, "/nowhere");
    let file = host.scratch().join("plain.conflist");
    let text = r#"{"cniVersion":"1.0.0","name":"plain","plugins":[{"type":"bridge","bridge":"plain0",
        "ipam":{"type":"host-local","subnet":"10.65.0.0/24"}}]}"#;
    std::fs::write(&file, text).unwrap();
    assert_eq!(host.loam(&["network", "create", "--conf", file.to_str().unwrap()]).ok(), "plain");
    let run = |flags: &[&str]| host.loam(&[&["run", "--rm"], flags, &["small", "true"]].concat());
    run(&["--network", "plain", "--ip", "10.65.0.9"]).refused(125, "network `plain` can't give an address");
    run(&["--network", "plain", "-p", "80:80"]).refused(125, "network `plain` can't publish ports");
    run(&["--network", "db", "--ip", "10.66.0.9"]).refused(125, "`10.66.0.9` is in no subnet");
    run(&["--network", "db", "--network", "plain", "--ip", "10.61.0.2"])
        .refused(125, "--network NAME:ip=ADDRESS");
    run(&["--network", "db:speed=9"]).refused(125, "`speed`");
    run(&["--network", "none", "--ip", "10.61.0.2"]).refused(125, "`none`");
    host.start(&["--name", "only", "--network", "db", "small", "sleep", "1000"]);
    run(&["--network", "db"]).refused(125, "no IP addresses available");
    run(&["--network", "db", "--ip", "10.61.0.2"]).refused(125, "it is in use");
    // A file that nobody can read is told, and the others go on working.
    std::fs::write(host.root().join("networks/broken.conflist"), "{").unwrap();
    let listed = host.loam(&["network", "ls", "-q"]);
    assert!(listed.ok().contains("db") && listed.stderr.contains("broken.conflist"), "{listed:?}");
    assert_eq!(host.loam(&["ps", "-q"]).ok().lines().count(), 1);
    host.finish();
}

#[test]
fn a_killed_run_leaves_nothing_behind_a_collection() {
    let host = Host::with_small_image();
    host.loam(&["network", "create", "db"]).ok();
    host.loam(&["network", "create", "back"]).ok();
    // A first one makes the bridges, so that the kills fall into the attachment itself.
    host.loam(&["run", "--rm", "--network", "db", "--network", "back", "small", "true"]).ok();
    for step in 0..16u64 {
        let mut child = host
            .loam_command(&[
                "run",
                "--rm",
                "--name",
                "victim",
                "-p",
                "8080:80",
                "--network",
                "db",
                "--network",
                "back",
                "small",
                "sleep",
                "1000",
            ])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(Duration::from_millis(6 * step));
        child.kill().unwrap();
        child.wait().unwrap();
        let collected = host.loam(&["network", "gc"]);
        assert_eq!(collected.code, 0, "step {step}: {collected:?}");
        // One that ran by then runs on; it is removed as any other.
        host.loam(&["rm", "-f", "victim"]).ok();
    }
    until("nothing of them is left", || {
        host.loam(&["network", "gc"]).ok();
        let left = host.sh(&format!(
            "find {0}/network/attachments {0}/network/results -type f; ip -o link show type veth",
            host.root().display()
        ));
        left.stdout.trim().is_empty().then_some(())
    });
    assert!(!host.sh("nft list ruleset").stdout.contains("comment"));
    host.finish();
}

#[test]
fn a_container_whose_namespace_went_with_its_shim_is_collected() {
    let host = Host::with_small_image();
    host.loam(&["network", "create", "db"]).ok();
    host.start(&["--name", "lost", "--network", "db", "-p", "8080:80", "small", "sleep", "1000"]);
    let (pid, shim) = (host.pid("lost"), host.shim("lost"));
    host.sh(&format!("kill -9 {shim} {pid}")).ok();
    // Killed is not gone: as long as the shim dies it has its lock.
    let lives = format!("grep -s '^State:.[^ZX]' /proc/{shim}/status /proc/{pid}/status");
    until("both are gone", || host.sh(&lives).stdout.is_empty().then_some(()));
    host.loam(&["network", "gc"]).ok();
    let leases = host.sh(&format!("find {}/network/addresses/db -name '10.*'", host.root().display()));
    assert_eq!(leases.ok(), "");
    assert!(!host.sh("nft list ruleset").stdout.contains("comment"));
    host.loam(&["run", "--rm", "--network", "db", "-p", "8080:80", "small", "true"]).ok();
    host.finish();
}

#[test]
fn upkeep_finds_what_is_wrong_puts_rules_back_and_prunes() {
    let host = Host::with_small_image();
    for name in ["db", "idle", "wanted"] {
        host.loam(&["network", "create", name]).ok();
    }
    host.loam(&["create", "--name", "later", "--network", "wanted", "small", "true"]).ok();
    host.start(&["--name", "web", "--network", "db", "-p", "8080:80", "small", "sh", "-c", SERVER]);
    let served = || host.sh("curl --silent --max-time 2 http://127.0.0.1:8080/").stdout.contains("served");
    until("it serves", || served().then_some(()));
    host.sh("nft flush ruleset").ok();
    assert!(!served());
    let checked = host.loam(&["network", "check", "db"]);
    assert!(checked.code == 1 && checked.stdout.contains("db: container web: "), "{checked:?}");
    host.loam(&["network", "reload"]).ok();
    assert!(served());
    assert_eq!(
        host.loam(&["network", "check"]).ok().lines().filter(|line| line.ends_with(": well")).count(),
        4
    );
    host.sh("ip link set dev $(ip -o link show type veth | cut -d: -f2 | cut -d@ -f1) nomaster").ok();
    let checked = json_of(&host.loam(&["network", "check", "--format", "json", "db"]).stdout);
    assert_eq!(checked[0]["findings"][0]["container"], "web");
    assert_eq!(host.loam(&["network", "prune"]).ok(), "idle");
    assert_eq!(host.loam(&["network", "ls", "-q"]).ok(), "db\nloam\nwanted");
    host.finish();
}

fn json_of(text: &str) -> Value {
    serde_json::from_str(text).expect("JSON")
}

#[test]
fn rules_come_back_at_once_while_somebody_watches() {
    let host = Host::with_small_image();
    host.start(&["--name", "web", "-p", "8080:80", "small", "sh", "-c", SERVER]);
    let served = || {
        let page = host.sh("curl --silent --max-time 2 http://127.0.0.1:8080/");
        page.stdout.contains("served").then_some(())
    };
    until("it serves", served);
    let mut watching = host.loam_command(&["network", "reload", "--watch"]);
    let mut watching = watching.stderr(Stdio::null()).spawn().expect("loam runs");
    let flushed = || {
        host.sh("nft flush ruleset").ok();
        // Half a second is what the watch takes at most.
        (0..20).find_map(|_| {
            std::thread::sleep(Duration::from_millis(50));
            host.sh("nft list map inet loam ports4").stdout.contains("8080").then_some(())
        })
    };
    // It may have to begin first, and mends what it finds then.
    until("it watches", flushed);
    until("a flush is undone", flushed);
    until("it serves again", served);
    watching.kill().expect("it watches still");
    watching.wait().expect("it ends");
    host.finish();
}

#[test]
fn each_container_has_a_subnet_of_its_own_or_the_one_it_asks_for() {
    let host = Host::with_small_image();
    let pool = ["network", "create", "--subnet-per-container", "--subnet", "10.254.0.0/22", "garden"];
    assert_eq!(host.loam(&pool).ok(), "garden");
    let start = |name: &str, network: &str| {
        host.start(&["--name", name, "--network", network, "small", "sleep", "1000"]);
        host.inspect(name)["network"]["interfaces"][0]["addresses"][0].as_str().unwrap_or_default().to_owned()
    };
    assert_eq!(start("one", "garden"), "10.254.0.2/30");
    assert_eq!(start("two", "garden"), "10.254.0.6/30");
    assert_eq!(start("three", "garden:subnet=10.9.0.0/24"), "10.9.0.2/24");
    assert_eq!(start("four", "garden:subnet=10.9.0.0/24"), "10.9.0.3/24");
    let bridges = || host.sh("ip -o link show type bridge").stdout.lines().count();
    assert_eq!(bridges(), 3);
    let run = |network: &str| host.loam(&["run", "--rm", "--network", network, "small", "true"]);
    run("garden:subnet=10.9").refused(125, "invalid CIDR address: 10.9/30");
    run("garden:subnet=10.9.0.2/24").refused(125, "the requested IP is already allocated");
    let overlap =
        "the requested subnet (10.254.0.8/30) overlaps the dynamic allocation range (10.254.0.0/22)";
    run("garden:subnet=10.254.0.8").refused(125, overlap);
    run("loam:subnet=10.9.0.0/24").refused(125, "network `loam` can't give a subnet that is asked for");
    // What stops gives its subnet back, and has the one that it asks for again.
    host.loam(&["stop", "-t", "0", "one", "three"]).ok();
    assert_eq!(bridges(), 2);
    host.loam(&["start", "three", "one"]).ok();
    assert_eq!(host.inspect("three")["network"]["interfaces"][0]["addresses"][0], "10.9.0.2/24");
    for name in ["one", "two", "three", "four"] {
        host.loam(&["rm", "-f", name]).ok();
    }
    assert_eq!(bridges(), 0);
    host.loam(&["network", "rm", "garden"]).ok();
    let create = |flags: &[&str]| {
        host.loam(&[&["network", "create", "--subnet-per-container"], flags, &["x"]].concat())
    };
    create(&["--ipv6"]).refused(125, "has IPv4 alone");
    create(&["--driver", "ptp"]).refused(125, "is of driver `bridge`");
    host.finish();
}
