//! The configuration of `dhcp`, with the reference plugin's keys, as options of requests.

use std::path::PathBuf;

use loam_dhcp::option;
use serde::Deserialize;

use crate::protocol::{CniError, Context};

/// The longest client identifier after its type (RFC 2132, section 9.14).
const MAX_IDENTIFIER: usize = 254;
const MAX_VALUE: usize = 255;
/// The type of a client identifier that is no hardware address (RFC 2132, section 9.14).
const NO_HARDWARE: u8 = 0;

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Keys {
    daemon_socket_path: String,
    provide: Vec<Provide>,
    request: Vec<Wanted>,
    priority: u32,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Provide {
    option: String,
    value: String,
    from_arg: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Wanted {
    option: String,
    skip_default: bool,
}

/// The configuration, checked.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Config {
    /// Where the keeper listens.
    pub(super) socket: PathBuf,
    /// Options of all requests, the client identifier first.
    pub(super) options: Vec<(u8, Vec<u8>)>,
    /// The metric of routes.
    pub(super) priority: Option<u32>,
}

impl Config {
    /// Reads and checks the configuration.
    pub(super) fn read(context: &Context<'_>) -> Result<Self, CniError> {
        let keys = keys(context)?;
        let mut options = vec![(option::CLIENT_IDENTIFIER, identifier(context))];
        for provided in &keys.provide {
            let code = settable(&provided.option)?;
            let argument = context.argument(&provided.from_arg);
            for value in [Some(provided.value.as_str()), argument].into_iter().flatten() {
                if value.len() > MAX_VALUE {
                    let shown = provided.option.escape_default();
                    let message = format!(
                        "value too long for option `{shown}`: {} bytes, of {MAX_VALUE} at most",
                        value.len()
                    );
                    return Err(CniError::invalid_config(message));
                }
                if !value.is_empty() {
                    set(&mut options, code, value.as_bytes().to_vec());
                }
            }
        }
        let mut list = Vec::new();
        for wanted in keys.request.iter().filter(|wanted| !wanted.option.is_empty()) {
            push_new(&mut list, number(&wanted.option)?);
        }
        if !keys.request.iter().any(|wanted| wanted.skip_default) {
            push_new(&mut list, option::ROUTERS);
            push_new(&mut list, option::SUBNET_MASK);
        }
        if !list.is_empty() {
            set(&mut options, option::REQUEST_LIST, list);
        }
        let priority = (keys.priority > 0).then_some(keys.priority);
        Ok(Self { socket: socket(context, &keys)?, options, priority })
    }

    /// Reads where the keeper listens, which is all that DEL and GC need; `None` when ADD refuses it, so that there is
    /// nothing to undo.
    pub(super) fn read_socket(context: &Context<'_>) -> Option<PathBuf> {
        let daemon_socket_path = context.config.get(&["ipam", "daemonSocketPath"]).ok()?.unwrap_or_default();
        socket(context, &Keys { daemon_socket_path, ..Keys::default() }).ok()
    }
}

fn keys(context: &Context<'_>) -> Result<Keys, CniError> {
    Ok(context.config.get(&["ipam"])?.unwrap_or_default())
}

fn socket(context: &Context<'_>, keys: &Keys) -> Result<PathBuf, CniError> {
    if keys.daemon_socket_path.is_empty() {
        return Ok(context.host.leases.socket.clone());
    }
    let path = PathBuf::from(&keys.daemon_socket_path);
    if !path.is_absolute() {
        let shown = keys.daemon_socket_path.escape_default();
        return Err(CniError::invalid_config(format!(
            "`daemonSocketPath` `{shown}` is not an absolute path"
        )));
    }
    Ok(path)
}

/// The client identifier: what tells an attachment from all others at the server.
fn identifier(context: &Context<'_>) -> Vec<u8> {
    let text = format!("{}/{}/{}", context.container_id, context.config.name, context.interface);
    let mut identifier = vec![NO_HARDWARE];
    identifier.extend(text.bytes().take(MAX_IDENTIFIER));
    identifier
}

/// The number of an option, which is given by name or as a number.
fn number(text: &str) -> Result<u8, CniError> {
    Ok(match text {
        "dhcp-client-identifier" => option::CLIENT_IDENTIFIER,
        "subnet-mask" => option::SUBNET_MASK,
        "routers" => option::ROUTERS,
        "host-name" => option::HOST_NAME,
        "user-class" => option::USER_CLASS,
        "vendor-class-identifier" => option::VENDOR_CLASS,
        number => {
            let plain = number.bytes().all(|byte| byte.is_ascii_digit());
            let parsed = number.parse().ok().filter(|_| plain);
            return parsed.ok_or_else(|| {
                CniError::invalid_config(format!(
                    "Can not parse option `{}`: it is neither a name that is known nor a number up to 255",
                    number.escape_default()
                ))
            });
        }
    })
}

/// The number of an option whose value may be given: not of one that makes a message what it is.
fn settable(text: &str) -> Result<u8, CniError> {
    let code = number(text)?;
    let ours = [
        option::PAD,
        option::REQUESTED_ADDRESS,
        option::OVERLOAD,
        option::MESSAGE_TYPE,
        option::SERVER,
        option::MAX_SIZE,
        option::END,
    ];
    if ours.contains(&code) {
        return Err(CniError::unsupported_field("ipam.provide.option", text.escape_default()));
    }
    Ok(code)
}

fn set(options: &mut Vec<(u8, Vec<u8>)>, code: u8, value: Vec<u8>) {
    options.retain(|(known, _)| *known != code);
    options.push((code, value));
}

fn push_new(list: &mut Vec<u8>, code: u8) {
    if !list.contains(&code) {
        list.push(code);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::protocol::{Host, PluginConfig, parse_arguments};

    fn read(ipam: &Value, arguments: &str) -> Result<Config, CniError> {
        let config = json!({ "name": "net", "cniVersion": "1.0.0", "type": "x", "ipam": ipam });
        let host = Host::default();
        let context = Context {
            container_id: "c".into(),
            namespace: None,
            interface: "eth0".into(),
            arguments: parse_arguments(arguments)?,
            plugin_directories: Vec::new(),
            config: PluginConfig::from_map(config.as_object().cloned().unwrap_or_default())?,
            host: &host,
        };
        Config::read(&context)
    }

    #[test]
    fn without_keys_a_mask_and_routers_are_asked_for() {
        let config = read(&json!({ "type": "dhcp" }), "").expect("valid");
        let options = vec![(61, b"\0c/net/eth0".to_vec()), (55, vec![3, 1])];
        assert_eq!(config, Config { socket: "/run/cni/dhcp.sock".into(), options, priority: None });
    }

    #[test]
    fn options_are_given_by_name_or_number_and_from_arguments() {
        let ipam = json!({
            "daemonSocketPath": "/x/y.sock", "priority": 100,
            "provide": [
                { "option": "host-name", "value": "fixed", "fromArg": "NAME" },
                { "option": "60", "value": "class" },
                { "option": "user-class", "fromArg": "ABSENT" },
                { "option": "dhcp-client-identifier", "value": "mine" },
            ],
            "request": [{ "skipDefault": true, "option": "121" }, { "option": "routers" }, { "option": "3" }],
        });
        let config = read(&ipam, "NAME=of-args").expect("valid");
        assert_eq!(config.socket, PathBuf::from("/x/y.sock"));
        assert_eq!(config.priority, Some(100));
        let options =
            [(12, b"of-args".to_vec()), (60, b"class".to_vec()), (61, b"mine".to_vec()), (55, vec![121, 3])];
        assert_eq!(config.options, options);
        let nothing = read(&json!({ "request": [{ "skipDefault": true }] }), "").expect("valid");
        assert_eq!(nothing.options.len(), 1);
    }

    #[test]
    fn bad_values_are_named() {
        let cases = [
            (json!({ "provide": [{ "option": "colour", "value": "x" }] }), 7, "colour"),
            (json!({ "provide": [{ "option": "256", "value": "x" }] }), 7, "256"),
            (json!({ "provide": [{ "option": "+1", "value": "x" }] }), 7, "+1"),
            (json!({ "request": [{ "option": "\u{1b}[2J" }] }), 7, "\\u{1b}[2J"),
            (json!({ "provide": [{ "option": "53", "value": "x" }] }), 2, "`53`"),
            (json!({ "provide": [{ "option": "12", "value": "x".repeat(256) }] }), 7, "256 bytes"),
            (json!({ "daemonSocketPath": "dhcp.sock" }), 7, "dhcp.sock"),
            (json!({ "priority": -1 }), 7, "-1"),
            (json!({ "provide": "x" }), 7, "`ipam`"),
        ];
        for (ipam, code, named) in cases {
            let error = read(&ipam, "").expect_err("refused");
            assert_eq!(error.code, code, "{ipam}: {error}");
            assert!(error.to_string().contains(named), "{ipam}: {error}");
        }
    }
}
