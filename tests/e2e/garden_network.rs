//! The external networker's door, called as Guardian calls it, for containers that have no network of their own.

use loam_tests::{Host, program, until};
use serde_json::{Value, json};

/// A web server in the small image that answers with a word.
const SERVER: &str = "mkdir -p /www && echo served > /www/index.html && exec httpd -f -p 8080 -h /www";

/// Calls the door; gives exit code, what it gave and what it said.
fn call(host: &Host, flags: &str, action: &str, handle: &str, input: &Value) -> (i32, Value, String) {
    let (root, run) = (host.root(), host.run_directory());
    let ran = host.sh(&format!(
        "echo '{input}' | {} garden-network --root {} --run {} {flags} --action {action} --handle {handle}",
        program("loam"),
        root.display(),
        run.display()
    ));
    (ran.code, serde_json::from_str(&ran.stdout).unwrap_or(Value::Null), ran.stderr.trim().to_owned())
}

/// What a container gets of a web server by `wget`.
fn fetched(host: &Host, container: &str, address: &str) -> bool {
    let line = format!("timeout 3 wget -q -O /dev/null http://{address}/");
    host.loam(&["exec", container, "sh", "-c", &line]).code == 0
}

/// The name of the namespace that is the outside: /run is this machine's, and another run may be at work on it.
fn far() -> String {
    format!("loam-far-{}", std::process::id())
}

/// An address of the outside, with a web server at ports 80 and 81.
fn outside(host: &Host) {
    let far = far();
    std::fs::write(host.scratch().join("index.html"), "far").expect("writable");
    for line in [
        "ip link add outer type bridge; ip addr add 192.0.2.1/24 dev outer; ip link set outer up".to_owned(),
        format!("ip netns add {far}; ip link add far type veth peer name eth0 netns {far}"),
        "ip link set far up master outer".to_owned(),
        format!("ip -n {far} addr add 192.0.2.2/24 dev eth0; ip -n {far} link set eth0 up"),
        format!("ip -n {far} route add default via 192.0.2.1"),
    ] {
        host.sh(&line).ok();
    }
    for port in [80, 81] {
        let directory = host.scratch();
        host.sh(&format!("ip netns exec {far} busybox httpd -p {port} -h {}", directory.display())).ok();
    }
}

fn gone(host: &Host) {
    let far = far();
    let end = format!(
        "for pid in $(ip netns pids {far}); do kill $pid; done; ip netns del {far}; ip link del outer"
    );
    host.sh(&end).ok();
}

