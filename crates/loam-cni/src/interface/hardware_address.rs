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

/// Reads any hardware address; links that are not Ethernet have longer ones.
pub(crate) fn parse_hardware_address(text: &str) -> Option<Vec<u8>> {
    let byte = |part: &str| match part.as_bytes() {
        [high, low] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
            u8::from_str_radix(part, 16).ok()
        }
        _ => None,
    };
    let bytes: Vec<u8> = text.split([':', '-']).map(byte).collect::<Option<_>>()?;
    [6, 8, 20].contains(&bytes.len()).then_some(bytes)
}

/// Reads the address of one machine's link, six bytes.
fn parse_mac(text: &str) -> Result<[u8; 6], CniError> {
    let mac = parse_hardware_address(text).and_then(|bytes| <[u8; 6]>::try_from(bytes).ok());
    // Not that of a group (IEEE 802, clause 8.2.2).
    mac.filter(|mac| mac[0] & 1 == 0).ok_or_else(|| {
        CniError::invalid_config(format!("`{}` is not a hardware address", text.escape_default()))
    })
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
