//! What compiled programs answer, found out by running them as the kernel would.

use std::os::unix::process::CommandExt;

use super::*;
use crate::capabilities::from_mask;

const X86_64: u32 = 0xc000_003e;
const X86: u32 = 0x4000_0003;
const X32_BIT: u32 = 0x4000_0000;

const ALLOW: u32 = 0x7fff_0000;
const EPERM: u32 = 0x0005_0001;
const ENOSYS: u32 = 0x0005_0026;

/// Runs a classic BPF program on one system call.
fn judge(filter: &Filter, architecture: u32, number: u32, arguments: &[u64]) -> u32 {
    let mut data = Vec::new();
    data.extend(number.to_ne_bytes());
    data.extend(architecture.to_ne_bytes());
    data.extend([0; 8]);
    for at in 0..6 {
        data.extend(arguments.get(at).copied().unwrap_or(0).to_ne_bytes());
    }
    let steps: Vec<(u16, u8, u8, u32)> = filter
        .program
        .chunks(8)
        .map(|b| {
            let code = u16::from_ne_bytes([b[0], b[1]]);
            (code, b[2], b[3], u32::from_ne_bytes([b[4], b[5], b[6], b[7]]))
        })
        .collect();
    let (mut at, mut accumulator) = (0usize, 0u32);
    loop {
        let (code, yes, no, value) = steps[at];
        at += 1;
        let branch = |condition: bool| usize::from(if condition { yes } else { no });
        match code {
            0x20 => {
                let from = usize::try_from(value).expect("small");
                accumulator = u32::from_ne_bytes(data[from..from + 4].try_into().expect("four bytes"));
            }
            0x15 => at += branch(accumulator == value),
            0x25 => at += branch(accumulator > value),
            0x35 => at += branch(accumulator >= value),
            0x45 => at += branch(accumulator & value != 0),
            0x05 => at += usize::try_from(value).expect("small"),
            0x54 => accumulator &= value,
            0x06 => return value,
            other => panic!("instruction {other:#x}"),
        }
    }
}