#[test]
fn a_container_of_guardian_s_goes_up_and_down() {
    let host = Host::with_small_image();
    outside(&host);
    host.start(&["--name", "app", "--network", "none", "small", "sh", "-c", SERVER]);
    let rule =
        json!({"protocol": 1, "networks": [{"start": "192.0.2.2"}], "ports": [{"start": 80, "end": 80}]});
    let input = json!({
        "Pid": host.pid("app"), "Properties": {"app_id": "x"},
        "netin": [{"host_port": 0, "container_port": 8080}], "netout_rules": [rule],
    });
    let flags = "--deny-by-default --dns-server 192.0.2.53";
    let (code, given, said) = call(&host, flags, "up", "handle-1", &input);
    assert_eq!((code, said.as_str()), (0, ""));
    let properties = &given["properties"];
    assert_eq!(properties["garden.network.container-ip"], "10.254.0.2");
    assert_eq!(properties["garden.network.mapped-ports"], r#"[{"HostPort":61001,"ContainerPort":8080}]"#);
    assert_eq!(given["dns_servers"], json!(["192.0.2.53"]));
    let fetch = |url: &str| host.sh(&format!("curl --silent --fail --max-time 2 {url}")).stdout;
    until("it serves", || fetch("http://127.0.0.1:61001/").contains("served").then_some(()));

    assert!(fetched(&host, "app", "192.0.2.2") && !fetched(&host, "app", "192.0.2.2:81"));
    assert!(!fetched(&host, "app", "10.254.0.1"), "the host itself");
    let more = json!({"container_ip": "10.254.0.2", "netout_rules": [{"protocol": 1, "ports": [{"start": 81, "end": 81}]}]});
    assert_eq!(call(&host, flags, "bulk-net-out", "handle-1", &more).0, 0);
    assert!(fetched(&host, "app", "192.0.2.2") && fetched(&host, "app", "192.0.2.2:81"));
    let port =
        json!({"HostIP": "192.0.2.1", "HostPort": 0, "ContainerIP": "10.254.0.2", "ContainerPort": 8080});
    let (code, given, said) = call(&host, flags, "net-in", "handle-1", &port);
    assert_eq!((code, given, said.as_str()), (0, json!({"host_port": 61002, "container_port": 8080}), ""));
    assert!(fetch("http://192.0.2.1:61002/").contains("served"));

    // A second container: another address and port, and the first is not to be reached.
    host.start(&["--name", "two", "--network", "none", "small", "sleep", "1000"]);
    let input =
        json!({"Pid": host.pid("two"), "Properties": {}, "netin": [{"host_port": 0, "container_port": 1}]});
    let (code, given, said) = call(&host, flags, "up", "handle-2", &input);
    assert_eq!((code, said.as_str()), (0, ""));
    assert_eq!(given["properties"]["garden.network.container-ip"], "10.254.0.3");
    assert_eq!(
        given["properties"]["garden.network.mapped-ports"],
        r#"[{"HostPort":61003,"ContainerPort":1}]"#
    );
    assert!(!fetched(&host, "two", "10.254.0.2:8080"));

    // One is taken down alive, the other when it is gone already.
    assert_eq!(call(&host, flags, "down", "handle-1", &Value::Null), (0, Value::Null, String::new()));
    assert_eq!(fetch("http://127.0.0.1:61001/"), "");
    host.loam(&["rm", "-f", "two"]).ok();
    for _ in 0..2 {
        assert_eq!(call(&host, flags, "down", "handle-2", &Value::Null).0, 0, "as often as it is asked for");
    }
    let rules = host.sh("nft list table inet loam").stdout;
    let elements = ["goto", "10.254.0.2", "10.254.0.3"];
    assert!(!elements.iter().any(|element| rules.contains(element)), "{rules}");
    let handles = host.root().join("garden-network/handles");
    assert_eq!(std::fs::read_dir(handles).expect("a directory").count(), 0);
    gone(&host);
    host.finish();
}

#[test]
fn what_guardian_can_t_have_is_one_sentence_and_leaves_nothing() {
    let host = Host::with_small_image();
    host.start(&["--name", "app", "--network", "none", "small", "sleep", "1000"]);
    let pid = host.pid("app");
    let up = |rules: Value, ports: Value| {
        let input = json!({"Pid": pid, "Properties": {}, "netin": ports, "netout_rules": rules});
        call(&host, "", "up", "h", &input)
    };
    let (code, _, said) = up(json!([{"protocol": 3, "ports": [{"start": 1, "end": 2}]}]), Value::Null);
    assert_eq!(
        (code, said.as_str()),
        (1, "rule 1 can't be used: Ports cannot be specified for Protocol ICMP")
    );
    let (code, _, said) = up(json!([{"protocol": 1, "ports": [{"start": 2, "end": 1}]}]), Value::Null);
    assert!(code == 1 && said.contains("`2-1` is no range of ports"), "{said}");
    host.start(&["--name", "web", "-p", "8080:80", "small", "sleep", "1000"]);
    let (code, _, said) = up(Value::Null, json!([{"host_port": 8080, "container_port": 80}]));
    assert!(code == 1 && said.starts_with("host port `8080/tcp` is taken by container"), "{said}");
    let (code, _, said) = call(&host, "", "up", "gone", &json!({"Pid": 4_194_303, "Properties": {}}));
    assert_eq!((code, said.as_str()), (1, "container `gone` has no network: there is no process 4194303"));
    let (code, _, said) = call(&host, "", "net-out", "nobody", &json!({"netout_rule": {}}));
    assert_eq!((code, said.as_str()), (1, "cannot find container [nobody]"));
    let (code, _, said) = call(&host, "--network-pool 10.1.2.3", "up", "h", &json!({}));
    assert!(code == 1 && said.contains("10.1.2.3"), "{said}");
    assert!(!host.loam(&["exec", "app", "ip", "addr"]).stdout.contains("eth0"), "nothing half made");
    host.finish();
}

#[test]
fn the_environment_says_where_things_are_and_causes_are_true() {
    let host = Host::with_small_image();
    host.start(&["--name", "app", "--network", "none", "small", "sleep", "1000"]);
    let (root, run) = (host.root(), host.run_directory());
    let variables = format!("LOAM_ROOT={} LOAM_RUN={}", root.display(), run.display());
    let door = |prefix: &str, program: &str, action: &str, input: &Value| {
        let flags = format!("garden-network --action {action} --handle h");
        let ran = host.sh(&format!("echo '{input}' | {variables} {prefix} {program} {flags}"));
        (ran.code, ran.stderr.trim().to_owned())
    };
    let up = json!({"Pid": host.pid("app"), "Properties": {}});
    assert_eq!(door("", &program("loam"), "up", &up), (0, String::new()));
    assert!(root.join("garden-network/handles/h").exists(), "the state is where LOAM_ROOT says");
    let attached = host.loam(&["network", "inspect", "garden"]).ok().to_owned();
    assert!(attached.contains("10.254.0."), "{attached}");
    assert_eq!(door("", &program("loam"), "down", &Value::Null), (0, String::new()));

    // Somebody who may not look at process 1. The programs may lie where only root can look; a copy does not.
    let copied = host.scratch().join("loam");
    std::fs::copy(program("loam"), &copied).expect("copied");
    let (scratch, copied) = (host.scratch().display().to_string(), copied.display().to_string());
    host.sh(&format!("chmod 755 {scratch} {scratch}/.. {copied}")).ok();
    let nobody = format!("{variables} setpriv --reuid 65534 --regid 65534 --clear-groups env");
    let (code, said) = door(&nobody, &copied, "up", &json!({"Pid": 1, "Properties": {}}));
    let sentence = "container `h` has no network: the network namespace of process 1 can't be looked at: Permission denied";
    assert_eq!((code, said.as_str()), (1, sentence));
    host.finish();
}
