//! The program through the protocol, beside the reference plugins: the same configuration must give the same result and
//! the same state of the kernel.

#![expect(clippy::print_stdout, reason = "a test that can't run says so")]

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use loam_testkit::lab::{Sandbox, inside};
use serde_json::{Value, json};

const OURS: &str = env!("CARGO_BIN_EXE_loam-cni");

/// Where the reference plugins are, or a word that they are missing.
fn reference(test: &str) -> Option<PathBuf> {
    let found = ["/opt/cni/bin", "/usr/lib/cni"]
        .map(PathBuf::from)
        .into_iter()
        .find(|path| path.join("bridge").exists());
    if found.is_none() {
        println!("skipped: {test}: needs containernetworking-plugins");
    }
    found
}

/// A host with plugins, ours or the reference's, and state of its own.
struct Machine {
    host: Sandbox,
    directory: tempfile::TempDir,
    reference: Option<PathBuf>,
}

impl Machine {
    fn new(reference: Option<&Path>) -> Self {
        let host = Sandbox::new();
        host.command(&["ip", "link", "set", "lo", "up"]);
        let directory = tempfile::tempdir().expect("a temporary directory");
        Self { host, directory, reference: reference.map(Path::to_owned) }
    }

    fn call(
        &self,
        command: &str,
        plugin: &str,
        container: &str,
        sandbox: &str,
        config: &Value,
    ) -> Result<Value, Value> {
        let mut program = Command::new("nsenter");
        program.arg(format!("--net={}", self.host.path().display())).arg("--");
        match &self.reference {
            Some(directory) => program.arg(directory.join(plugin)),
            None => program.args([OURS, plugin]),
        };
        let path = self.reference.clone().unwrap_or_else(|| "/nowhere".into());
        let mut child = program
            .env("CNI_COMMAND", command)
            .env("CNI_CONTAINERID", container)
            .env("CNI_NETNS", sandbox)
            .env("CNI_IFNAME", "eth0")
            .env("CNI_PATH", path)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("it can be executed");
        let input = serde_json::to_vec(config).expect("JSON");
        child.stdin.take().expect("piped").write_all(&input).expect("it reads its input");
        let output = child.wait_with_output().expect("it ends");
        let value = if output.stdout.is_empty() {
            Value::Null
        } else {
            serde_json::from_slice(&output.stdout).expect("JSON")
        };
        if output.status.success() { Ok(value) } else { Err(value) }
    }

    fn bridge(&self, extra: &Value) -> Value {
        let mut config = json!({
            "cniVersion": "1.0.0", "name": "net", "type": "bridge", "bridge": "br0",
            "ipam": {
                "type": "host-local", "dataDir": self.directory.path().join("addresses"),
                "ranges": [[{ "subnet": "10.5.0.0/24" }], [{ "subnet": "fd05::/64" }]],
            },
        });
        for (key, value) in extra.as_object().expect("an object") {
            config[key] = value.clone();
        }
        config
    }
}

/// A result without what differs by nature: hardware addresses, the host end's name, the sandbox's path.
fn normal(mut result: Value) -> Value {
    // Older releases of the reference write it when it is empty, newer ones do not.
    result.as_object_mut().expect("an object").retain(|key, value| key != "dns" || *value != json!({}));
    let interfaces = result.get_mut("interfaces").and_then(Value::as_array_mut);
    for interface in interfaces.into_iter().flatten() {
        interface["mac"] = json!("mac");
        let name = interface["name"].as_str().expect("a name").to_owned();
        if name.starts_with("veth") {
            interface["name"] = json!("veth");
        }
        if interface["sandbox"].is_string() {
            interface["sandbox"] = json!("sandbox");
        }
    }
    result
}

