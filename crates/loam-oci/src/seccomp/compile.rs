//! From a profile to a program, by libseccomp.

use std::fs::File;
use std::io::{Read, Seek};

use libseccomp::{ScmpAction, ScmpArch, ScmpArgCompare, ScmpCompareOp, ScmpFilterContext, ScmpSyscall};
use loam_model::oci_spec::runtime::{
    Arch, LinuxSeccomp, LinuxSeccompAction, LinuxSeccompArg, LinuxSeccompFilterFlag, LinuxSeccompOperator,
    LinuxSyscall,
};
use loam_model::shown;
use rustix::fs::MemfdFlags;

use super::{Filter, SeccompError, unknown};

/// The error that a refusing action answers with when the profile names none: "operation not permitted".
const DEFAULT_ERRNO: u32 = 1;
/// Asks libseccomp to look system calls up in a binary tree rather than one after another: the kernel walks the program
/// for every system call once when it is loaded.
const OPTIMIZE_TREE: u32 = 2;
/// The most arguments a system call has.
const MAX_ARGUMENTS: usize = 6;

/// Compiles a profile, and prepends the answer to system calls that it can't know.
pub(super) fn filter(profile: &LinuxSeccomp) -> Result<Filter, SeccompError> {
    let architectures = architectures(profile)?;
    let default = action(profile.default_action(), profile.default_errno_ret())?;
    let failed = |step: &str| {
        let step = step.to_owned();
        move |source| SeccompError::Compile { step, source }
    };
    let mut context = ScmpFilterContext::new(default).map_err(failed("the default action"))?;
    // A library that can't do it makes a longer program of the same meaning.
    let _slower_is_fine = context.set_ctl_optimize(OPTIMIZE_TREE);
    for &architecture in &architectures {
        context.add_arch(architecture).map_err(failed("an architecture"))?;
    }
    for rule in profile.syscalls().iter().flatten() {
        add_rule(&mut context, rule, default)?;
    }
    let program = export(&context)?;
    let program = match default {
        ScmpAction::Errno(_) => [unknown::prologue(profile, &architectures), program].concat(),
        _ => program,
    };
    Ok(Filter { program, flags: flags(profile) })
}

/// The `SECCOMP_FILTER_FLAG_…` bits of a profile (seccomp(2)).
pub(super) fn flags(profile: &LinuxSeccomp) -> u32 {
    let bit = |flag: &LinuxSeccompFilterFlag| match flag {
        LinuxSeccompFilterFlag::SeccompFilterFlagTsync => 1,
        LinuxSeccompFilterFlag::SeccompFilterFlagLog => 1 << 1,
        LinuxSeccompFilterFlag::SeccompFilterFlagSpecAllow => 1 << 2,
        LinuxSeccompFilterFlag::SeccompFilterFlagWaitKillableRecv => 1 << 5,
    };
    profile.flags().iter().flatten().map(bit).fold(0, |bits, bit| bits | bit)
}

fn add_rule(
    context: &mut ScmpFilterContext,
    rule: &LinuxSyscall,
    default: ScmpAction,
) -> Result<(), SeccompError> {
    let action = action(rule.action(), rule.errno_ret())?;
    if action == default {
        // It changes nothing, and libseccomp refuses it.
        return Ok(());
    }
    let conditions = conditions(rule)?;
    for name in rule.names() {
        // A name that this library does not know stays under the default action.
        let Ok(call) = ScmpSyscall::from_name(name) else { continue };
        for condition in &conditions {
            let added = if condition.is_empty() {
                context.add_rule(action, call)
            } else {
                context.add_rule_conditional(action, call, condition)
            };
            match added {
                Ok(_) => {}
                // The same rule twice.
                Err(error) if error.errno() == Some(libseccomp::error::SeccompErrno::EEXIST) => {}
                Err(source) => {
                    let step = format!("the rule for `{}`", shown(name));
                    return Err(SeccompError::Compile { step, source });
                }
            }
        }
    }
    Ok(())
}

/// The conditions of a rule: it applies when all of one list hold, for any of the lists.
///
/// Usually that is one list. Where the same argument appears twice, which libseccomp does not take, engines have always
/// read the conditions as alternatives.
fn conditions(rule: &LinuxSyscall) -> Result<Vec<Vec<ScmpArgCompare>>, SeccompError> {
    let arguments = rule.args().as_deref().unwrap_or_default();
    let all = arguments.iter().map(compare).collect::<Result<Vec<_>, _>>()?;
    let twice = |index| arguments.iter().filter(|argument| argument.index() == index).count() > 1;
    if arguments.iter().any(|argument| twice(argument.index())) {
        return Ok(all.into_iter().map(|one| vec![one]).collect());
    }
    Ok(vec![all])
}

