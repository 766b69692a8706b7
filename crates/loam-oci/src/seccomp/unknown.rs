//! The answer to system calls that are newer than a profile.
//!
//! A C library tries a new system call first, and the old one when it hears "not implemented". A profile written before
//! the new one answers "not permitted", and the program fails. So what has a higher number than everything that the
//! profile names, which can only be newer, is answered with "not implemented" before the profile's own program begins.

use libseccomp::{ScmpArch, ScmpSyscall};
use loam_model::oci_spec::runtime::LinuxSeccomp;

// Classic BPF (linux/bpf_common.h).
const LOAD_WORD: u16 = 0x20;
const JUMP_EQUAL: u16 = 0x15;
const JUMP_GREATER: u16 = 0x25;
const JUMP_GREATER_EQUAL: u16 = 0x35;
const JUMP: u16 = 0x05;
const RETURN: u16 = 0x06;

/// Where `struct seccomp_data` has the number of the system call.
const NUMBER: u32 = 0;
/// Where it has the architecture.
const ARCHITECTURE: u32 = 4;
/// `SECCOMP_RET_ERRNO` with ENOSYS.
const NOT_IMPLEMENTED: u32 = 0x0005_0000 | 38;
/// What the kernel adds to the numbers of the x32 architecture.
const X32_BIT: u32 = 0x4000_0000;

/// One instruction, `struct sock_filter`.
struct Step(u16, u8, u8, u32);

impl Step {
    fn bytes(&self) -> [u8; 8] {
        let Self(code, yes, no, value) = self;
        let mut bytes = [0; 8];
        bytes[..2].copy_from_slice(&code.to_ne_bytes());
        bytes[2] = *yes;
        bytes[3] = *no;
        bytes[4..].copy_from_slice(&value.to_ne_bytes());
        bytes
    }
}

/// The instructions that go before the profile's.
pub(super) fn prologue(profile: &LinuxSeccomp, architectures: &[ScmpArch]) -> Vec<u8> {
    let newest = |architecture: ScmpArch| newest(profile, architecture);
    let mut steps = Vec::new();
    for &architecture in architectures {
        let Some(token) = audit_token(architecture) else { continue };
        let (Some(limit), false) = (newest(architecture), architecture == ScmpArch::X32) else { continue };
        let mut body = vec![Step(LOAD_WORD, 0, 0, NUMBER)];
        if architecture == ScmpArch::X8664 {
            // x32 shares the token of x86-64 and is told apart by the number.
            let x32 = architectures.contains(&ScmpArch::X32).then(|| newest(ScmpArch::X32)).flatten();
            match x32 {
                Some(x32) => {
                    body.push(Step(JUMP_GREATER_EQUAL, 0, 2, X32_BIT));
                    body.push(Step(JUMP_GREATER, 2, 0, X32_BIT | x32));
                    body.push(Step(JUMP, 0, 0, 2));
                }
                None => body.push(Step(JUMP_GREATER_EQUAL, 2, 0, X32_BIT)),
            }
        }
        body.push(Step(JUMP_GREATER, 0, 1, limit));
        body.push(Step(RETURN, 0, 0, NOT_IMPLEMENTED));
        let over = u8::try_from(body.len()).expect("six instructions");
        steps.push(Step(LOAD_WORD, 0, 0, ARCHITECTURE));
        steps.push(Step(JUMP_EQUAL, 0, over, token));
        steps.extend(body);
    }
    steps.iter().flat_map(Step::bytes).collect()
}

/// The highest number, on an architecture, of the system calls that a profile names.
fn newest(profile: &LinuxSeccomp, architecture: ScmpArch) -> Option<u32> {
    let rules = profile.syscalls().iter().flatten();
    let numbers = rules.flat_map(|rule| rule.names()).filter_map(|name| {
        let call = ScmpSyscall::from_name_by_arch(name, architecture).ok()?;
        // Numbers below zero are libseccomp's own, for calls that the architecture lacks.
        u32::try_from(call.as_raw_syscall()).ok().map(|number| number & !X32_BIT)
    });
    numbers.max()
}

/// What `seccomp_data.arch` is on an architecture (linux/audit.h).
fn audit_token(architecture: ScmpArch) -> Option<u32> {
    Some(match architecture {
        ScmpArch::X8664 | ScmpArch::X32 => 0xc000_003e,
        ScmpArch::X86 => 0x4000_0003,
        ScmpArch::Aarch64 => 0xc000_00b7,
        ScmpArch::Arm => 0x4000_0028,
        ScmpArch::Riscv64 => 0xc000_00f3,
        _ => return None,
    })
}
