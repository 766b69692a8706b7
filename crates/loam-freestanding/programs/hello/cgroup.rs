//! Limits: those of the cgroup, as far as it can be seen from here in version 2 or 1, and the process's own.

use core::ffi::CStr;
use core::fmt::Write;

use crate::ground::call;
use crate::ground::text::{Shown, Text, number};
use crate::proc_text::{Bytes, LimitLine, limit_line};
use crate::table::Table;

/// Version 1 says "no limit" with the largest multiple of a page.
const NO_LIMIT_V1: u64 = 0x7fff_ffff_ffff_0000;

/// Writes these rows.
pub fn write(table: &mut Table<'_, '_>) {
    table.row_with("memory limit", |text| {
        amount(text, memory(), |text, bytes| {
            let _ = write!(text, "{}", Bytes(bytes));
        })
    });
    table.row_with("process limit", |text| {
        let paths = [c"/sys/fs/cgroup/pids.max", c"/sys/fs/cgroup/pids/pids.max"];
        amount(text, read_limit(&paths), |text, count| {
            let _ = write!(text, "{count} processes and threads");
        });
    });
    table.row_with("cpu limit", |text| {
        amount(text, cpu(), |text, thousandths| {
            let _ = write!(text, "{}.{:03} processors", thousandths / 1000, thousandths % 1000);
        })
    });
    limits(table);
}

/// What is known of a limit.
#[derive(Clone, Copy)]
enum Limit {
    Hidden,
    None,
    Some(u64),
}

fn amount(text: &mut Text<'_>, limit: Limit, write: impl FnOnce(&mut Text<'_>, u64)) {
    match limit {
        Limit::Hidden => text.push(b"can't be seen from here"),
        Limit::None => text.push(b"none"),
        Limit::Some(value) => write(text, value),
    }
}

fn memory() -> Limit {
    let paths = [c"/sys/fs/cgroup/memory.max", c"/sys/fs/cgroup/memory/memory.limit_in_bytes"];
    match read_limit(&paths) {
        Limit::Some(value) if value >= NO_LIMIT_V1 => Limit::None,
        limit => limit,
    }
}

/// Processor time in thousandths of a processor.
fn cpu() -> Limit {
    let mut buffer = [0; 64];
    if let Ok(line) = call::read_file(c"/sys/fs/cgroup/cpu.max", &mut buffer) {
        let Some((quota, rest)) = number(line) else { return Limit::None };
        return number(rest).map_or(Limit::None, |(period, _)| thousandths(quota, period));
    }
    match read_limit(&[
        c"/sys/fs/cgroup/cpu/cpu.cfs_quota_us",
        c"/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us",
    ]) {
        Limit::Some(quota) => {
            let paths =
                [c"/sys/fs/cgroup/cpu/cpu.cfs_period_us", c"/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us"];
            match read_limit(&paths) {
                Limit::Some(period) => thousandths(quota, period),
                _ => Limit::Hidden,
            }
        }
        limit => limit,
    }
}

fn thousandths(quota: u64, period: u64) -> Limit {
    quota.saturating_mul(1000).checked_div(period).map_or(Limit::None, Limit::Some)
}

/// Reads the first of these files that exists; `max` and `-1` are no limit.
fn read_limit(paths: &[&CStr]) -> Limit {
    let mut buffer = [0; 64];
    for path in paths {
        if let Ok(content) = call::read_file(path, &mut buffer) {
            return number(content).map_or(Limit::None, |(value, _)| Limit::Some(value));
        }
    }
    Limit::Hidden
}

fn limits(table: &mut Table<'_, '_>) {
    let mut buffer = [0; 4096];
    let content = call::read_file(c"/proc/self/limits", &mut buffer).unwrap_or(b"");
    let mut shown = "resource limits";
    for LimitLine { name, soft, hard } in content.split(|byte| *byte == b'\n').filter_map(limit_line) {
        if hard == b"unlimited" && soft == hard {
            continue;
        }
        table.row(shown, format_args!("{}: {}, at most {}", Shown(name), Shown(soft), Shown(hard)));
        shown = "";
    }
}