#[test]
#[cfg(target_arch = "x86_64")]
fn the_default_profile_answers() {
    let filter = compile(&default_profile(&Default::default())).expect("compiled");
    let all = compile(&default_profile(&from_mask(u64::MAX))).expect("compiled");
    let fixed = compile(&default_profile_with_fixed_projects(&Default::default())).expect("compiled");
    let (none, user) = (0u64, 0x1000_0000u64);
    let table: &[(&str, &Filter, u32, u32, &[u64], u32)] = &[
        ("read", &filter, X86_64, 0, &[], ALLOW),
        ("read on x32", &filter, X86_64, X32_BIT, &[], ALLOW),
        ("read on x86", &filter, X86, 3, &[], ALLOW),
        ("mount", &filter, X86_64, 165, &[], EPERM),
        ("mount with all capabilities", &all, X86_64, 165, &[], ALLOW),
        ("keyctl", &all, X86_64, 250, &[], EPERM),
        ("io_uring_setup", &all, X86_64, 425, &[], EPERM),
        ("userfaultfd", &all, X86_64, 323, &[], EPERM),
        ("clone for a thread", &filter, X86_64, 56, &[0x3d_0f00], ALLOW),
        ("clone with a user namespace", &filter, X86_64, 56, &[user], EPERM),
        ("clone with a user namespace on x86", &filter, X86, 120, &[user], EPERM),
        ("clone with a user namespace, all capabilities", &all, X86_64, 56, &[user], ALLOW),
        ("clone3", &filter, X86_64, 435, &[none], ENOSYS),
        ("clone3 with all capabilities", &all, X86_64, 435, &[none], ALLOW),
        ("a socket of AF_INET", &filter, X86_64, 41, &[2], ALLOW),
        ("a socket of AF_NETLINK", &filter, X86_64, 41, &[16], ALLOW),
        ("a socket of AF_ALG", &all, X86_64, 41, &[38], EPERM),
        ("a socket of the family between", &filter, X86_64, 41, &[39], ALLOW),
        ("a socket of AF_VSOCK", &all, X86_64, 41, &[40], EPERM),
        ("a socket of AF_XDP", &filter, X86_64, 41, &[44], ALLOW),
        ("AF_ALG with its upper half filled", &all, X86_64, 41, &[0x1_0000_0026], EPERM),
        ("AF_VSOCK with its upper half filled", &all, X86_64, 41, &[0x1_0000_0028], EPERM),
        ("AF_VSOCK with its upper half full", &all, X86_64, 41, &[0xffff_ffff_0000_0028], EPERM),
        ("AF_VSOCK on x32 with its upper half filled", &all, X86_64, X32_BIT | 41, &[0x1_0000_0028], EPERM),
        ("AF_INET with its upper half filled", &filter, X86_64, 41, &[0x1_0000_0002], ALLOW),
        ("a socket of the last family", &filter, X86_64, 41, &[45], ALLOW),
        ("a socket of a family of the future", &all, X86_64, 41, &[46], EPERM),
        ("a socket of AF_ALG on x86", &all, X86, 359, &[38], EPERM),
        ("a socket of AF_INET on x86", &filter, X86, 359, &[2], ALLOW),
        ("socketcall on x86", &filter, X86, 102, &[1], ENOSYS),
        ("personality of Linux", &filter, X86_64, 135, &[0], ALLOW),
        ("personality, asking", &filter, X86_64, 135, &[0xffff_ffff], ALLOW),
        ("personality without random addresses", &filter, X86_64, 135, &[0x4_0000], EPERM),
        ("ioctl TCGETS", &filter, X86_64, 16, &[0, 0x5401], ALLOW),
        ("ioctl FS_IOC_FSGETXATTR", &filter, X86_64, 16, &[0, 0x801c_581f], ALLOW),
        ("ioctl FS_IOC_FSSETXATTR", &all, X86_64, 16, &[0, 0x401c_5820], EPERM),
        ("the same with its upper half filled", &all, X86_64, 16, &[0, 0xff_401c_5820], EPERM),
        ("the same on x86", &all, X86, 54, &[0, 0x401c_5820], EPERM),
        ("a neighbour of it", &filter, X86_64, 16, &[0, 0x401c_5821], ALLOW),
        ("ioctl FS_IOC_SETFLAGS", &filter, X86_64, 16, &[0, 0x4008_6602], ALLOW),
        ("ioctl FS_IOC_SETFLAGS with fixed projects", &fixed, X86_64, 16, &[0, 0x4008_6602], EPERM),
        ("the same with its upper half filled", &fixed, X86_64, 16, &[0, 0x1_4008_6602], EPERM),
        ("its number in 32-bit programs", &fixed, X86, 54, &[0, 0x4004_6602], EPERM),
        ("ioctl FS_IOC_FSSETXATTR with fixed projects", &fixed, X86_64, 16, &[0, 0x401c_5820], EPERM),
        ("ioctl FS_IOC_GETFLAGS with fixed projects", &fixed, X86_64, 16, &[0, 0x8008_6601], ALLOW),
        ("ioctl TCGETS with fixed projects", &fixed, X86_64, 16, &[0, 0x5401], ALLOW),
        ("a neighbour with fixed projects", &fixed, X86_64, 16, &[0, 0x4008_6603], ALLOW),
        ("another neighbour with fixed projects", &fixed, X86_64, 16, &[0, 0x4008_e602], ALLOW),
        ("a call of the future", &filter, X86_64, 1000, &[], ENOSYS),
        ("a call of the future on x86", &filter, X86, 1000, &[], ENOSYS),
        ("a call of the future on x32", &filter, X86_64, X32_BIT | 1000, &[], ENOSYS),
        ("chroot", &filter, X86_64, 161, &[], EPERM),
    ];
    for &(what, filter, architecture, number, arguments, expected) in table {
        let answer = judge(filter, architecture, number, arguments);
        assert_eq!(answer, expected, "{what}: {answer:#x}");
    }
}