/// What the kernel has, seen from a namespace: addresses that somebody set, and routes.
fn state(sandbox: &Sandbox, interface: &str) -> Vec<String> {
    let read = |command: &[&str]| -> Vec<Value> {
        let text = sandbox.command(command);
        serde_json::from_str(if text.trim().is_empty() { "[]" } else { &text }).expect("JSON")
    };
    let mut lines = Vec::new();
    for link in read(&["ip", "-j", "addr", "show", "dev", interface]) {
        lines.push(format!("mtu {} {}", link["mtu"], link["operstate"]));
        for address in link["addr_info"].as_array().expect("addresses") {
            if address["scope"] != "link" {
                lines.push(format!(
                    "{} {}/{} {}",
                    address["family"], address["local"], address["prefixlen"], address["broadcast"]
                ));
            }
        }
    }
    for family in ["-4", "-6"] {
        for route in read(&["ip", family, "-j", "route", "show", "dev", interface]) {
            if route["dst"] != "fe80::/64" {
                lines.push(format!("{} via {} metric {}", route["dst"], route["gateway"], route["metric"]));
            }
        }
    }
    lines.sort();
    lines
}

#[test]
fn the_bridge_gives_what_the_reference_gives() {
    let name = "the_bridge_gives_what_the_reference_gives";
    inside(name, || {
        let Some(reference) = reference(name) else { return };
        let cases = [
            json!({}),
            json!({ "isGateway": true }),
            json!({ "isDefaultGateway": true, "mtu": 1400, "hairpinMode": true }),
            json!({ "isGateway": true, "promiscMode": true, "dns": { "nameservers": ["10.5.0.1"] } }),
            json!({ "cniVersion": "0.3.1", "isDefaultGateway": true }),
            json!({ "cniVersion": "0.2.0", "isDefaultGateway": true }),
        ];
        for case in cases {
            let (ours, theirs) = (Machine::new(None), Machine::new(Some(&reference)));
            let mut seen = Vec::new();
            for machine in [&ours, &theirs] {
                let sandbox = Sandbox::new();
                let path = sandbox.path().display().to_string();
                let mut config = machine.bridge(&case);
                let result = machine.call("ADD", "bridge", "one", &path, &config).expect("attachable");
                seen.push((normal(result.clone()), state(&sandbox, "eth0"), state(&machine.host, "br0")));
                machine.call("ADD", "bridge", "one", &path, &config).expect_err("a second ADD");
                config["prevResult"] = result;
                if config["cniVersion"] == "1.0.0" {
                    machine.call("CHECK", "bridge", "one", &path, &config).expect("as it was made");
                }
                machine.call("DEL", "bridge", "one", &path, &config).expect("detachable");
                machine.call("DEL", "bridge", "one", &path, &config).expect("idempotent");
                machine.call("DEL", "bridge", "one", "", &config).expect("without a namespace");
                assert!(!sandbox.command(&["ip", "-o", "link"]).contains("eth0"), "{case}");
                let left: Vec<_> = std::fs::read_dir(machine.directory.path().join("addresses/net"))
                    .expect("readable")
                    .map(|entry| entry.expect("readable").file_name().into_string().expect("text"))
                    .filter(|name| name.parse::<std::net::IpAddr>().is_ok())
                    .collect();
                assert!(left.is_empty(), "{case}: {left:?}");
            }
            assert_eq!(seen[0], seen[1], "{case}");
        }
    });
}

#[test]
fn addresses_are_kept_as_the_reference_keeps_them() {
    let name = "addresses_are_kept_as_the_reference_keeps_them";
    inside(name, || {
        let Some(reference) = reference(name) else { return };
        // One machine's directory is used by both in turn.
        let ours = Machine::new(None);
        let mut theirs = Machine::new(Some(&reference));
        theirs.directory = tempfile::tempdir_in(ours.directory.path()).expect("a temporary directory");
        let config = ours.bridge(&json!({}));
        let take = |machine: &Machine, container: &str| {
            let result =
                machine.call("ADD", "host-local", container, "/proc/self/ns/net", &config).expect("free");
            result["ips"][0]["address"].as_str().expect("an address").to_owned()
        };
        let give = |machine: &Machine, container: &str| {
            machine.call("DEL", "host-local", container, "", &config).expect("given back");
        };
        assert_eq!(take(&ours, "a"), "10.5.0.2/24");
        assert_eq!(take(&theirs, "b"), "10.5.0.3/24");
        assert_eq!(take(&ours, "c"), "10.5.0.4/24");
        let directory = ours.directory.path().join("addresses/net");
        let read = |name: &str| std::fs::read_to_string(directory.join(name)).expect("readable");
        assert_eq!(read("10.5.0.2"), "a\r\neth0");
        assert_eq!(read("10.5.0.3"), "b\r\neth0");
        assert_eq!(read("last_reserved_ip.0"), "10.5.0.4");
        give(&theirs, "a");
        give(&ours, "b");
        give(&ours, "a");
        assert!(!directory.join("10.5.0.2").exists() && !directory.join("10.5.0.3").exists());
        theirs.call("CHECK", "host-local", "c", "/proc/self/ns/net", &config).expect("there");
        ours.call("CHECK", "host-local", "a", "/proc/self/ns/net", &config).expect_err("gone");
        assert_eq!(take(&theirs, "d"), "10.5.0.5/24");
        give(&ours, "c");
        give(&ours, "d");
    });
}