fn compare(argument: &LinuxSeccompArg) -> Result<ScmpArgCompare, SeccompError> {
    if argument.index() >= MAX_ARGUMENTS {
        let rule = format!("system calls have no argument {}", argument.index());
        return Err(SeccompError::Invalid { rule });
    }
    let index = u32::try_from(argument.index()).expect("less than six");
    let (operator, value) = match argument.op() {
        LinuxSeccompOperator::ScmpCmpNe => (ScmpCompareOp::NotEqual, argument.value()),
        LinuxSeccompOperator::ScmpCmpLt => (ScmpCompareOp::Less, argument.value()),
        LinuxSeccompOperator::ScmpCmpLe => (ScmpCompareOp::LessOrEqual, argument.value()),
        LinuxSeccompOperator::ScmpCmpEq => (ScmpCompareOp::Equal, argument.value()),
        LinuxSeccompOperator::ScmpCmpGe => (ScmpCompareOp::GreaterEqual, argument.value()),
        LinuxSeccompOperator::ScmpCmpGt => (ScmpCompareOp::Greater, argument.value()),
        // The specification's first value is the mask, its second what must remain.
        LinuxSeccompOperator::ScmpCmpMaskedEq => {
            (ScmpCompareOp::MaskedEqual(argument.value()), argument.value_two().unwrap_or(0))
        }
    };
    Ok(ScmpArgCompare::new(index, operator, value))
}

fn action(action: LinuxSeccompAction, errno: Option<u32>) -> Result<ScmpAction, SeccompError> {
    let errno = errno.unwrap_or(DEFAULT_ERRNO);
    let small = u16::try_from(errno)
        .map_err(|_| SeccompError::Invalid { rule: format!("{errno} is not an error number") })?;
    Ok(match action {
        LinuxSeccompAction::ScmpActKill | LinuxSeccompAction::ScmpActKillThread => ScmpAction::KillThread,
        LinuxSeccompAction::ScmpActKillProcess => ScmpAction::KillProcess,
        LinuxSeccompAction::ScmpActTrap => ScmpAction::Trap,
        LinuxSeccompAction::ScmpActErrno => ScmpAction::Errno(i32::from(small)),
        LinuxSeccompAction::ScmpActTrace => ScmpAction::Trace(small),
        LinuxSeccompAction::ScmpActLog => ScmpAction::Log,
        LinuxSeccompAction::ScmpActAllow => ScmpAction::Allow,
        LinuxSeccompAction::ScmpActNotify => {
            return Err(SeccompError::Action { action: "SCMP_ACT_NOTIFY".to_owned() });
        }
    })
}

fn architectures(profile: &LinuxSeccomp) -> Result<Vec<ScmpArch>, SeccompError> {
    // The native one is always there.
    let mut architectures = vec![ScmpArch::native()];
    for named in profile.architectures().iter().flatten() {
        let architecture = match named {
            Arch::ScmpArchNative => ScmpArch::native(),
            Arch::ScmpArchX86 => ScmpArch::X86,
            Arch::ScmpArchX86_64 => ScmpArch::X8664,
            Arch::ScmpArchX32 => ScmpArch::X32,
            Arch::ScmpArchArm => ScmpArch::Arm,
            Arch::ScmpArchAarch64 => ScmpArch::Aarch64,
            Arch::ScmpArchMips => ScmpArch::Mips,
            Arch::ScmpArchMips64 => ScmpArch::Mips64,
            Arch::ScmpArchMips64n32 => ScmpArch::Mips64N32,
            Arch::ScmpArchMipsel => ScmpArch::Mipsel,
            Arch::ScmpArchMipsel64 => ScmpArch::Mipsel64,
            Arch::ScmpArchMipsel64n32 => ScmpArch::Mipsel64N32,
            Arch::ScmpArchPpc => ScmpArch::Ppc,
            Arch::ScmpArchPpc64 => ScmpArch::Ppc64,
            Arch::ScmpArchPpc64le => ScmpArch::Ppc64Le,
            Arch::ScmpArchS390 => ScmpArch::S390,
            Arch::ScmpArchS390x => ScmpArch::S390X,
            Arch::ScmpArchParisc => ScmpArch::Parisc,
            Arch::ScmpArchParisc64 => ScmpArch::Parisc64,
            Arch::ScmpArchRiscv64 => ScmpArch::Riscv64,
            Arch::ScmpArchLoongarch64 => ScmpArch::Loongarch64,
            Arch::ScmpArchM68k => ScmpArch::M68k,
            Arch::ScmpArchSh => ScmpArch::Sh,
            Arch::ScmpArchSheb => ScmpArch::Sheb,
        };
        if !architectures.contains(&architecture) {
            architectures.push(architecture);
        }
    }
    // Those of another byte order are not this machine's and can't be in one program with it.
    architectures.retain(|&architecture| can_run(architecture));
    Ok(architectures)
}

/// Whether processes of an architecture can exist here, so that the program need know it.
fn can_run(architecture: ScmpArch) -> bool {
    use ScmpArch::{Aarch64, Arm, S390, S390X, X32, X86, X8664};
    let native = ScmpArch::native();
    architecture == native
        || match native {
            X8664 => matches!(architecture, X86 | X32),
            Aarch64 => architecture == Arm,
            S390X => architecture == S390,
            _ => false,
        }
}

fn export(context: &ScmpFilterContext) -> Result<Vec<u8>, SeccompError> {
    let memory = rustix::fs::memfd_create("seccomp", MemfdFlags::CLOEXEC)
        .map_err(|error| SeccompError::Export { source: error.into() })?;
    let mut file = File::from(memory);
    context
        .export_bpf(&file)
        .map_err(|source| SeccompError::Compile { step: "the export".to_owned(), source })?;
    let mut program = Vec::new();
    file.rewind()
        .and_then(|()| file.read_to_end(&mut program))
        .map_err(|source| SeccompError::Export { source })?;
    Ok(program)
}