#[test]
fn odd_profiles() {
    let text = r#"{"defaultAction":"SCMP_ACT_ALLOW","flags":["SECCOMP_FILTER_FLAG_LOG","SECCOMP_FILTER_FLAG_SPEC_ALLOW"],
        "syscalls":[{"names":["getcwd","of_the_future"],"action":"SCMP_ACT_ERRNO","errnoRet":13},
                    {"names":["getpid"],"action":"SCMP_ACT_KILL_PROCESS"},
                    {"names":["read"],"action":"SCMP_ACT_ALLOW"},
                    {"names":["prctl"],"action":"SCMP_ACT_ERRNO","args":[
                        {"index":0,"value":1,"op":"SCMP_CMP_EQ"},{"index":0,"value":2,"op":"SCMP_CMP_EQ"}]}]}"#;
    let profile = profile_from_json(text, &Default::default()).expect("valid");
    let filter = compile(&profile).expect("compiled");
    assert_eq!(filter.flags, 0b110);
    if cfg!(target_arch = "x86_64") {
        assert_eq!(judge(&filter, X86_64, 79, &[]), 0x0005_000d);
        assert_eq!(judge(&filter, X86_64, 39, &[]), 0x8000_0000);
        assert_eq!(judge(&filter, X86_64, 0, &[]), ALLOW);
        assert_eq!(judge(&filter, X86_64, 1000, &[]), ALLOW);
        for (value, expected) in [(1, EPERM), (2, EPERM), (3, ALLOW)] {
            assert_eq!(judge(&filter, X86_64, 157, &[value]), expected, "the same argument twice: {value}");
        }
    }
}

#[test]
fn every_profile_fits_the_kernel() {
    for bits in [0, u64::MAX] {
        let filter = compile(&default_profile_with_fixed_projects(&from_mask(bits))).expect("compiled");
        assert_eq!(filter.program.len() % 8, 0);
        assert!(filter.program.len() <= 4096 * 8, "{} instructions", filter.program.len() / 8);
    }
}

/// The kernel takes the program, and ordinary programs run under it.
#[test]
fn real_programs_run_under_the_default_profile() {
    if !rustix::process::geteuid().is_root() {
        println!("skipped: real_programs_run_under_the_default_profile: needs root");
        return;
    }
    let filter = compile(&default_profile(&Default::default())).expect("compiled");
    let scripts = [
        "ls -lR /etc >/dev/null && date && id && sort /etc/passwd | head -3",
        "command -v python3 >/dev/null || exit 0; python3 -c 'import threading,subprocess,socket,tempfile\n\
         t=threading.Thread(target=lambda:0);t.start();t.join()\n\
         subprocess.run([\"true\"],check=True);socket.socket().close();tempfile.TemporaryFile()'",
        "command -v bash >/dev/null || exit 0; bash -c 'for i in 1 2 3; do (echo $i) | cat; done; wait'",
        "command -v runc >/dev/null || exit 0; runc --version",
        "command -v apt-get >/dev/null || exit 0; apt-get --version",
        "! mount -t tmpfs none /mnt 2>/dev/null && ! unshare -U true 2>/dev/null",
    ];
    for script in scripts {
        let filter = filter.clone();
        let load = move || loam_sys::load_seccomp_filter(&filter.program, filter.flags);
        let mut shell = std::process::Command::new("sh");
        shell.args(["-ec", script]).stdout(std::process::Stdio::null());
        assert!(confined(shell, load), "{script}");
    }
}

/// Runs a command behind a filter that this thread, made for it, loads first.
fn confined(
    mut command: std::process::Command,
    load: impl FnOnce() -> std::io::Result<()> + Send + 'static,
) -> bool {
    command.arg0("sh");
    std::thread::spawn(move || {
        load().expect("the kernel takes the program");
        command.status().expect("a shell").success()
    })
    .join()
    .expect("the thread ended by itself")
}
