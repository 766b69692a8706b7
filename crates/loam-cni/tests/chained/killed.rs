//! Plugins of a whole chain that are killed at each of their steps: GC finds everything that they have made.

use std::collections::BTreeSet;
use std::path::Path;

use loam_testkit::lab::{eventually, inside};
use serde_json::{Value, json};

use crate::machine::Machine;

/// What changes something in files or in the kernel: a plugin is killed before the Nth of these of one of its threads.
const STEPS: &str =
    "sendto,sendmsg,mkdir,mkdirat,rename,renameat,renameat2,unlink,unlinkat,ftruncate,write,execve";
/// More steps than any plugin has.
const MANY: usize = 100;

/// A chain on a machine of its own.
struct Chain {
    machine: Machine,
    plugins: Vec<(&'static str, Value)>,
}

impl Chain {
    fn new(backend: &str) -> Self {
        let machine = Machine::new(None);
        let mut bridge = machine.bridge();
        bridge["ipMasq"] = json!(true);
        bridge["ipMasqBackend"] = json!(backend);
        bridge["macspoofchk"] = json!(true);
        let ports = json!([
            { "hostPort": 8080, "containerPort": 80, "protocol": "tcp" },
            { "hostPort": 5353, "containerPort": 53, "protocol": "udp" },
        ]);
        let limits = json!({
            "ingressRate": 8_000_000, "ingressBurst": 8_000_000, "egressRate": 8_000_000, "egressBurst": 8_000_000,
        });
        let plugins = vec![
            ("bridge", bridge),
            ("portmap", json!({ "backend": backend, "runtimeConfig": { "portMappings": ports } })),
            ("bandwidth", limits),
            ("firewall", json!({ "backend": backend, "ingressPolicy": "same-bridge" })),
        ];
        Self { machine, plugins }
    }

    fn config(&self, number: usize, previous: &Value) -> Value {
        let mut config = self.plugins[number].1.clone();
        config["cniVersion"] = json!("1.1.0");
        config["name"] = json!("net");
        config["type"] = json!(self.plugins[number].0);
        if !previous.is_null() {
            config["prevResult"] = previous.clone();
        }
        config
    }

    /// Calls a plugin, to be killed at a step; whether it came to its end all the same.
    fn call_until(&self, step: usize, verb: &str, number: usize, previous: &Value) -> Option<Value> {
        let inject = format!("inject={STEPS}:signal=KILL:when={step}");
        let trace = format!("trace={STEPS}");
        let strace = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", &trace, "-e", &inject];
        let name = self.plugins[number].0;
        match self.machine.call_behind(&strace, verb, name, &self.config(number, previous)) {
            Ok(result) => Some(result),
            Err(Value::Null) => None,
            // A child of its own was killed in its stead.
            Err(error) if error.to_string().contains("signal") => None,
            Err(error) => panic!("{verb} of {name}, step {step}: {error}"),
        }
    }

    /// ADD of the first plugins; gives the result.
    fn add(&self, count: usize) -> Value {
        let mut result = Value::Null;
        for number in 0..count {
            let (name, config) = (self.plugins[number].0, self.config(number, &result));
            result = self.machine.call("ADD", name, &config).expect("attachable");
        }
        result
    }

