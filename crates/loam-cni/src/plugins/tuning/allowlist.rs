//! The keys of kernel settings that an administrator allows.

use std::fs;
use std::io;
use std::path::Path;

use regex_lite::Regex;

use crate::protocol::{CniError, code};

/// The expressions that keys must match, one a line; without the file, any key is allowed.
pub(super) const PATH: &str = "/etc/cni/tuning/allowlist.conf";

/// Verifies that all keys are allowed by a list.
pub(super) fn verify<'a>(list: &Path, keys: impl Iterator<Item = &'a String>) -> Result<(), CniError> {
    let text = match fs::read_to_string(list) {
        Ok(text) => text,
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(cause) => return Err(CniError::io(format!("reading `{}` failed", list.display()), &cause)),
    };
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let mut expressions = Vec::new();
    for line in &lines {
        expressions.push(Regex::new(line).map_err(|cause| {
            let message = format!("`{}`: `{}` is no expression", list.display(), line.escape_default());
            CniError::invalid_config(message).because(&cause)
        })?);
    }
    for key in keys {
        if !expressions.iter().any(|expression| expression.is_match(key)) {
            let (key, only) = (key.escape_default(), lines.join(" "));
            let message = format!("sysctl {key} is not allowed: only the following are: {only}");
            return Err(CniError::new(code::INTERNAL, message));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_s_expressions_match_anywhere() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let list = directory.path().join("allowlist.conf");
        let keys = ["net.ipv4.conf.IFNAME.arp_notify".to_owned(), "net.core.somaxconn".to_owned()];
        verify(&list, keys.iter()).expect("there is no list");
        fs::write(&list, "^net.ipv4.conf.[a-zA-Z]+.arp_notify$\n\n  somaxconn  \n").expect("writable");
        verify(&list, keys.iter()).expect("both match");
        fs::write(&list, "somaxconn\n").expect("writable");
        let error = verify(&list, keys.iter()).expect_err("one does not match");
        assert!(error.message.contains("arp_notify is not allowed"), "{error}");
        fs::write(&list, "(\n").expect("writable");
        assert_eq!(verify(&list, keys.iter()).expect_err("no expression").code, code::INVALID_CONFIG);
    }
}
