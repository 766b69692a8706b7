//! The environment of a call (SPEC.md, "Parameters"), read through a function so that tests need no real one.

use std::path::PathBuf;

use super::error::{CniError, code};
use super::names::{check_container_id, check_interface_name};

/// The verb of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// Attaches.
    Add,
    /// Undoes an ADD; success when there is nothing.
    Del,
    /// Verifies an attachment.
    Check,
    /// Removes what belongs to no valid attachment.
    Gc,
    /// Says whether ADD can be served.
    Status,
    /// Says which versions are spoken.
    Version,
}

impl Command {
    /// Reads a verb.
    pub fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "ADD" => Command::Add,
            "DEL" => Command::Del,
            "CHECK" => Command::Check,
            "GC" => Command::Gc,
            "STATUS" => Command::Status,
            "VERSION" => Command::Version,
            _ => return None,
        })
    }

    /// The verb as it stands in `CNI_COMMAND`.
    pub fn as_str(self) -> &'static str {
        match self {
            Command::Add => "ADD",
            Command::Del => "DEL",
            Command::Check => "CHECK",
            Command::Gc => "GC",
            Command::Status => "STATUS",
            Command::Version => "VERSION",
        }
    }

    /// The variables that must be set beside `CNI_COMMAND`.
    fn required(self) -> &'static [&'static str] {
        match self {
            Command::Add | Command::Check => &["CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME", "CNI_PATH"],
            Command::Del => &["CNI_CONTAINERID", "CNI_IFNAME", "CNI_PATH"],
            Command::Gc | Command::Status => &["CNI_PATH"],
            Command::Version => &[],
        }
    }
}

/// The environment of a call, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Environment {
    /// The verb.
    pub command: Command,
    /// The container's id.
    pub container_id: String,
    /// The path of the namespace.
    pub namespace: Option<PathBuf>,
    /// The interface's name in the container.
    pub interface: String,
    /// `CNI_ARGS`.
    pub arguments: Vec<(String, String)>,
    /// `CNI_PATH`.
    pub plugin_directories: Vec<PathBuf>,
    /// Whether the namespace may be the caller's own (`CNI_NETNS_OVERRIDE`).
    pub own_namespace_allowed: bool,
}

impl Environment {
    /// Reads the environment; `None` when `CNI_COMMAND` is not set, so that a person called the program.
    pub fn read(variable: impl Fn(&str) -> Option<String>) -> Result<Option<Self>, CniError> {
        let set = |name: &str| variable(name).filter(|value| !value.is_empty());
        let Some(command) = set("CNI_COMMAND") else { return Ok(None) };
        let invalid = |message: String| CniError::new(code::INVALID_ENVIRONMENT, message);
        let command = Command::parse(&command)
            .ok_or_else(|| invalid(format!("unknown `CNI_COMMAND`: `{}`", command.escape_default())))?;
        let missing: Vec<&str> =
            command.required().iter().copied().filter(|name| set(name).is_none()).collect();
        if !missing.is_empty() {
            return Err(invalid(format!("required env variables [{}] missing", missing.join(","))));
        }
        let container_id = set("CNI_CONTAINERID").unwrap_or_default();
        let interface = set("CNI_IFNAME").unwrap_or_default();
        if matches!(command, Command::Add | Command::Del | Command::Check) {
            check_container_id(&container_id)?;
            check_interface_name(&interface)?;
        }
        let flag = set("CNI_NETNS_OVERRIDE").unwrap_or_default().to_ascii_lowercase();
        Ok(Some(Self {
            command,
            container_id,
            namespace: set("CNI_NETNS").map(PathBuf::from),
            interface,
            arguments: parse_arguments(&set("CNI_ARGS").unwrap_or_default())?,
            plugin_directories: set("CNI_PATH")
                .map(|path| path.split(':').filter(|part| !part.is_empty()).map(PathBuf::from).collect())
                .unwrap_or_default(),
            own_namespace_allowed: flag == "1" || flag == "true",
        }))
    }
}

/// Reads `CNI_ARGS`: `KEY=VALUE;KEY=VALUE`.
pub fn parse_arguments(text: &str) -> Result<Vec<(String, String)>, CniError> {
    let pairs = text.split(';').filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| match pair.split_once('=') {
            Some((key, value)) if !key.is_empty() && !value.contains('=') => Ok((key.into(), value.into())),
            _ => {
                let message = format!("CNI_ARGS: invalid pair `{}`", pair.escape_default());
                Err(CniError::new(code::INVALID_ENVIRONMENT, message))
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&str, &str)]) -> Result<Option<Environment>, CniError> {
        Environment::read(|name| {
            pairs.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn missing_variables_are_named_together() {
        let error = read(&[("CNI_COMMAND", "ADD"), ("CNI_PATH", "/x")]).expect_err("three are missing");
        assert_eq!(error.code, code::INVALID_ENVIRONMENT);
        assert_eq!(error.message, "required env variables [CNI_CONTAINERID,CNI_NETNS,CNI_IFNAME] missing");
        assert_eq!(read(&[]).expect("no command is no error"), None);
        assert!(read(&[("CNI_COMMAND", "add")]).is_err());
    }

    #[test]
    fn a_whole_environment_is_read() {
        let environment = read(&[
            ("CNI_COMMAND", "DEL"),
            ("CNI_CONTAINERID", "abc"),
            ("CNI_IFNAME", "eth0"),
            ("CNI_PATH", "/a::/b"),
            ("CNI_ARGS", "IgnoreUnknown=1;IP=10.0.0.1;"),
        ]);
        let environment = environment.expect("valid").expect("a call");
        assert_eq!(environment.command, Command::Del);
        assert_eq!(environment.namespace, None);
        assert_eq!(environment.plugin_directories, [PathBuf::from("/a"), PathBuf::from("/b")]);
        assert_eq!(environment.arguments[1], ("IP".into(), "10.0.0.1".into()));
        assert!(parse_arguments("a=b=c").is_err());
        assert!(parse_arguments("a").is_err());
    }
}
