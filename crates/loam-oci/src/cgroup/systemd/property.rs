//! The properties of a scope (systemd.resource-control(5), systemd.scope(5)).

use std::collections::HashMap;

use loam_model::oci_spec::runtime::{LinuxCpu, LinuxMemory, LinuxResources};
use loam_model::shown;

use super::ANNOTATION;
use crate::cgroup::CgroupError;
use crate::cgroup::v2::{io_weight, swap_limit, weight_from_shares};

/// The period of a processor limit, when nobody says, in microseconds.
const PERIOD: u64 = 100_000;
/// Microseconds in a second.
const SECOND: u64 = 1_000_000;
/// systemd keeps limits on processors in hundredths of one: ten milliseconds in a second.
const HUNDREDTH: u64 = SECOND / 100;
/// The highest number of a processor or memory node that a list may name.
const MOST_IN_LIST: usize = 1 << 16;

/// A property: its name and value.
pub(crate) type Property = (String, Value);

/// What a property is set to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Value {
    Text(String),
    Flag(bool),
    /// Sizes, times in microseconds, weights; `u64::MAX` is no limit.
    Number(u64),
    Processes(Vec<u32>),
    /// A set of numbers, one bit each.
    Bits(Vec<u8>),
}

impl Value {
    /// Its type on the bus.
    pub(super) fn signature(&self) -> &'static str {
        match self {
            Self::Text(_) => "s",
            Self::Flag(_) => "b",
            Self::Number(_) => "t",
            Self::Processes(_) => "au",
            Self::Bits(_) => "ay",
        }
    }
}

fn number(name: &str, value: u64) -> Property {
    (name.to_owned(), Value::Number(value))
}

/// What makes a scope a container's: its processes, and that it is ours below.
pub(super) fn of_scope(unit: &str, slice: &str, pid: i32) -> Vec<Property> {
    let text = |name: &str, text: String| (name.to_owned(), Value::Text(text));
    let flag = |name: &str, flag: bool| (name.to_owned(), Value::Flag(flag));
    let accounting = ["CPUAccounting", "MemoryAccounting", "TasksAccounting", "IOAccounting"];
    let mut all = vec![
        text("Description", format!("container {}", unit.trim_end_matches(".scope"))),
        text("Slice", slice.to_owned()),
        ("PIDs".to_owned(), Value::Processes(vec![pid.unsigned_abs()])),
        flag("Delegate", true),
        // Else it would be ended before what stops containers in an order of its own.
        flag("DefaultDependencies", false),
    ];
    all.extend(accounting.map(|name| flag(name, true)));
    all
}

/// The limits that systemd has properties for. A number of processes is always said: systemd has a default of its own.
pub(crate) fn properties(resources: &LinuxResources) -> Result<Vec<Property>, CgroupError> {
    let mut all = Vec::new();
    if let Some(memory) = resources.memory() {
        memory_properties(memory, &mut all)?;
    }
    if let Some(cpu) = resources.cpu() {
        cpu_properties(cpu, &mut all)?;
    }
    if let Some(weight) =
        resources.block_io().as_ref().and_then(|io| io.weight()).filter(|&weight| weight != 0)
    {
        all.push(number("IOWeight", io_weight(weight)));
    }
    let pids = resources.pids().as_ref().map_or(-1, |pids| if pids.limit() == 0 { -1 } else { pids.limit() });
    all.push(number("TasksMax", or_infinity(pids)));
    Ok(all)
}

fn memory_properties(memory: &LinuxMemory, all: &mut Vec<Property>) -> Result<(), CgroupError> {
    let (limit, sum) = (memory.limit().unwrap_or(0), memory.swap().unwrap_or(0));
    if limit != 0 {
        all.push(number("MemoryMax", or_infinity(limit)));
    }
    if let Some(swap) = swap_limit(limit, sum)? {
        all.push(number("MemorySwapMax", or_infinity(swap)));
    }
    if let Some(reservation) = memory.reservation().filter(|&reservation| reservation != 0) {
        all.push(number("MemoryLow", or_infinity(reservation)));
    }
    Ok(())
}

fn cpu_properties(cpu: &LinuxCpu, all: &mut Vec<Property>) -> Result<(), CgroupError> {
    if let Some(shares) = cpu.shares().filter(|&shares| shares != 0 && cpu.idle() != Some(1)) {
        all.push(number("CPUWeight", weight_from_shares(shares)));
    }
    let period = cpu.period().filter(|&period| period != 0);
    if let Some(period) = period {
        all.push(number("CPUQuotaPeriodUSec", period));
    }
    if let Some(quota) = cpu.quota().filter(|&quota| quota != 0) {
        let each_second = match u64::try_from(quota) {
            Ok(quota) => {
                (quota.saturating_mul(SECOND) / period.unwrap_or(PERIOD)).next_multiple_of(HUNDREDTH)
            }
            Err(_) => u64::MAX,
        };
        all.push(number("CPUQuotaPerSecUSec", each_second));
    }
    for (name, list) in [("AllowedCPUs", cpu.cpus()), ("AllowedMemoryNodes", cpu.mems())] {
        if let Some(list) = list.as_ref().filter(|list| !list.is_empty()) {
            all.push((name.to_owned(), Value::Bits(bits(list)?)));
        }
    }
    Ok(())
}

