//! A sandbox for tests.

/// Has the kernel refuse system calls to this thread with an error.
pub(crate) fn refuse(calls: [libc::c_long; 2], errno: i32) {
    let step = |code: u32, to: u8, value: u32| libc::sock_filter {
        code: u16::try_from(code).unwrap(),
        jt: to,
        jf: 0,
        k: value,
    };
    let number = |call: libc::c_long| u32::try_from(call).unwrap();
    let mut program = [
        step(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0),
        step(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 2, number(calls[0])),
        step(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 1, number(calls[1])),
        step(libc::BPF_RET | libc::BPF_K, 0, libc::SECCOMP_RET_ALLOW),
        step(libc::BPF_RET | libc::BPF_K, 0, libc::SECCOMP_RET_ERRNO | u32::try_from(errno).unwrap()),
    ];
    let filter = libc::sock_fprog { len: 5, filter: program.as_mut_ptr() };
    // SAFETY: takes integers.
    let set = unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) };
    assert_eq!(set, 0);
    // SAFETY: the kernel reads the program of five steps, which lives until it returns.
    let set = unsafe { libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const filter) };
    assert_eq!(set, 0);
}
