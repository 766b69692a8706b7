//! A host and a container, and one way of calling plugins on them.

use std::path::{Path, PathBuf};
use std::process::Command as Program;
use std::time::{Duration, Instant};

use loam_cni::protocol::{PluginConfig, parse_arguments};
use loam_cni::{CniError, Command, Context, Host, LeaseKeeping, Plugin};
use loam_testkit::lab::{PluginCall, Sandbox, our_plugins};
use serde_json::Value;

use super::service::{Running, Service};

/// How long what is out of service may be there.
const PATIENCE: Duration = Duration::from_secs(5);

/// The id of the container.
pub(crate) const CONTAINER: &str = "one";

/// How plugins are called.
#[derive(Clone, Debug)]
pub(crate) enum Way {
    /// As functions, on a thread in the host's namespace.
    Function,
    /// As our program.
    Program,
    /// As the programs in a directory.
    Reference(PathBuf),
}

/// A host with a container, and state of its own.
#[derive(Debug)]
pub(crate) struct Lab {
    pub(crate) host: Sandbox,
    pub(crate) container: Sandbox,
    pub(crate) directory: tempfile::TempDir,
    way: Way,
    state: Host,
}

impl Lab {
    /// A new host; our program's state of an earlier one is gone.
    pub(crate) fn new(way: Way) -> Self {
        let host = Sandbox::new();
        // New namespaces begin with the settings of the first one.
        let quiet = "ip link set lo up; echo 0 > /proc/sys/net/ipv4/ip_forward";
        host.command(&["sh", "-ec", quiet]);
        let directory = tempfile::tempdir().expect("a temporary directory");
        let state = Host {
            state_directory: directory.path().join("state"),
            address_directory: directory.path().join("networks"),
            leases: LeaseKeeping {
                program: Some(our_plugins(option_env!("CARGO_BIN_EXE_loam-cni")).into()),
                ..LeaseKeeping::default()
            },
            ..Host::default()
        };
        // Each test has a file system of its own at `/run`.
        drop(std::fs::remove_dir_all("/run/loam"));
        Self { host, container: Sandbox::new(), directory, way, state }
    }

    fn script(&self, sandbox: &Sandbox, script: &str) -> String {
        let script = script.replace("{DIR}", &self.directory.path().display().to_string());
        sandbox.command(&["sh", "-ec", &script])
    }

    /// Runs a shell script on the host.
    pub(crate) fn host_script(&self, script: &str) -> String {
        self.script(&self.host, script)
    }

    /// Runs a shell script in the container.
    pub(crate) fn container_script(&self, script: &str) -> String {
        self.script(&self.container, script)
    }

    /// Waits until the pairs that DEL has taken out of service are gone.
    pub(crate) fn settle(&self) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let look = |sandbox: &Sandbox| sandbox.command(&["ip", "-br", "link", "show", "type", "veth"]);
            let links = look(&self.host) + &look(&self.container);
            if !links.lines().any(|line| line.starts_with("gone")) {
                return;
            }
            assert!(Instant::now() < deadline, "still there: {links}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Starts what runs beside a case; `None` when this way of calling needs no such thing.
    pub(crate) fn start(&self, service: Service) -> Option<Running> {
        let words = service.words(&self.way, self.directory.path())?;
        let mut program = Program::new("nsenter");
        program.arg(format!("--net={}", self.host.path().display())).arg("--").args(words);
        Some(Running::new(program, &format!("{service:?} is ready"), || service.is_ready(&self.host)))
    }

    /// Calls the plugin that a configuration names: its result, or its error object.
    pub(crate) fn call(
        &self,
        verb: &str,
        container: &str,
        namespace: &str,
        arguments: &str,
        config: &Value,
    ) -> Result<Value, Value> {
        let plugin = config["type"].as_str().expect("a type");
        let text = config.to_string();
        match &self.way {
            Way::Function => {
                let called = self.host.run(|| self.function(verb, container, namespace, arguments, config));
                called.map_err(|error| serde_json::to_value(error).expect("JSON"))
            }
            Way::Program => {
                let directory = Path::new("/nowhere");
                let call = PluginCall { verb, container, namespace, arguments, directory, config: &text };
                call.run(&self.host, &[&our_plugins(option_env!("CARGO_BIN_EXE_loam-cni")), plugin])
            }
            Way::Reference(directory) => {
                let call = PluginCall { verb, container, namespace, arguments, directory, config: &text };
                call.run(&self.host, &[&directory.join(plugin).display().to_string()])
            }
        }
    }

    fn function(
        &self,
        verb: &str,
        container: &str,
        namespace: &str,
        arguments: &str,
        config: &Value,
    ) -> Result<Value, CniError> {
        let bytes = serde_json::to_vec(config).expect("JSON");
        let config = PluginConfig::parse(&bytes)?;
        let version = config.version;
        let plugin = Plugin::from_type(&config.kind).expect("one of ours");
        let context = Context {
            container_id: container.to_owned(),
            namespace: (!namespace.is_empty()).then(|| PathBuf::from(namespace)),
            interface: if container.is_empty() { String::new() } else { "eth0".to_owned() },
            arguments: parse_arguments(arguments)?,
            plugin_directories: vec!["/nowhere".into()],
            config,
            host: &self.state,
        };
        match plugin.call(Command::parse(verb).expect("a verb"), &context)? {
            Some(result) => result.to_value(version),
            None => Ok(Value::Null),
        }
    }
}