#[test]
fn loopback_and_ports_work_for_any_runtime() {
    inside("loopback_and_ports_work_for_any_runtime", || {
        let ours = Machine::new(None);
        let sandbox = Sandbox::new();
        let path = sandbox.path().display().to_string();
        let config = json!({ "cniVersion": "1.1.0", "name": "lo", "type": "loopback" });
        let result = ours.call("ADD", "loopback", "one", &path, &config).expect("attachable");
        assert_eq!(result["ips"][0]["address"], "127.0.0.1/8");
        ours.call("CHECK", "loopback", "one", &path, &config).expect("up");
        ours.call("DEL", "loopback", "one", &path, &config).expect("detachable");
        ours.call("CHECK", "loopback", "one", &path, &config).expect_err("down");

        let bridge = ours.bridge(&json!({ "cniVersion": "1.1.0", "isDefaultGateway": true, "ipMasq": true }));
        let result = ours.call("ADD", "bridge", "one", &path, &bridge).expect("attachable");
        let mut ports = json!({
            "cniVersion": "1.1.0", "name": "net", "type": "portmap", "prevResult": result,
            "runtimeConfig": { "portMappings": [
                { "hostPort": 8080, "containerPort": 80, "protocol": "tcp" },
                { "hostPort": 8080, "containerPort": 80, "protocol": "udp", "hostIP": "127.0.0.1" },
            ] },
        });
        assert_eq!(ours.call("ADD", "portmap", "one", &path, &ports).expect("published"), result);
        ours.call("CHECK", "portmap", "one", &path, &ports).expect("published");
        sandbox.serve_tcp("0.0.0.0:80");
        let loopback = "127.0.0.1:8080".parse().expect("valid");
        assert!(ours.host.ask_tcp(loopback).is_some());
        let error = ours.call("ADD", "portmap", "two", &path, &ports).expect_err("taken");
        assert_eq!(error["code"], 101, "{error}");
        assert!(error["msg"].as_str().is_some_and(|text| text.contains("is taken by `one eth0`")), "{error}");
        // DEL without anything but the name of the attachment.
        ports
            .as_object_mut()
            .expect("an object")
            .retain(|key, _| key != "prevResult" && key != "runtimeConfig");
        ours.call("DEL", "portmap", "one", "", &ports).expect("withdrawn");
        assert!(ours.host.ask_tcp(loopback).is_none());
        assert!(!ours.host.command(&["nft", "list", "table", "inet", "loam"]).contains("comment"));

        // GC removes what belongs to no valid attachment.
        let mut keep = bridge.clone();
        keep["cni.dev/valid-attachments"] = json!([{ "containerID": "one", "ifname": "eth0" }]);
        ours.call("GC", "bridge", "", "", &keep).expect("nothing to do");
        assert!(sandbox.command(&["ip", "-o", "link"]).contains("eth0"));
        keep["cni.dev/valid-attachments"] = json!([]);
        ours.call("GC", "bridge", "", "", &keep).expect("removed");
        assert!(!sandbox.command(&["ip", "-o", "link"]).contains("eth0"));
        ours.call("STATUS", "bridge", "", "", &bridge).expect("ready");
        ours.call("STATUS", "portmap", "", "", &ports).expect("ready");
    });
}
