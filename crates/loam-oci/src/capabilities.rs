//! Capabilities: their names and numbers, and which ones a container gets.

use loam_model::oci_spec::runtime::{Capabilities, Capability};
use loam_model::{CapabilityChange, ErrorKind, Failure, Result, shown};

/// Every capability in the order of its number (linux/capability.h), 0 first.
const ALL: [Capability; 41] = [
    Capability::Chown,
    Capability::DacOverride,
    Capability::DacReadSearch,
    Capability::Fowner,
    Capability::Fsetid,
    Capability::Kill,
    Capability::Setgid,
    Capability::Setuid,
    Capability::Setpcap,
    Capability::LinuxImmutable,
    Capability::NetBindService,
    Capability::NetBroadcast,
    Capability::NetAdmin,
    Capability::NetRaw,
    Capability::IpcLock,
    Capability::IpcOwner,
    Capability::SysModule,
    Capability::SysRawio,
    Capability::SysChroot,
    Capability::SysPtrace,
    Capability::SysPacct,
    Capability::SysAdmin,
    Capability::SysBoot,
    Capability::SysNice,
    Capability::SysResource,
    Capability::SysTime,
    Capability::SysTtyConfig,
    Capability::Mknod,
    Capability::Lease,
    Capability::AuditWrite,
    Capability::AuditControl,
    Capability::Setfcap,
    Capability::MacOverride,
    Capability::MacAdmin,
    Capability::Syslog,
    Capability::WakeAlarm,
    Capability::BlockSuspend,
    Capability::AuditRead,
    Capability::Perfmon,
    Capability::Bpf,
    Capability::CheckpointRestore,
];

/// What a container gets unless asked otherwise: what programs made for Docker expect.
const DEFAULT: [Capability; 14] = [
    Capability::Chown,
    Capability::DacOverride,
    Capability::Fowner,
    Capability::Fsetid,
    Capability::Kill,
    Capability::Setgid,
    Capability::Setuid,
    Capability::Setpcap,
    Capability::NetBindService,
    Capability::NetRaw,
    Capability::SysChroot,
    Capability::Mknod,
    Capability::AuditWrite,
    Capability::Setfcap,
];

/// The number of a capability, as the kernel counts them.
pub fn number(capability: Capability) -> u8 {
    let at = ALL.iter().position(|&other| other == capability).expect("the table has every capability");
    u8::try_from(at).expect("there are 41")
}

/// A set of capabilities as the kernel's bits.
pub fn mask(capabilities: &Capabilities) -> u64 {
    capabilities.iter().fold(0, |bits, &capability| bits | 1 << number(capability))
}

/// The capabilities in the kernel's bits.
pub fn from_mask(bits: u64) -> Capabilities {
    let held = |&(at, _): &(usize, Capability)| bits & (1 << at) != 0;
    ALL.into_iter().enumerate().filter(held).map(|(_, capability)| capability).collect()
}

/// The capabilities that this process could hand on.
pub(crate) fn of_this_process() -> Capabilities {
    let held = rustix::thread::capability_is_in_bounding_set;
    let bounding = |&at: &usize| {
        let bit = rustix::thread::CapabilitySet::from_bits_retain(1 << at);
        held(bit).unwrap_or(false)
    };
    let bits = (0..ALL.len()).filter(bounding).fold(0, |bits, at| bits | 1 << at);
    let permitted = rustix::thread::capabilities(None).map_or(0, |sets| sets.permitted.bits());
    from_mask(bits & permitted)
}

/// The capabilities that this kernel knows.
pub(crate) fn known() -> Capabilities {
    let known = |&(at, _): &(usize, Capability)| {
        let bit = rustix::thread::CapabilitySet::from_bits_retain(1 << at);
        rustix::thread::capability_is_in_bounding_set(bit).is_ok()
    };
    ALL.into_iter().enumerate().filter(known).map(|(_, capability)| capability).collect()
}

/// Applies changes, in order, to the default set. `host` limits what can be given: a capability
/// that is asked for by name and missing there is refused, what a set would bring along is left out.
pub(crate) fn resolve(changes: &[CapabilityChange], host: &Capabilities) -> Result<Capabilities> {
    let mut set: Capabilities = DEFAULT.into_iter().filter(|capability| host.contains(capability)).collect();
    for change in changes {
        match change {
            CapabilityChange::Add(name) if is_all(name) => set.clone_from(host),
            CapabilityChange::Drop(name) if is_all(name) => set.clear(),
            CapabilityChange::Add(name) => {
                let capability = parse(name, "add")?;
                if !host.contains(&capability) {
                    let message = format!(
                        "capability `{}` can't be added: this process does not have it",
                        capability_name(capability)
                    );
                    return Err(Failure::new(ErrorKind::Denied, message));
                }
                set.insert(capability);
            }
            CapabilityChange::Drop(name) => {
                set.remove(&parse(name, "drop")?);
            }
        }
    }
    Ok(set)
}

/// The name as the kernel's headers have it, `CAP_…`.
pub(crate) fn capability_name(capability: Capability) -> String {
    format!("CAP_{capability}")
}

fn is_all(name: &str) -> bool {
    name.eq_ignore_ascii_case("all")
}

fn parse(name: &str, change: &str) -> Result<Capability> {
    let upper = name.to_ascii_uppercase();
    let plain = upper.strip_prefix("CAP_").unwrap_or(&upper);
    plain.parse().map_err(|_| {
        let message = format!("capability `{}` to {change} is unknown", shown(name));
        Failure::new(ErrorKind::Invalid, message).hint("capabilities are listed in capabilities(7)")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn everything() -> Capabilities {
        ALL.into_iter().collect()
    }

    #[test]
    fn numbers_are_the_kernels() {
        let table = [
            (Capability::Chown, 0),
            (Capability::SysAdmin, 21),
            (Capability::SysResource, 24),
            (Capability::Setfcap, 31),
            (Capability::CheckpointRestore, 40),
        ];
        for (capability, expected) in table {
            assert_eq!(number(capability), expected, "{capability}");
        }
        assert_eq!(from_mask(mask(&everything())), everything());
    }

    #[test]
    fn changes_apply_in_order() {
        use CapabilityChange::{Add, Drop};
        let host = everything();
        let table: &[(&[CapabilityChange], u64)] = &[
            (&[], 0xa804_25fb),
            (&[Drop("ALL".into())], 0),
            (&[Drop("all".into()), Add("chown".into())], 1),
            (&[Add("ALL".into()), Drop("CAP_CHOWN".into())], (1 << 41) - 2),
            (&[Add("cap_sys_admin".into())], 0xa824_25fb),
        ];
        for (changes, bits) in table {
            let set = resolve(changes, &host).expect("known names");
            assert_eq!(mask(&set), *bits, "{changes:?}");
        }
    }

    #[test]
    fn what_the_host_lacks_is_left_out_or_refused() {
        let host = from_mask(0b11);
        assert_eq!(mask(&resolve(&[], &host).expect("default")), 0b11);
        let all = [CapabilityChange::Add("ALL".into())];
        assert_eq!(mask(&resolve(&all, &host).expect("all")), 0b11);
        let missing = resolve(&[CapabilityChange::Add("sys_admin".into())], &host).expect_err("missing");
        insta::assert_snapshot!(missing.to_string(), @"capability `CAP_SYS_ADMIN` can't be added: this process does not have it");
        let unknown = resolve(&[CapabilityChange::Add("fly\u{1b}".into())], &host).expect_err("unknown");
        insta::assert_snapshot!(unknown.to_string(), @r#"capability `fly\u{1b}` to add is unknown"#);
    }
}
