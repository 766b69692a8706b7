//! A host with a bridge that servers are on, and containers.

use std::fs;
use std::io::Write;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command as Program, Stdio};
use std::time::Duration;

use loam_cni::protocol::PluginConfig;
use loam_cni::{CniError, Command, Context, Host, LeaseKeeping, Plugin};
use loam_testkit::lab::{Sandbox, eventually};
use serde_json::{Value, json};

pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_loam-cni");

/// A host, and how its plugins are called.
#[derive(Debug)]
pub(crate) struct Lab {
    pub(crate) host: Sandbox,
    pub(crate) directory: tempfile::TempDir,
    pub(crate) settings: Host,
}

impl Lab {
    pub(crate) fn new() -> Self {
        let host = Sandbox::new();
        // With an address of its own, so that ports don't change it.
        let script = "ip link set lo up; ip link add br0 address 02:00:00:00:00:01 type bridge; \
                      ip link set br0 up; ip addr add 10.5.0.1/24 dev br0";
        host.command(&["sh", "-ec", script]);
        let directory = tempfile::tempdir().expect("a temporary directory");
        let leases = LeaseKeeping {
            socket: directory.path().join("dhcp.sock"),
            program: Some(PROGRAM.into()),
            patience: Duration::from_secs(20),
        };
        let settings = Host { state_directory: directory.path().join("state"), leases, ..Host::default() };
        Self { host, directory, settings }
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.directory.path().join("dhcp.sock")
    }

    /// The configuration of a bridge, whose addresses come from here.
    pub(crate) fn config(&self, ipam: &Value) -> Value {
        let mut config = json!({
            "cniVersion": "1.1.0", "name": "net", "type": "bridge", "bridge": "br0",
            "ipam": { "type": "dhcp", "daemonSocketPath": self.socket() },
        });
        for (key, value) in ipam.as_object().expect("an object") {
            config["ipam"][key] = value.clone();
        }
        config
    }

    /// Calls a plugin as a function.
    pub(crate) fn call(
        &self,
        verb: &str,
        id: &str,
        namespace: Option<&Path>,
        config: &Value,
    ) -> Result<Value, CniError> {
        let bytes = serde_json::to_vec(config).expect("JSON");
        let config = PluginConfig::parse(&bytes)?;
        let version = config.version;
        let plugin = Plugin::from_type(&config.kind).expect("one of ours");
        let context = Context {
            container_id: id.to_owned(),
            namespace: namespace.map(Path::to_owned),
            interface: if id.is_empty() { String::new() } else { "eth0".to_owned() },
            arguments: Vec::new(),
            plugin_directories: vec!["/nowhere".into()],
            config,
            host: &self.settings,
        };
        let command = Command::parse(verb).expect("a verb");
        let result = self.host.run(|| plugin.call(command, &context))?;
        result.map_or(Ok(Value::Null), |result| result.to_value(version))
    }

    /// ADD with the configuration without more.
    pub(crate) fn add(&self, id: &str, container: &Sandbox) -> Result<Value, CniError> {
        self.call("ADD", id, Some(&container.path()), &self.config(&json!({})))
    }

    pub(crate) fn check(&self, id: &str, container: &Sandbox, result: &Value) -> Result<Value, CniError> {
        let mut config = self.config(&json!({}));
        config["prevResult"] = result.clone();
        self.call("CHECK", id, Some(&container.path()), &config)
    }

    pub(crate) fn del(&self, id: &str, namespace: Option<&Path>) -> Result<Value, CniError> {
        self.call("DEL", id, namespace, &self.config(&json!({})))
    }

    /// Starts a plugin as the program.
    pub(crate) fn spawn(
        &self,
        plugin: &Path,
        verb: &str,
        id: &str,
        namespace: &Path,
        config: &Value,
    ) -> Child {
        let mut program = self.on_host(plugin);
        if plugin == Path::new(PROGRAM) {
            program.arg(config["type"].as_str().expect("a type"));
        }
        let mut child = program
            .env("CNI_COMMAND", verb)
            .env("CNI_CONTAINERID", id)
            .env("CNI_NETNS", namespace)
            .env("CNI_IFNAME", "eth0")
            .env("CNI_PATH", "/nowhere")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("it can be executed");
        let input = serde_json::to_vec(config).expect("JSON");
        child.stdin.take().expect("piped").write_all(&input).expect("it reads its input");
        child
    }

    /// A program in the host's namespace.
    pub(crate) fn on_host(&self, program: &Path) -> Program {
        let mut command = Program::new("nsenter");
        command.arg(format!("--net={}", self.host.path().display())).arg("--").arg(program);
        command
    }

    /// Starts a keeper as an administrator does, by these words and a command before them, and waits until it listens.
    pub(crate) fn daemon(&self, before: &[&str], words: &[&str]) -> Child {
        let mut command =
            before.iter().copied().chain([PROGRAM, "dhcp", "daemon"]).chain(words.iter().copied());
        let child = Program::new(command.next().expect("a program"))
            .args(command)
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("it runs");
        eventually("the daemon listens", || UnixStream::connect(self.socket()).is_ok());
        child
    }

    /// The process that listens on the socket.
    pub(crate) fn keeper(&self) -> Option<rustix::process::Pid> {
        let stream = UnixStream::connect(self.socket()).ok()?;
        Some(rustix::net::sockopt::socket_peercred(&stream).expect("the kernel knows").pid)
    }

    /// Kills the keeper, and waits until it is gone.
    pub(crate) fn kill_keeper(&self) {
        let keeper = self.keeper().expect("a keeper listens");
        rustix::process::kill_process(keeper, rustix::process::Signal::KILL).expect("it lives");
        eventually("the keeper is gone", || UnixStream::connect(self.socket()).is_err());
    }

    /// The files of leases.
    pub(crate) fn records(&self) -> Vec<PathBuf> {
        let directory = self.directory.path().join("dhcp.sock.leases");
        let names = loam_state_file::names(&directory).expect("readable");
        names.iter().filter(|name| name.ends_with(".json")).map(|name| directory.join(name)).collect()
    }

    /// Waits until the keeper has ended by itself, and verifies that nothing is left of it.
    pub(crate) fn ends_clean(&self) {
        eventually("the keeper has ended", || !self.socket().exists());
        assert_eq!(self.records(), Vec::<PathBuf>::new());
        // The kernel removes what was in a namespace some time after its end.
        let ports = || self.host.command(&["ip", "-o", "link", "show", "master", "br0"]);
        eventually("no port is left", || ports().is_empty());
    }

    /// What the keeper says that it did.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.directory.path().join("dhcp.sock.leases/log")).unwrap_or_default()
    }
}

impl Drop for Lab {
    /// Of a test that failed.
    fn drop(&mut self) {
        let own = rustix::process::getpid();
        if let Some(keeper) = self.keeper().filter(|keeper| *keeper != own) {
            // It may be just ending.
            rustix::process::kill_process(keeper, rustix::process::Signal::KILL).unwrap_or_default();
        }
    }
}

/// The first address of a result.
pub(crate) fn address(result: &Value) -> String {
    result["ips"][0]["address"].as_str().expect("an address").to_owned()
}
