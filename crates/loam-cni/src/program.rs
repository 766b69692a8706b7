//! The multi-call program: one plugin, chosen by the name that it is called by, for any CNI runtime.

use std::ffi::OsStr;
use std::io::{Read, Write};
use std::path::Path;

use loam_sys::kernel;
use serde_json::{Value, json};

use crate::plugins::{Plugin, dhcp, tuning};
use crate::protocol::{
    CniError, Command, Context, Environment, Host, PluginConfig, Version, code, repeated_key,
};

/// What a call of the program sees of its process.
#[derive(Debug)]
pub struct Call<'a, V> {
    /// The arguments, the program's name first.
    pub arguments: Vec<String>,
    /// The environment.
    pub variable: V,
    /// Where state is kept.
    pub host: &'a Host,
}

/// Runs the program; gives its exit status.
pub fn run<V: Fn(&str) -> Option<String>>(
    call: &Call<'_, V>,
    input: &mut dyn Read,
    output: &mut dyn Write,
    errors: &mut dyn Write,
) -> std::io::Result<u8> {
    let name = |text: &str| Path::new(text).file_name().and_then(OsStr::to_str).and_then(Plugin::from_type);
    let mut arguments = call.arguments.iter();
    let called = arguments.next().and_then(|argument| name(argument));
    let Some(plugin) = called.or_else(|| arguments.next().and_then(|argument| name(argument))) else {
        let names = Plugin::ALL.map(|plugin| plugin.name);
        writeln!(
            errors,
            "loam-cni is called by the name of one of its plugins, or with it as first argument:"
        )?;
        writeln!(errors, "  {}", names.join(" "))?;
        return Ok(64);
    };
    let rest = arguments.as_slice();
    if plugin.name == dhcp::PLUGIN.name
        && let Some(ended) = dhcp::keep(rest, &call.variable, errors)
    {
        return ended;
    }
    match answer(plugin, call, input) {
        Ok(Answer::About) => {
            writeln!(errors, "CNI {} plugin of Loam {}", plugin.name, env!("CARGO_PKG_VERSION"))?;
            let versions: Vec<_> = plugin.versions().map(Version::as_str).collect();
            writeln!(errors, "CNI protocol versions supported: {}", versions.join(", "))?;
            Ok(0)
        }
        Ok(Answer::Value(value)) => {
            serde_json::to_writer(&mut *output, &value)?;
            writeln!(output)?;
            Ok(0)
        }
        Ok(Answer::Nothing) => Ok(0),
        Err(error) => {
            serde_json::to_writer(&mut *output, &error)?;
            writeln!(output)?;
            Ok(1)
        }
    }
}

enum Answer {
    About,
    Value(Value),
    Nothing,
}

