//! A seccomp filter of a fixed kind: a list of system calls is allowed, and nothing else (seccomp(2)).
//!
//! The filters of containers come from profiles and are compiled by libseccomp. This one is for processes of our own that
//! read strangers' bytes: they know what they call, and must not pay for a compiler.

use std::io;

use crate::confinement::load_seccomp_filter;

#[cfg(target_arch = "x86_64")]
const ARCHITECTURE: u32 = 0xc000_003e; // AUDIT_ARCH_X86_64
#[cfg(target_arch = "aarch64")]
const ARCHITECTURE: u32 = 0xc000_00b7; // AUDIT_ARCH_AARCH64

const LOAD: u16 = 0x20; // BPF_LD | BPF_W | BPF_ABS
const JUMP_IF_EQUAL: u16 = 0x15; // BPF_JMP | BPF_JEQ | BPF_K
const JUMP_IF_SET: u16 = 0x45; // BPF_JMP | BPF_JSET | BPF_K
const RETURN: u16 = 0x06; // BPF_RET | BPF_K

/// Offsets in `struct seccomp_data`.
const NUMBER_AT: u32 = 0;
const ARCHITECTURE_AT: u32 = 4;
/// The lower half of the first argument, on the little-endian machines that Loam runs on.
const FIRST_ARGUMENT_AT: u32 = 16;

const ALLOW: u32 = 0x7fff_0000;
const KILL: u32 = 0x8000_0000;
const ERRNO: u32 = 0x0005_0000;

/// One instruction of the filter, `struct sock_filter`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Step {
    code: u16,
    if_true: u8,
    if_false: u8,
    value: u32,
}

fn step(code: u16, value: u32) -> Step {
    Step { code, if_true: 0, if_false: 0, value }
}

/// Answers calls with this number: the next instruction is skipped for all others.
fn on_call(number: i64, answer: u32) -> [Step; 2] {
    let number = u32::try_from(number).unwrap_or(u32::MAX);
    [Step { if_false: 1, ..step(JUMP_IF_EQUAL, number) }, step(RETURN, answer)]
}

fn refusal(errno: i32) -> u32 {
    ERRNO | errno.cast_unsigned()
}

/// A call that is allowed when one of its arguments, a number of 32 bits, is one of these.
#[derive(Clone, Debug)]
pub struct CheckedCall {
    /// `SYS_…` of the libc crate.
    pub number: i64,
    /// Which argument, from 0.
    pub argument: u32,
    /// What it may be; fewer than 100.
    pub values: Vec<u32>,
}

/// Lets this process, and all its threads and children, make only these system calls (`SYS_…` of the libc crate), for
/// good. Threads may be started, processes and namespaces not. What is not allowed fails with EPERM, so that a C library
/// that tries something newer finds its fallback; calls of a foreign architecture end the process. The process must
/// have given up new privileges, or be allowed to administer the system.
pub fn allow_only(calls: &[i64], checked: &[CheckedCall]) -> io::Result<()> {
    load_seccomp_filter(&bytes(&program(calls, checked)), 0)
}

/// The filter that answers these calls with an error and allows all others.
pub(crate) fn refusals(calls: &[i64], errno: i32) -> Vec<u8> {
    let mut steps = vec![step(LOAD, NUMBER_AT)];
    steps.extend(calls.iter().flat_map(|call| on_call(*call, refusal(errno))));
    steps.push(step(RETURN, ALLOW));
    bytes(&steps)
}

fn bytes(steps: &[Step]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for step in steps {
        bytes.extend(step.code.to_ne_bytes());
        bytes.extend([step.if_true, step.if_false]);
        bytes.extend(step.value.to_ne_bytes());
    }
    bytes
}

