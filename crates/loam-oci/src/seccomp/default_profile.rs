//! Loam's own profile, as rules of the runtime specification.

use loam_model::oci_spec::runtime::{
    Arch, Capabilities, LinuxSeccomp, LinuxSeccompAction, LinuxSeccompArg, LinuxSeccompArgBuilder,
    LinuxSeccompBuilder, LinuxSeccompOperator, LinuxSyscall, LinuxSyscallBuilder,
};

use super::syscalls::{
    FAMILIES, NAMESPACE_FLAGS, PERSONALITIES, SET_INODE_FLAGS, SET_PROJECT_ID, SHUT_FAMILIES,
    WITH_CAPABILITY, always,
};
use crate::capabilities::capability_name;

/// "Operation not permitted".
const EPERM: u32 = 1;
/// "Function not implemented", upon which C libraries try the older call.
const ENOSYS: u32 = 38;

/// Makes the profile for these capabilities. With `fixed_projects` no flag of a file can be changed, either.
pub(super) fn build(bounding: &Capabilities, fixed_projects: bool) -> LinuxSeccomp {
    let held: Vec<String> = bounding.iter().map(|&capability| capability_name(capability)).collect();
    let holds = |name: &str| held.iter().any(|other| other == name);
    let mut names: Vec<&str> = always().flat_map(|group| group.names).copied().collect();
    for (capability, group) in WITH_CAPABILITY {
        if holds(capability) {
            names.extend(group.names);
        }
    }
    names.sort_unstable();
    names.dedup();
    // What is denied apart comes first: libseccomp lets the first rule about a whole call win.
    let mut rules = denials(holds("CAP_SYS_ADMIN"));
    rules.push(allow(&names, vec![]));
    rules.extend(PERSONALITIES.map(|domain| {
        allow(&["personality"], vec![argument(0, LinuxSeccompOperator::ScmpCmpEq, domain, None)])
    }));
    rules.extend(families());
    let mut denied = vec![SET_PROJECT_ID];
    if fixed_projects {
        denied.extend(SET_INODE_FLAGS);
    }
    rules.extend(ioctls(&denied));
    if !holds("CAP_SYS_ADMIN") {
        // The flags are the second argument on s390, the first everywhere else.
        let at = usize::from(cfg!(target_arch = "s390x"));
        let none = argument(at, LinuxSeccompOperator::ScmpCmpMaskedEq, NAMESPACE_FLAGS, Some(0));
        rules.push(allow(&["clone"], vec![none]));
    }
    LinuxSeccompBuilder::default()
        .default_action(LinuxSeccompAction::ScmpActErrno)
        .default_errno_ret(EPERM)
        .architectures(architectures())
        .syscalls(rules)
        .build()
        .expect("every member of a profile has a default")
}

fn denials(administrator: bool) -> Vec<LinuxSyscall> {
    // `socketcall`, the one door to all socket calls on 32-bit x86, hides the address family behind a pointer. C libraries
    // have used `socket` itself since Linux 4.3.
    let mut names = vec!["socketcall".to_owned()];
    if !administrator {
        // The flags of `clone3` are behind a pointer too.
        names.push("clone3".to_owned());
    }
    let rule = LinuxSyscallBuilder::default()
        .names(names)
        .action(LinuxSeccompAction::ScmpActErrno)
        .errno_ret(ENOSYS)
        .build()
        .expect("every member of a rule has a default");
    vec![rule]
}

/// Allows `socket` for every family but the shut ones. The kernel looks only at the lower half of the family, so that
/// half alone is compared: a shut one with the upper half filled passes none of the rules.
fn families() -> Vec<LinuxSyscall> {
    let open = |family| {
        let lower_half = u64::from(u32::MAX);
        let is = argument(0, LinuxSeccompOperator::ScmpCmpMaskedEq, lower_half, Some(family));
        allow(&["socket"], vec![is])
    };
    FAMILIES.filter(|family| !SHUT_FAMILIES.contains(family)).map(open).collect()
}

/// Allows every `ioctl` but these. The kernel looks only at the lower half of the number, so comparing the whole would let
/// a program pass with the upper half filled: a rule for each way in which the leading bits of another number differ from
/// all of them has no such gap. The highest bits come first, which nearly every number settles.
fn ioctls(denied: &[u32]) -> Vec<LinuxSyscall> {
    let mut rules = Vec::new();
    for length in 1..=u32::BITS {
        let mask = u32::MAX << (u32::BITS - length);
        let last = 1 << (u32::BITS - length);
        let mut others: Vec<u32> = denied.iter().map(|number| number & mask ^ last).collect();
        others.sort_unstable();
        others.dedup();
        others.retain(|other| denied.iter().all(|number| number & mask != *other));
        rules.extend(others.iter().map(|other| {
            let (mask, other) = (u64::from(mask), Some(u64::from(*other)));
            allow(&["ioctl"], vec![argument(1, LinuxSeccompOperator::ScmpCmpMaskedEq, mask, other)])
        }));
    }
    rules
}

fn architectures() -> Vec<Arch> {
    match std::env::consts::ARCH {
        "x86_64" => vec![Arch::ScmpArchX86_64, Arch::ScmpArchX86, Arch::ScmpArchX32],
        "aarch64" => vec![Arch::ScmpArchAarch64, Arch::ScmpArchArm],
        "s390x" => vec![Arch::ScmpArchS390x, Arch::ScmpArchS390],
        "riscv64" => vec![Arch::ScmpArchRiscv64],
        "loongarch64" => vec![Arch::ScmpArchLoongarch64],
        "powerpc64" if cfg!(target_endian = "little") => vec![Arch::ScmpArchPpc64le],
        _ => vec![Arch::ScmpArchNative],
    }
}

fn allow(names: &[&str], arguments: Vec<LinuxSeccompArg>) -> LinuxSyscall {
    let mut rule = LinuxSyscallBuilder::default()
        .names(names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>())
        .action(LinuxSeccompAction::ScmpActAllow)
        .build()
        .expect("every member of a rule has a default");
    if !arguments.is_empty() {
        rule.set_args(Some(arguments));
    }
    rule
}

fn argument(index: usize, op: LinuxSeccompOperator, value: u64, value_two: Option<u64>) -> LinuxSeccompArg {
    let builder = LinuxSeccompArgBuilder::default().index(index).op(op).value(value);
    let builder = match value_two {
        Some(second) => builder.value_two(second),
        None => builder,
    };
    builder.build().expect("every member of an argument has a default")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_say_why_and_name_each_call_once() {
        let groups = always().chain(WITH_CAPABILITY.iter().map(|(_, group)| group));
        assert!(groups.clone().all(|group| !group.why.is_empty() && !group.names.is_empty()));
        let mut names: Vec<&str> = always().flat_map(|group| group.names).copied().collect();
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
        for (capability, _) in WITH_CAPABILITY {
            let plain = capability.trim_start_matches("CAP_");
            assert!(plain.parse::<loam_model::oci_spec::runtime::Capability>().is_ok(), "{capability}");
        }
        for shut in
            ["io_uring_setup", "keyctl", "add_key", "userfaultfd", "kexec_load", "file_setattr", "socketcall"]
        {
            assert!(!names.contains(&shut), "{shut}");
        }
    }
}
