//! Virtual networks on one bridge (IEEE 802.1Q): which numbers a port has.

use rustix::io::Errno;
use serde::Deserialize;
use serde_json::Value;

use super::config::Config;
use crate::interface::failed;
use crate::netlink::{Batch, NetlinkError, RouteSocket, VlanRange};
use crate::protocol::{CniError, code};

/// The largest number; 4095 is reserved.
const LARGEST: i64 = 4094;
/// The number that a port has when nothing is said (Linux, `default_pvid`).
const DEFAULT: u16 = 1;

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Trunk {
    id: Option<i64>,
    #[serde(rename = "minID")]
    min_id: Option<i64>,
    #[serde(rename = "maxID")]
    max_id: Option<i64>,
}

fn number(key: &str, value: i64) -> Result<u16, CniError> {
    u16::try_from(value).ok().filter(|_| (1..=LARGEST).contains(&value)).ok_or_else(|| {
        CniError::invalid_config(format!("`{key}` {value} is invalid: it must be 1 to {LARGEST}"))
    })
}

/// Reads `vlan`; 0 is none.
pub(super) fn read_vlan(value: i64) -> Result<Option<u16>, CniError> {
    if value == 0 { Ok(None) } else { number("vlan", value).map(Some) }
}

/// Reads `vlanTrunk`: numbers, and ranges of numbers, first and last.
pub(super) fn read_trunk(entries: &[Value]) -> Result<Vec<(u16, u16)>, CniError> {
    let mut ranges = Vec::new();
    for entry in entries {
        let trunk = Trunk::deserialize(entry)
            .map_err(|cause| CniError::invalid_config("`vlanTrunk` is invalid").because(&cause))?;
        let before = ranges.len();
        match (trunk.min_id, trunk.max_id) {
            (Some(min), Some(max)) => {
                let (first, last) = (number("vlanTrunk.minID", min)?, number("vlanTrunk.maxID", max)?);
                if last < first {
                    let message = format!("`vlanTrunk.maxID` {max} is less than `minID` {min}");
                    return Err(CniError::invalid_config(message));
                }
                ranges.push((first, last));
            }
            (None, None) => {}
            _ => return Err(CniError::invalid_config("`vlanTrunk` needs `minID` and `maxID` together")),
        }
        if let Some(id) = trunk.id {
            let id = number("vlanTrunk.id", id)?;
            ranges.push((id, id));
        }
        if ranges.len() == before {
            return Err(CniError::invalid_config(
                "`vlanTrunk` has an entry without `id`, `minID` and `maxID`",
            ));
        }
    }
    ranges.sort_unstable();
    Ok(ranges)
}

/// Gives a container's port its numbers: those without a tag, and those of the trunk.
pub(super) fn set_port(socket: &mut RouteSocket, config: &Config, host_name: &str) -> Result<(), CniError> {
    let untagged = config.vlan.or((!config.trunk.is_empty()).then_some(DEFAULT));
    let Some(untagged) = untagged else { return Ok(()) };
    let mut ranges = vec![VlanRange { first: untagged, last: untagged, untagged: true }];
    let tagged = config.trunk.iter().filter(|(first, last)| (*first, *last) != (untagged, untagged));
    for (first, last) in tagged.copied() {
        // The untagged number may lie within a range, which would tag it.
        let parts = [(first, last.min(untagged - 1)), (first.max(untagged + 1), last)];
        let parts = if (first..=last).contains(&untagged) { parts.to_vec() } else { vec![(first, last)] };
        let parts = parts.into_iter().filter(|(first, last)| first <= last);
        ranges.extend(parts.map(|(first, last)| VlanRange { first, last, untagged: false }));
    }
    set(socket, host_name, &ranges, !config.preserve_default_vlan)
}

/// Gives a port numbers.
pub(super) fn set(
    socket: &mut RouteSocket,
    port: &str,
    ranges: &[VlanRange],
    remove_others: bool,
) -> Result<(), CniError> {
    let what = format!("setting the VLANs of port `{port}`");
    let link = socket.link(port).map_err(failed(what.clone()))?;
    let link = link.ok_or_else(|| CniError::new(code::TRY_AGAIN, format!("`{port}` vanished")))?;
    let mut batch = Batch::new();
    if remove_others {
        batch.remove_all_vlans(link.index);
    }
    for range in ranges {
        batch.add_vlans(link.index, *range);
    }
    for verdict in socket.run(batch).map_err(failed(what.clone()))? {
        verdict.map_err(|refusal| match refusal.errno {
            Errno::OPNOTSUPP => {
                let message = "this kernel's bridges lack VLAN filtering";
                CniError::new(code::UNSUPPORTED_KERNEL, message).because(&refusal)
            }
            _ => failed(what.clone())(NetlinkError::Refused(refusal)),
        })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn numbers_and_ranges_are_read() {
        let read = |value: Value| read_trunk(value.as_array().expect("an array"));
        let trunk = read(json!([{ "minID": 10, "maxID": 12 }, { "id": 7 }])).expect("valid");
        assert_eq!(trunk, [(7, 7), (10, 12)]);
        for bad in [
            json!([{ "minID": 10 }]),
            json!([{ "minID": 12, "maxID": 10 }]),
            json!([{ "id": 0 }]),
            json!([{ "id": 4095 }]),
            json!([{}]),
            json!([{ "id": "7" }]),
            json!([7]),
        ] {
            assert_eq!(read(bad.clone()).expect_err("refused").code, 7, "{bad}");
        }
        assert_eq!(read_vlan(0), Ok(None));
        assert_eq!(read_vlan(4094), Ok(Some(4094)));
        assert!(read_vlan(4095).is_err() && read_vlan(-1).is_err());
    }
}