/// What the runtime specification writes as a negative number.
fn or_infinity(value: i64) -> u64 {
    u64::try_from(value).unwrap_or(u64::MAX)
}

/// The set that a list such as `0-1,3` names.
fn bits(list: &str) -> Result<Vec<u8>, CgroupError> {
    let bad =
        || CgroupError::BadLimit { limit: "cpuset", rule: "a list is of numbers and ranges such as `0-1,3`" };
    let mut bits = Vec::new();
    for part in list.trim().split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last): (usize, usize) =
            (first.trim().parse().map_err(|_| bad())?, last.trim().parse().map_err(|_| bad())?);
        if first > last || last >= MOST_IN_LIST {
            return Err(bad());
        }
        bits.resize(bits.len().max(last / 8 + 1), 0);
        (first..=last).for_each(|bit| bits[bit / 8] |= 1 << (bit % 8));
    }
    Ok(bits)
}

/// The properties that annotations give, in the text format of GVariant as far as properties of scopes need it: numbers of
/// the type `uint64`, texts and truth values.
pub(super) fn of_annotations(annotations: &HashMap<String, String>) -> Result<Vec<Property>, CgroupError> {
    let mut all = Vec::new();
    for (key, text) in annotations {
        let Some(name) = key.strip_prefix(ANNOTATION) else { continue };
        let bad = || CgroupError::BadAnnotation { key: shown(key), value: shown(text) };
        if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            return Err(bad());
        }
        let quoted = text.strip_prefix('\'').and_then(|text| text.strip_suffix('\''));
        let value = match (text.as_str(), text.strip_prefix("uint64 "), quoted) {
            ("true", ..) => Value::Flag(true),
            ("false", ..) => Value::Flag(false),
            (_, Some(number), _) => Value::Number(number.trim().parse().map_err(|_| bad())?),
            (_, _, Some(text)) if !text.contains(['\'', '\\']) => Value::Text(text.to_owned()),
            _ => return Err(bad()),
        };
        all.push((name.to_owned(), value));
    }
    all.sort_by(|one, other| one.0.cmp(&other.0));
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown_properties(json: &str) -> Vec<String> {
        let resources: LinuxResources = serde_json::from_str(json).expect("valid resources");
        let show = |(name, value): &Property| match value {
            Value::Number(u64::MAX) => format!("{name}=infinity"),
            Value::Number(number) => format!("{name}={number}"),
            Value::Bits(bytes) => format!("{name}={bytes:?}"),
            other => format!("{name}={other:?}"),
        };
        properties(&resources).expect("valid limits").iter().map(show).collect()
    }

    #[test]
    fn limits_become_properties() {
        let table: &[(&str, &[&str])] = &[
            ("{}", &["TasksMax=infinity"]),
            (r#"{"pids":{"limit":7}}"#, &["TasksMax=7"]),
            (
                r#"{"memory":{"limit":100,"swap":150,"reservation":40}}"#,
                &["MemoryMax=100", "MemorySwapMax=50", "MemoryLow=40", "TasksMax=infinity"],
            ),
            (
                r#"{"memory":{"limit":-1}}"#,
                &["MemoryMax=infinity", "MemorySwapMax=infinity", "TasksMax=infinity"],
            ),
            (
                r#"{"cpu":{"shares":1024,"quota":50000,"period":100000}}"#,
                &[
                    "CPUWeight=100",
                    "CPUQuotaPeriodUSec=100000",
                    "CPUQuotaPerSecUSec=500000",
                    "TasksMax=infinity",
                ],
            ),
            (
                r#"{"cpu":{"quota":33333,"period":100000}}"#,
                &["CPUQuotaPeriodUSec=100000", "CPUQuotaPerSecUSec=340000", "TasksMax=infinity"],
            ),
            (r#"{"cpu":{"quota":-1}}"#, &["CPUQuotaPerSecUSec=infinity", "TasksMax=infinity"]),
            (
                r#"{"cpu":{"cpus":"0-1,3,9","mems":"0"}}"#,
                &["AllowedCPUs=[11, 2]", "AllowedMemoryNodes=[1]", "TasksMax=infinity"],
            ),
            (r#"{"blockIO":{"weight":1000}}"#, &["IOWeight=10000", "TasksMax=infinity"]),
        ];
        for (json, expected) in table {
            assert_eq!(&shown_properties(json), expected, "{json}");
        }
        for bad in ["", "a", "3-1", "99999999", "1,"] {
            assert!(bits(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn annotations_become_properties() {
        let of = |key: &str, value: &str| {
            of_annotations(&HashMap::from([(key.to_owned(), value.to_owned())]))
                .map_err(|error| error.to_string())
        };
        let name = "org.systemd.property.X";
        assert_eq!(of("other", "uint64 5"), Ok(vec![]));
        assert_eq!(of(name, "uint64 5"), Ok(vec![("X".to_owned(), Value::Number(5))]));
        assert_eq!(of(name, "'a b'"), Ok(vec![("X".to_owned(), Value::Text("a b".to_owned()))]));
        assert_eq!(of(name, "true"), Ok(vec![("X".to_owned(), Value::Flag(true))]));
        for bad in ["5", "uint64 -1", "'a", "'a'b'", "[1]", ""] {
            assert!(of(name, bad).is_err(), "{bad}");
        }
        assert!(of("org.systemd.property.A B", "true").is_err());
    }
}
