//! A host and a container, and one way of calling plugins on them.

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command as Program, Stdio};
use std::time::{Duration, Instant};

use loam_cni::protocol::{PluginConfig, parse_arguments};
use loam_cni::{CniError, Command, Context, Host, Plugin};
use loam_testkit::lab::Sandbox;
use serde_json::Value;

/// Our program: as cargo built it for this test, or where end-to-end tests find programs.
fn our_program() -> String {
    let built = option_env!("CARGO_BIN_EXE_loam-cni").map(str::to_owned);
    built.unwrap_or_else(|| {
        let directory = std::env::var("LOAM_PROGRAMS").expect("run the end-to-end tests with ./x test");
        format!("{directory}/loam-cni")
    })
}

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
        match &self.way {
            Way::Function => {
                let called = self.host.run(|| self.function(verb, container, namespace, arguments, config));
                called.map_err(|error| serde_json::to_value(error).expect("JSON"))
            }
            Way::Program => {
                let mut program = self.on_host();
                program.args([our_program().as_str(), plugin]).env("CNI_PATH", "/nowhere");
                execute(program, verb, container, namespace, arguments, config)
            }
            Way::Reference(directory) => {
                let mut program = self.on_host();
                program.arg(directory.join(plugin)).env("CNI_PATH", directory);
                execute(program, verb, container, namespace, arguments, config)
            }
        }
    }

    fn on_host(&self) -> Program {
        let mut program = Program::new("nsenter");
        program.arg(format!("--net={}", self.host.path().display())).arg("--");
        program
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

fn execute(
    mut program: Program,
    verb: &str,
    container: &str,
    namespace: &str,
    arguments: &str,
    config: &Value,
) -> Result<Value, Value> {
    let mut child = program
        .env("CNI_COMMAND", verb)
        .env("CNI_CONTAINERID", container)
        .env("CNI_NETNS", namespace)
        .env("CNI_IFNAME", if container.is_empty() { "" } else { "eth0" })
        .env("CNI_ARGS", arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("it can be executed");
    let input = serde_json::to_vec(config).expect("JSON");
    child.stdin.take().expect("piped").write_all(&input).expect("it reads its input");
    let output = child.wait_with_output().expect("it ends");
    let value = match output.stdout.as_slice() {
        [] => Value::Null,
        bytes => serde_json::from_slice(bytes).expect("JSON"),
    };
    if output.status.success() { Ok(value) } else { Err(value) }
}
