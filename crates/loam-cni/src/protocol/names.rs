//! Checks of the names that come from outside, before any of them becomes part of a path or a message
//! (SPEC.md, "Parameters"; CVE-2021-20206).

use super::error::{CniError, code};

fn is_identifier(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
    text.len() <= 255
        && text.as_bytes().first().is_some_and(u8::is_ascii_alphanumeric)
        && text.bytes().all(allowed)
}

/// Checks a container id.
pub fn check_container_id(id: &str) -> Result<(), CniError> {
    if id.is_empty() {
        return Err(CniError::new(code::UNKNOWN_CONTAINER, "missing container id"));
    }
    if !is_identifier(id) {
        let message = format!("`{}` is not a valid container id", id.escape_default());
        return Err(CniError::new(code::INVALID_ENVIRONMENT, message));
    }
    Ok(())
}

/// Checks the name of a network.
pub fn check_network_name(name: &str) -> Result<(), CniError> {
    if name.is_empty() {
        return Err(CniError::invalid_config("missing network name"));
    }
    if !is_identifier(name) {
        return Err(CniError::invalid_config(format!(
            "`{}` is not a valid network name",
            name.escape_default()
        )));
    }
    Ok(())
}

/// Checks the name of an interface.
pub fn check_interface_name(name: &str) -> Result<(), CniError> {
    let wrong = |character: char| {
        // The kernel takes a `%` for a name that it shall complete.
        "/:%".contains(character) || character.is_whitespace() || character.is_control()
    };
    if name.is_empty() || name.len() > 15 || name == "." || name == ".." || name.contains(wrong) {
        let message = format!("`{}` is not a valid interface name", name.escape_default());
        return Err(CniError::new(code::INVALID_ENVIRONMENT, message));
    }
    Ok(())
}

/// Checks the type of a plugin, which becomes the name of a program.
pub fn check_plugin_type(kind: &str) -> Result<(), CniError> {
    if kind.is_empty() || kind == "." || kind == ".." || kind.contains(['/', '\0']) {
        return Err(CniError::invalid_config(format!(
            "`{}` is not a valid plugin type",
            kind.escape_default()
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_from_strangers_are_refused() {
        for bad in ["-a", "../x", "a/b", "a b", "a\n", "ü", "a;b"] {
            assert!(check_container_id(bad).is_err(), "{bad}");
            assert!(check_network_name(bad).is_err(), "{bad}");
        }
        for bad in ["", ".", "..", "a/b", "a:b", "a b", "a\t", "eth%d", "sixteen-letters-"] {
            assert!(check_interface_name(bad).is_err(), "{bad}");
        }
        for bad in ["", "../../bin/sh", "/bin/sh", "..", "a\0"] {
            assert!(check_plugin_type(bad).is_err(), "{bad}");
        }
        assert_eq!(check_container_id("").expect_err("empty").code, code::UNKNOWN_CONTAINER);
        check_interface_name("eth0.100").expect("valid");
        check_container_id("k8s_POD-1.x").expect("valid");
    }
}
