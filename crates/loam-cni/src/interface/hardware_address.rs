//! Hardware addresses that a configuration asks for.

use crate::protocol::{CniError, Context};

/// The hardware address that is asked for, the first of the given places in the configuration or `CNI_ARGS`
/// (an empty path) that names one.
pub(crate) fn wanted_mac(context: &Context<'_>, places: &[&[&str]]) -> Result<Option<[u8; 6]>, CniError> {
    for place in places {
        let found: Option<String> = match place {
            [] => context.argument("MAC").map(str::to_owned),
            path => context.config.get(path)?,
        };
        if let Some(text) = found.filter(|text| !text.is_empty()) {
            return parse_mac(&text).map(Some);
        }
    }
    Ok(None)
}

/// Reads the address of one machine's link, six bytes.
pub(crate) fn parse_mac(text: &str) -> Result<[u8; 6], CniError> {
    let invalid =
        || CniError::invalid_config(format!("`{}` is not a hardware address", text.escape_default()));
    let mut mac = [0; 6];
    let mut parts = text.split([':', '-']);
    for byte in &mut mac {
        let two_digits = |part: &&str| part.len() == 2 && part.bytes().all(|byte| byte.is_ascii_hexdigit());
        let part = parts.next().filter(two_digits).ok_or_else(invalid)?;
        *byte = u8::from_str_radix(part, 16).map_err(|_| invalid())?;
    }
    if parts.next().is_some() || mac[0] & 1 == 1 {
        return Err(invalid());
    }
    Ok(mac)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hardware_addresses_are_read() {
        assert_eq!(parse_mac("c2:11:22:33:44:5f").expect("valid"), [0xc2, 0x11, 0x22, 0x33, 0x44, 0x5f]);
        for bad in
            ["", "c2:11:22:33:44", "c2:11:22:33:44:55:66", "+2:11:22:33:44:55", "01:00:5e:00:00:01", "zz"]
        {
            assert!(parse_mac(bad).is_err(), "{bad}");
        }
    }
}