    /// GC of all plugins for no container, and nothing is left.
    fn collect(&self, when: &str) {
        for number in 0..self.plugins.len() {
            let mut config = self.config(number, &Value::Null);
            config["cni.dev/valid-attachments"] = json!([]);
            let name = self.plugins[number].0;
            let collected = self.machine.call_behind(&[], "GC", name, &config);
            assert!(collected.is_ok(), "{when}: GC of {name}: {collected:?}");
        }
        let host = &self.machine.host;
        let rules = host.command(&["nft", "list", "ruleset"]);
        let of_the_container = |line: &&str| {
            line.contains("10.5.0.2")
                || line.contains("fd05::2")
                || line.contains("comment \"one")
                || line.contains("CNI-DN-")
        };
        let left: Vec<&str> = rules.lines().filter(of_the_container).collect();
        assert!(left.is_empty(), "{when}: {left:?}");
        let state = files(Path::new("/run/loam/cni"));
        let kept: Vec<&String> = state
            .iter()
            .filter(|name| !name.contains("/networks/") && !name.ends_with("iptables.lock"))
            .collect();
        assert!(kept.is_empty(), "{when}: {kept:?}");
        let addresses = files(self.machine.directory.path());
        let kept: Vec<&String> = addresses
            .iter()
            .filter(|name| {
                !["lock", "last_reserved_ip.0", "last_reserved_ip.1", ".reservation"]
                    .iter()
                    .any(|known| name.ends_with(known))
            })
            .collect();
        assert!(kept.is_empty(), "{when}: {kept:?}");
        let links = || host.command(&["ip", "-o", "link"]);
        eventually(&format!("{when}: no link is left"), || {
            links().lines().all(|line| line.contains(": lo:") || line.contains(": br0:"))
        });
    }
}

/// All files beneath a directory.
fn files(directory: &Path) -> BTreeSet<String> {
    let Ok(entries) = std::fs::read_dir(directory) else { return BTreeSet::new() };
    let mut found = BTreeSet::new();
    for entry in entries {
        let path = entry.expect("readable").path();
        match path.is_dir() {
            true => found.extend(files(&path)),
            false => drop(found.insert(path.display().to_string())),
        }
    }
    found
}

fn have_strace(test: &str) -> bool {
    let found = Path::new("/usr/bin/strace").exists();
    if !found {
        println!("skipped: {test}: needs strace");
    }
    found
}

/// Kills each plugin of the chain at each of its steps of ADD.
fn kill_at_add(backend: &str, least: usize) {
    let chain = Chain::new(backend);
    let mut killed = 0;
    for number in 0..chain.plugins.len() {
        for step in 1.. {
            assert!(step < MANY, "a plugin has no more than {MANY} steps");
            let before = chain.add(number);
            let finished = chain.call_until(step, "ADD", number, &before).is_some();
            chain.collect(&format!("{backend}: ADD of {}, step {step}", chain.plugins[number].0));
            if finished {
                break;
            }
            killed += 1;
        }
    }
    assert!(killed > least, "killed {killed} times only");
}

#[test]
fn an_add_that_is_killed_at_any_step_leaves_nothing_after_gc() {
    let name = "killed::an_add_that_is_killed_at_any_step_leaves_nothing_after_gc";
    if have_strace(name) {
        inside(name, || kill_at_add("nftables", 20));
    }
}

#[test]
fn an_add_with_iptables_that_is_killed_at_any_step_leaves_nothing_after_gc() {
    let name = "killed::an_add_with_iptables_that_is_killed_at_any_step_leaves_nothing_after_gc";
    if have_strace(name) {
        inside(name, || kill_at_add("iptables", 20));
    }
}

#[test]
fn a_del_that_is_killed_at_any_step_leaves_nothing_after_gc() {
    let name = "killed::a_del_that_is_killed_at_any_step_leaves_nothing_after_gc";
    if !have_strace(name) {
        return;
    }
    inside(name, || {
        let chain = Chain::new("nftables");
        let mut killed = 0;
        for number in (0..chain.plugins.len()).rev() {
            for step in 1.. {
                assert!(step < MANY, "a plugin has no more than {MANY} steps");
                let result = chain.add(chain.plugins.len());
                for later in (number + 1..chain.plugins.len()).rev() {
                    let config = chain.config(later, &result);
                    chain.machine.call("DEL", chain.plugins[later].0, &config).expect("detachable");
                }
                let finished = chain.call_until(step, "DEL", number, &result).is_some();
                chain.collect(&format!("DEL of {}, step {step}", chain.plugins[number].0));
                if finished {
                    break;
                }
                killed += 1;
            }
        }
        assert!(killed > 15, "killed {killed} times only");
    });
}
