//! The properties of a scope (systemd.resource-control(5), systemd.scope(5)).

use std::collections::HashMap;

use loam_bus::Value;
use loam_model::oci_spec::runtime::LinuxResources;
use loam_model::shown;

use super::ANNOTATION;
use crate::cgroup::setting::{Missing, Setting};
use crate::cgroup::{CgroupError, v2};
use crate::cpu_list::{CpuList, NoCpuList, RULE};

/// The period of a processor limit, when nobody says, in microseconds.
const PERIOD: u64 = 100_000;
/// Microseconds in a second.
const SECOND: u64 = 1_000_000;
/// systemd keeps limits on processors in hundredths of one: ten milliseconds in a second.
const HUNDREDTH: u64 = SECOND / 100;

/// A property: its name and value. Numbers are sizes, times in microseconds and weights; `u64::MAX` is no limit. Lists are
/// of processes; bytes are a set of numbers, one bit each.
pub(crate) type Property = (String, Value);

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
        ("PIDs".to_owned(), Value::Numbers(vec![pid.unsigned_abs()])),
        flag("Delegate", true),
        // Else it would be ended before what stops containers in an order of its own.
        flag("DefaultDependencies", false),
    ];
    all.extend(accounting.map(|name| flag(name, true)));
    all
}

/// The files of version 2 whose number is a property.
const NUMBERS: [(&str, &str); 7] = [
    ("memory.max", "MemoryMax"),
    ("memory.high", "MemoryHigh"),
    ("memory.low", "MemoryLow"),
    ("memory.min", "MemoryMin"),
    ("memory.swap.max", "MemorySwapMax"),
    ("cpu.weight", "CPUWeight"),
    ("pids.max", "TasksMax"),
];

/// The limits that systemd has properties for, from what is written to the files. A number of processes is always said:
/// systemd has a default of its own.
pub(crate) fn properties(resources: &LinuxResources) -> Result<Vec<Property>, CgroupError> {
    let mut all: Vec<Property> = Vec::new();
    for setting in v2::settings(resources)? {
        for (name, value) in of_setting(&setting)? {
            // What is written later holds.
            all.retain(|(known, _)| *known != name);
            all.push((name, value));
        }
    }
    if !all.iter().any(|(name, _)| name == "TasksMax") {
        all.push(number("TasksMax", u64::MAX));
    }
    Ok(all)
}

fn of_setting(setting: &Setting) -> Result<Vec<Property>, CgroupError> {
    let list = |name: &str| {
        let list: CpuList = setting
            .value
            .parse()
            .map_err(|NoCpuList| CgroupError::BadLimit { limit: "cpuset", rule: RULE })?;
        Ok(vec![(name.to_owned(), Value::Bytes(list.bits()))])
    };
    match (setting.file.as_str(), &setting.missing) {
        ("cpu.max", _) => Ok(processor_time(&setting.value)),
        ("cpuset.cpus", _) => list("AllowedCPUs"),
        ("cpuset.mems", _) => list("AllowedMemoryNodes"),
        // systemd has the scale of `io.weight`; one of a device names it first.
        ("io.bfq.weight", Missing::Instead(_, weight)) => {
            Ok(weight.parse().map(|weight| number("IOWeight", weight)).into_iter().collect())
        }
        (file, _) => {
            let known = NUMBERS.iter().filter(|(name, _)| *name == file);
            Ok(known.filter_map(|(_, name)| Some(number(name, or_infinity(&setting.value)?))).collect())
        }
    }
}

/// What `cpu.max` says: the time in each period, and the period when it is said.
fn processor_time(value: &str) -> Vec<Property> {
    let (quota, period) = value.split_once(' ').unwrap_or((value, ""));
    let period: Option<u64> = period.parse().ok();
    let each_second = or_infinity(quota).map(|quota| match quota {
        u64::MAX => u64::MAX,
        quota => (quota.saturating_mul(SECOND) / period.unwrap_or(PERIOD).max(1)).next_multiple_of(HUNDREDTH),
    });
    let period = period.map(|period| number("CPUQuotaPeriodUSec", period));
    period.into_iter().chain(each_second.map(|time| number("CPUQuotaPerSecUSec", time))).collect()
}

/// The number that a file is given; `None` for anything else.
fn or_infinity(value: &str) -> Option<u64> {
    if value == "max" { Some(u64::MAX) } else { value.parse().ok() }
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
            Value::Bytes(bytes) => format!("{name}={bytes:?}"),
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
                &["MemorySwapMax=50", "MemoryMax=100", "MemoryLow=40", "TasksMax=infinity"],
            ),
            (
                r#"{"memory":{"limit":-1}}"#,
                &["MemorySwapMax=infinity", "MemoryMax=infinity", "TasksMax=infinity"],
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
            (r#"{"blockIO":{"weightDevice":[{"major":8,"minor":0,"weight":500}]}}"#, &["TasksMax=infinity"]),
            (
                r#"{"memory":{"limit":100},"unified":{"memory.high":"80"}}"#,
                &["MemoryMax=100", "MemoryHigh=80", "TasksMax=infinity"],
            ),
            (
                r#"{"memory":{"limit":100},"unified":{"memory.max":"90"}}"#,
                &["MemoryMax=90", "TasksMax=infinity"],
            ),
        ];
        for (json, expected) in table {
            assert_eq!(&shown_properties(json), expected, "{json}");
        }
        let bad: LinuxResources = serde_json::from_str(r#"{"cpu":{"cpus":"3-1"}}"#).expect("resources");
        assert!(properties(&bad).is_err());
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
