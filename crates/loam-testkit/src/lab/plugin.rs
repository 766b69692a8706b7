//! Calling the programs of CNI plugins (SPEC.md, section 2).

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use super::Sandbox;

/// One call of a plugin's program.
#[derive(Clone, Copy, Debug)]
pub struct PluginCall<'a> {
    /// `CNI_COMMAND`.
    pub verb: &'a str,
    /// `CNI_CONTAINERID`; empty for GC and STATUS.
    pub container: &'a str,
    /// `CNI_NETNS`.
    pub namespace: &'a str,
    /// `CNI_ARGS`.
    pub arguments: &'a str,
    /// `CNI_PATH`.
    pub directory: &'a Path,
    /// The configuration.
    pub config: &'a str,
}

impl PluginCall<'_> {
    /// Calls a program, with its first arguments, on a host, for the interface `eth0`: its result, or its error object.
    pub fn run(&self, host: &Sandbox, program: &[&str]) -> Result<Value, Value> {
        let mut child = Command::new("nsenter")
            .arg(format!("--net={}", host.path().display()))
            .arg("--")
            .args(program)
            .env("CNI_COMMAND", self.verb)
            .env("CNI_CONTAINERID", self.container)
            .env("CNI_NETNS", self.namespace)
            .env("CNI_IFNAME", if self.container.is_empty() { "" } else { "eth0" })
            .env("CNI_ARGS", self.arguments)
            .env("CNI_PATH", self.directory)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("it can be executed");
        child.stdin.take().expect("piped").write_all(self.config.as_bytes()).expect("it reads its input");
        let output = child.wait_with_output().expect("it ends");
        let value = match output.stdout.as_slice() {
            [] => Value::Null,
            bytes => serde_json::from_slice(bytes).expect("JSON"),
        };
        if output.status.success() { Ok(value) } else { Err(value) }
    }
}

/// The program with our plugins: as cargo built it for a test (its `CARGO_BIN_EXE_loam-cni`), or where end-to-end tests find
/// programs.
pub fn our_plugins(built: Option<&str>) -> String {
    built.map(str::to_owned).unwrap_or_else(|| {
        let directory = std::env::var("LOAM_PROGRAMS").expect("run the end-to-end tests with ./x test");
        format!("{directory}/loam-cni")
    })
}

/// Where the reference plugins are that Debian packages (`containernetworking-plugins`).
pub fn reference_plugins() -> Option<PathBuf> {
    ["/opt/cni/bin", "/usr/lib/cni"]
        .map(PathBuf::from)
        .into_iter()
        .find(|path| path.join("bridge").exists() && path.join("bandwidth").exists())
}
