//! Who the process is and what it may do: users, their mapping, capabilities, seccomp.

use core::fmt::Write;

use crate::ground::call;
use crate::ground::text::{Shown, Text, number};
use crate::proc_text::{field, hexadecimal, words};
use crate::table::Table;

/// The capabilities by number (capabilities(7)), without `CAP_`.
const CAPABILITIES: [&str; 41] = [
    "chown",
    "dac_override",
    "dac_read_search",
    "fowner",
    "fsetid",
    "kill",
    "setgid",
    "setuid",
    "setpcap",
    "linux_immutable",
    "net_bind_service",
    "net_broadcast",
    "net_admin",
    "net_raw",
    "ipc_lock",
    "ipc_owner",
    "sys_module",
    "sys_rawio",
    "sys_chroot",
    "sys_ptrace",
    "sys_pacct",
    "sys_admin",
    "sys_boot",
    "sys_nice",
    "sys_resource",
    "sys_time",
    "sys_tty_config",
    "mknod",
    "lease",
    "audit_write",
    "audit_control",
    "setfcap",
    "mac_override",
    "mac_admin",
    "syslog",
    "wake_alarm",
    "block_suspend",
    "audit_read",
    "perfmon",
    "bpf",
    "checkpoint_restore",
];

/// Writes these rows.
pub fn write(table: &mut Table<'_, '_>) {
    let mut buffer = [0; 8192];
    let Ok(status) = call::read_file(c"/proc/self/status", &mut buffer) else {
        table.row("user", format_args!("unknown: /proc is not mounted"));
        return;
    };
    let first = |name| field(status, name).and_then(|value| words(value).next()).unwrap_or(b"?");
    table.row_with("user", |text| {
        let _ = write!(text, "{}, group {}, further groups", Shown(first("Uid")), Shown(first("Gid")));
        match field(status, "Groups") {
            None | Some(b"") => text.push(b" none"),
            Some(groups) => words(groups).for_each(|group| {
                let _ = write!(text, " {}", Shown(group));
            }),
        }
    });
    map(table, "user ids", c"/proc/self/uid_map");
    map(table, "group ids", c"/proc/self/gid_map");
    table.row_with("capabilities", |text| capabilities(text, field(status, "CapEff")));
    if field(status, "CapBnd") != field(status, "CapEff") {
        table.row_with("could gain", |text| capabilities(text, field(status, "CapBnd")));
    }
    let seccomp = match field(status, "Seccomp") {
        Some(b"0") => "off",
        Some(b"1") => "strict",
        Some(b"2") => "filter",
        _ => "unknown",
    };
    table.row("seccomp", format_args!("{seccomp}"));
    let privileges = match field(status, "NoNewPrivs") {
        Some(b"1") => "can't be gained",
        Some(_) => "can be gained by programs with set-user-id or file capabilities",
        None => "unknown",
    };
    table.row("new privileges", format_args!("{privileges}"));
    let mut buffer = [0; 256];
    if let Ok(label) = call::read_file(c"/proc/self/attr/current", &mut buffer)
        && !label.is_empty()
    {
        table.row("security label", format_args!("{}", Shown(label.trim_ascii())));
    }
}

fn map(table: &mut Table<'_, '_>, name: &str, path: &core::ffi::CStr) {
    let mut buffer = [0; 2048];
    let content = call::read_file(path, &mut buffer).unwrap_or(b"");
    let mut shown = name;
    for line in content.split(|byte| *byte == b'\n') {
        let Some((inside, rest)) = number(line) else { continue };
        let Some((outside, rest)) = number(rest) else { continue };
        let Some((count, _)) = number(rest) else { continue };
        let last = |begin: u64| begin.saturating_add(count.saturating_sub(1));
        let (inside_last, outside_last) = (last(inside), last(outside));
        if inside == outside {
            table.row(shown, format_args!("{inside}-{inside_last} are the host's own"));
        } else {
            table.row(shown, format_args!("{inside}-{inside_last} are {outside}-{outside_last} on the host"));
        }
        shown = "";
    }
}

fn capabilities(text: &mut Text<'_>, field: Option<&[u8]>) {
    let Some(set) = field.and_then(hexadecimal) else {
        text.push(b"unknown");
        return;
    };
    if set == 0 {
        text.push(b"none");
        return;
    }
    let _ = write!(text, "{} of {}:", set.count_ones(), CAPABILITIES.len());
    for bit in (0..64).filter(|bit| set & (1 << bit) != 0) {
        match CAPABILITIES.get(bit) {
            Some(name) => {
                let _ = write!(text, " {name}");
            }
            None => {
                let _ = write!(text, " {bit}");
            }
        }
    }
}