/// In the order of the reference library: environment, input, name and version, verb (SPEC.md; `pkg/skel`).
fn answer<V: Fn(&str) -> Option<String>>(
    plugin: &Plugin,
    call: &Call<'_, V>,
    input: &mut dyn Read,
) -> Result<Answer, CniError> {
    let Some(environment) = Environment::read(&call.variable)? else { return Ok(Answer::About) };
    if environment.command == Command::Version {
        let value = json!({
            "cniVersion": Version::NEWEST.as_str(),
            "supportedVersions": plugin.versions().map(Version::as_str).collect::<Vec<_>>(),
        });
        return Ok(Answer::Value(value));
    }
    if let Some(objection) = kernel::objection(&kernel::release()) {
        return Err(CniError::new(code::UNSUPPORTED_KERNEL, objection));
    }
    let mut bytes = Vec::new();
    input
        .take(PluginConfig::MAX_BYTES as u64 + 1)
        .read_to_end(&mut bytes)
        .map_err(|cause| CniError::io("reading the configuration failed", &cause))?;
    if bytes.len() > PluginConfig::MAX_BYTES {
        return Err(CniError::new(code::DECODE, "the configuration is too long"));
    }
    let config = PluginConfig::parse(&bytes)?;
    let since = match environment.command {
        Command::Check => Version::V0_4_0,
        Command::Gc | Command::Status => Version::V1_1_0,
        _ => Version::V0_1_0,
    };
    if config.version < since {
        return Err(CniError {
            code: code::INCOMPATIBLE_VERSION,
            message: format!("config version does not allow {}", environment.command.as_str()),
            details: format!("config is {}, {} needs {since}", config.version, environment.command.as_str()),
        });
    }
    // Readers of JSON keep one of two values, and which of the two was meant can't be told.
    if plugin.name == tuning::PLUGIN.name
        && matches!(environment.command, Command::Add | Command::Check)
        && let Some(key) = repeated_key(&bytes, "sysctl")
    {
        let message = format!("duplicated sysctl keys are not allowed: `{}`", key.escape_default());
        return Err(CniError::invalid_config(message));
    }
    let version = config.version;
    let host = Host { own_namespace_allowed: environment.own_namespace_allowed, ..call.host.clone() };
    let context = Context {
        container_id: environment.container_id,
        namespace: environment.namespace,
        interface: environment.interface,
        arguments: environment.arguments,
        plugin_directories: environment.plugin_directories,
        config,
        host: &host,
    };
    match plugin.call(environment.command, &context)? {
        Some(result) => Ok(Answer::Value(result.to_value(version)?)),
        None => Ok(Answer::Nothing),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run_with(arguments: &[&str], variables: &[(&str, &str)], input: &str) -> (u8, String, String) {
        let host = Host::default();
        let call = Call {
            arguments: arguments.iter().map(|argument| (*argument).to_owned()).collect(),
            variable: |name: &str| {
                variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
            },
            host: &host,
        };
        let (mut output, mut errors) = (Vec::new(), Vec::new());
        let status =
            run(&call, &mut input.as_bytes(), &mut output, &mut errors).expect("memory can be written");
        let text = |bytes| String::from_utf8(bytes).expect("text");
        (status, text(output), text(errors))
    }

    #[test]
    fn the_plugin_is_chosen_by_name_or_argument() {
        let version = [("CNI_COMMAND", "VERSION")];
        let expected = "{\"cniVersion\":\"1.1.0\",\"supportedVersions\":[\"0.1.0\",\"0.2.0\",\"0.3.0\",\"0.3.1\",\"0.4.0\",\"1.0.0\",\"1.1.0\"]}\n";
        assert_eq!(run_with(&["/opt/cni/bin/host-local"], &version, "").1, expected);
        assert_eq!(run_with(&["loam-cni", "bridge"], &version, "").1, expected);
        let (status, output, errors) = run_with(&["loam-cni"], &version, "");
        assert_eq!((status, output.as_str()), (64, ""));
        assert!(errors.contains(" bridge ") && errors.contains(" host-local "), "{errors}");
        let (status, _, errors) = run_with(&["bridge"], &[], "");
        assert_eq!(status, 0);
        assert!(errors.contains("CNI protocol versions supported: 0.1.0"), "{errors}");
    }

    #[test]
    fn bad_calls_are_told_as_the_protocol_says() {
        let add = [
            ("CNI_COMMAND", "ADD"),
            ("CNI_CONTAINERID", "a"),
            ("CNI_NETNS", "/nowhere"),
            ("CNI_IFNAME", "eth0"),
            ("CNI_PATH", "/x"),
        ];
        let code = |variables: &[(&str, &str)], input: &str| {
            let (status, output, _) = run_with(&["bridge"], variables, input);
            assert_eq!(status, 1);
            serde_json::from_str::<CniError>(&output).expect("an error object").code
        };
        assert_eq!(code(&[("CNI_COMMAND", "ADD")], ""), code::INVALID_ENVIRONMENT);
        assert_eq!(code(&add, "nonsense"), code::DECODE);
        assert_eq!(code(&add, "{}"), code::INVALID_CONFIG);
        assert_eq!(code(&add, r#"{"name":"n","cniVersion":"9.0.0"}"#), code::INCOMPATIBLE_VERSION);
        assert_eq!(
            code(&add, r#"{"name":"n","cniVersion":"1.0.0","type":"bridge"}"#),
            code::INVALID_NAMESPACE
        );
        let mut check = add;
        check[0].1 = "CHECK";
        assert_eq!(code(&check, r#"{"name":"n","cniVersion":"0.3.1"}"#), code::INCOMPATIBLE_VERSION);
        let status = [("CNI_COMMAND", "STATUS"), ("CNI_PATH", "/x")];
        assert_eq!(code(&status, r#"{"name":"n","cniVersion":"1.0.0"}"#), code::INCOMPATIBLE_VERSION);
    }
}