fn program(calls: &[i64], checked: &[CheckedCall]) -> Vec<Step> {
    let namespaces = libc::CLONE_NEWNS
        | libc::CLONE_NEWUSER
        | libc::CLONE_NEWPID
        | libc::CLONE_NEWNET
        | libc::CLONE_NEWIPC
        | libc::CLONE_NEWUTS
        | libc::CLONE_NEWCGROUP;
    let mut steps = vec![
        step(LOAD, ARCHITECTURE_AT),
        Step { if_true: 1, ..step(JUMP_IF_EQUAL, ARCHITECTURE) },
        step(RETURN, KILL),
        step(LOAD, NUMBER_AT),
    ];
    for call in calls {
        steps.extend(on_call(*call, ALLOW));
    }
    for CheckedCall { number, argument, values } in checked {
        let number = u32::try_from(*number).unwrap_or(u32::MAX);
        // A load, two steps a value, and the refusal.
        let over = u8::try_from(2 * values.len() + 2).unwrap_or(u8::MAX);
        steps.push(Step { if_false: over, ..step(JUMP_IF_EQUAL, number) });
        steps.push(step(LOAD, FIRST_ARGUMENT_AT + 8 * argument));
        for value in values {
            steps.extend(on_call(i64::from(*value), ALLOW));
        }
        steps.push(step(RETURN, refusal(libc::EPERM)));
    }
    // Its flags lie in memory, where a filter can't see them; the C library then tries the older call.
    steps.extend(on_call(libc::SYS_clone3, refusal(libc::ENOSYS)));
    steps.extend([
        Step { if_false: 5, ..step(JUMP_IF_EQUAL, u32::try_from(libc::SYS_clone).unwrap_or(u32::MAX)) },
        step(LOAD, FIRST_ARGUMENT_AT),
        Step { if_true: 3, ..step(JUMP_IF_SET, namespaces.cast_unsigned()) },
        Step { if_false: 2, ..step(JUMP_IF_SET, libc::CLONE_THREAD.cast_unsigned()) },
        step(RETURN, ALLOW),
        step(RETURN, refusal(libc::EPERM)),
        step(RETURN, refusal(libc::EPERM)),
    ]);
    steps
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the kernel would answer.
    fn answer(steps: &[Step], architecture: u32, number: i64, argument: u32) -> u32 {
        let (mut at, mut word) = (0, 0);
        loop {
            let Step { code, if_true, if_false, value } = steps[at];
            at += 1;
            let holds = match code {
                LOAD => {
                    word = match value {
                        NUMBER_AT => u32::try_from(number).unwrap(),
                        ARCHITECTURE_AT => architecture,
                        _ => argument,
                    };
                    continue;
                }
                RETURN => return value,
                JUMP_IF_EQUAL => word == value,
                _ => word & value != 0,
            };
            at += usize::from(if holds { if_true } else { if_false });
        }
    }

    #[test]
    fn what_is_listed_is_allowed_and_nothing_else() {
        let steps = program(&[libc::SYS_read, libc::SYS_write], &[]);
        let ask = |number, argument| answer(&steps, ARCHITECTURE, number, argument);
        assert_eq!([libc::SYS_read, libc::SYS_write].map(|call| ask(call, 7)), [ALLOW; 2]);
        let denied = refusal(libc::EPERM);
        let calls = [libc::SYS_socket, libc::SYS_execve, libc::SYS_openat, 0x4000_0000];
        assert_eq!(calls.map(|call| ask(call, 0)), [denied; 4]);
        assert_eq!(answer(&steps, 3, libc::SYS_read, 0), KILL);
    }

    #[test]
    fn arguments_are_looked_at() {
        let checked = |number, values: &[u32]| CheckedCall { number, argument: 0, values: values.to_vec() };
        let rules = [checked(libc::SYS_tgkill, &[77]), checked(libc::SYS_fcntl, &[1, 2])];
        let steps = program(&[libc::SYS_read], &rules);
        let ask = |number, argument| answer(&steps, ARCHITECTURE, number, argument);
        let denied = refusal(libc::EPERM);
        assert_eq!([1, 2, 3].map(|value| ask(libc::SYS_fcntl, value)), [ALLOW, ALLOW, denied]);
        assert_eq!([77, 1].map(|value| ask(libc::SYS_tgkill, value)), [ALLOW, denied]);
        assert_eq!((ask(libc::SYS_read, 5), ask(libc::SYS_kill, 77)), (ALLOW, denied));
    }

    #[test]
    fn threads_may_be_started_and_nothing_more() {
        let steps = program(&[], &[]);
        let ask = |call, flags: i32| answer(&steps, ARCHITECTURE, call, flags.cast_unsigned());
        assert_eq!(ask(libc::SYS_clone3, 0), refusal(libc::ENOSYS));
        assert_eq!(ask(libc::SYS_clone, libc::CLONE_THREAD | libc::CLONE_VM), ALLOW);
        let denied = [libc::SIGCHLD, libc::CLONE_NEWUSER, libc::CLONE_THREAD | libc::CLONE_NEWNET];
        assert_eq!(denied.map(|flags| ask(libc::SYS_clone, flags)), [refusal(libc::EPERM); 3]);
    }
}
