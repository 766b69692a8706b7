//! System calls as safe functions.

use core::arch::asm;
use core::ffi::CStr;

use super::start::Strings;
use super::{Errno, Result, number};

/// # Safety
/// The arguments must be what the system call `number` takes: pointers valid for what the kernel does with them.
#[cfg(target_arch = "x86_64")]
pub(super) unsafe fn raw(number: usize, arguments: [usize; 6]) -> Result<usize> {
    let result: isize;
    // SAFETY: the caller vouches for the arguments; the instruction clobbers what is named here.
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") number as isize => result,
            in("rdi") arguments[0],
            in("rsi") arguments[1],
            in("rdx") arguments[2],
            in("r10") arguments[3],
            in("r8") arguments[4],
            in("r9") arguments[5],
            lateout("rcx") _,
            lateout("r11") _,
            options(nostack),
        );
    }
    check(result)
}

/// # Safety
/// The arguments must be what the system call `number` takes: pointers valid for what the kernel does with them.
#[cfg(target_arch = "aarch64")]
pub(super) unsafe fn raw(number: usize, arguments: [usize; 6]) -> Result<usize> {
    let result: isize;
    // SAFETY: the caller vouches for the arguments; the kernel keeps all registers but x0.
    unsafe {
        asm!(
            "svc #0",
            in("x8") number,
            inlateout("x0") arguments[0] as isize => result,
            in("x1") arguments[1],
            in("x2") arguments[2],
            in("x3") arguments[3],
            in("x4") arguments[4],
            in("x5") arguments[5],
            options(nostack),
        );
    }
    check(result)
}

fn check(result: isize) -> Result<usize> {
    if (-4095..0).contains(&result) { Err(Errno(-result as i32)) } else { Ok(result as usize) }
}

/// Ends the process.
pub fn exit(code: u8) -> ! {
    loop {
        // SAFETY: takes a number.
        let _ = unsafe { raw(number::EXIT_GROUP, [usize::from(code), 0, 0, 0, 0, 0]) };
    }
}

/// Reads, again when a signal came in between.
pub fn read(fd: i32, buffer: &mut [u8]) -> Result<usize> {
    loop {
        let arguments = [fd as usize, buffer.as_mut_ptr() as usize, buffer.len(), 0, 0, 0];
        // SAFETY: the buffer is valid for its length.
        match unsafe { raw(number::READ, arguments) } {
            Err(Errno::INTR) => {}
            result => return result,
        }
    }
}

/// Writes some of it.
pub fn write(fd: i32, bytes: &[u8]) -> Result<usize> {
    loop {
        // SAFETY: the bytes are valid for their length.
        match unsafe { raw(number::WRITE, [fd as usize, bytes.as_ptr() as usize, bytes.len(), 0, 0, 0]) } {
            Err(Errno::INTR) => {}
            result => return result,
        }
    }
}

/// Writes all of it.
pub fn write_all(fd: i32, mut bytes: &[u8]) -> Result<()> {
    while !bytes.is_empty() {
        let count = write(fd, bytes)?;
        bytes = &bytes[count..];
    }
    Ok(())
}

/// Opens a file for reading.
pub fn open(path: &CStr) -> Result<i32> {
    const AT_FDCWD: isize = -100;
    const O_CLOEXEC: usize = 0o2_000_000;
    // SAFETY: the path ends with a zero byte.
    let fd = unsafe { raw(number::OPENAT, [AT_FDCWD as usize, path.as_ptr() as usize, O_CLOEXEC, 0, 0, 0]) }?;
    Ok(fd as i32)
}

/// Closes a descriptor.
pub fn close(fd: i32) {
    // SAFETY: takes a number.
    let _ = unsafe { raw(number::CLOSE, [fd as usize, 0, 0, 0, 0, 0]) };
}

/// Reads a file from its beginning, as much as the buffer takes.
pub fn read_file<'a>(path: &CStr, buffer: &'a mut [u8]) -> Result<&'a [u8]> {
    let fd = open(path)?;
    let mut length = 0;
    let mut result = Ok(());
    while length < buffer.len() {
        match read(fd, &mut buffer[length..]) {
            Ok(0) => break,
            Ok(count) => length += count,
            Err(error) => {
                result = Err(error);
                break;
            }
        }
    }
    close(fd);
    result.map(|()| &buffer[..length])
}

/// The process id.
pub fn pid() -> i32 {
    // SAFETY: takes nothing.
    unsafe { raw(number::GETPID, [0; 6]) }.unwrap_or(0) as i32
}

/// What uname(2) says: the fields are zero-padded texts.
#[repr(C)]
pub struct Names {
    pub system: [u8; 65],
    pub node: [u8; 65],
    pub release: [u8; 65],
    pub version: [u8; 65],
    pub machine: [u8; 65],
    pub domain: [u8; 65],
}

/// The names of the machine and the kernel.
pub fn names() -> Names {
    let mut names = Names {
        system: [0; 65],
        node: [0; 65],
        release: [0; 65],
        version: [0; 65],
        machine: [0; 65],
        domain: [0; 65],
    };
    // SAFETY: the struct has the layout of `struct new_utsname`.
    let _ = unsafe { raw(number::UNAME, [(&raw mut names) as usize, 0, 0, 0, 0, 0]) };
    names
}

/// A set of signals, the lowest bit signal 1.
#[derive(Clone, Copy)]
pub struct SignalSet(pub u64);

impl SignalSet {
    /// Every signal.
    pub const ALL: SignalSet = SignalSet(u64::MAX);

    /// The set of these.
    pub fn of(signals: &[i32]) -> SignalSet {
        SignalSet(signals.iter().fold(0, |set, signal| set | 1 << (signal - 1)))
    }
}

/// Makes this set the blocked signals and gives the set before.
pub fn set_signal_mask(set: SignalSet) -> SignalSet {
    const SIG_SETMASK: usize = 2;
    let mut old = SignalSet(0);
    // SAFETY: both sets are eight bytes long, as said in the fourth argument.
    let _ = unsafe {
        raw(
            number::RT_SIGPROCMASK,
            [SIG_SETMASK, (&raw const set) as usize, (&raw mut old) as usize, 8, 0, 0],
        )
    };
    old
}

/// Takes one of these (blocked) signals from the queue when it comes.
pub fn wait_signal(set: SignalSet) -> Result<i32> {
    // SAFETY: the set is eight bytes long; no information and no time limit are asked for.
    let signal = unsafe { raw(number::RT_SIGTIMEDWAIT, [(&raw const set) as usize, 0, 0, 8, 0, 0]) }?;
    Ok(signal as i32)
}

/// A descriptor that is readable when one of these (blocked) signals has come.
pub fn signal_descriptor(set: SignalSet) -> Result<i32> {
    const SFD_CLOEXEC: usize = 0o2_000_000;
    // SAFETY: the set is eight bytes long.
    let fd =
        unsafe { raw(number::SIGNALFD4, [usize::MAX, (&raw const set) as usize, 8, SFD_CLOEXEC, 0, 0]) }?;
    Ok(fd as i32)
}

/// Sends a signal to a process, or to a process group when the number is negative.
pub fn kill(pid: i32, signal: i32) -> Result<()> {
    // SAFETY: takes numbers.
    unsafe { raw(number::KILL, [pid as isize as usize, signal as usize, 0, 0, 0, 0]) }.map(|_| ())
}

/// What [`fork`] gives.
pub enum Fork {
    /// This is the new process.
    Child,
    /// This is the old one; the id of the new.
    Parent(i32),
}

/// Copies this process.
pub fn fork() -> Result<Fork> {
    const SIGCHLD: usize = 17;
    // SAFETY: without CLONE_VM and with no new stack, both processes go on here, each with its own memory; these
    // programs have one thread.
    let pid = unsafe { raw(number::CLONE, [SIGCHLD, 0, 0, 0, 0, 0]) }?;
    Ok(if pid == 0 { Fork::Child } else { Fork::Parent(pid as i32) })
}

/// Becomes another program; returns only when that fails.
pub fn exec(path: &CStr, arguments: Strings, environment: Strings) -> Errno {
    let arguments =
        [path.as_ptr() as usize, arguments.as_ptr() as usize, environment.as_ptr() as usize, 0, 0, 0];
    // SAFETY: the path ends with a zero byte, the lists are the kernel's own, ended by null pointers.
    unsafe { raw(number::EXECVE, arguments) }.err().unwrap_or(Errno(0))
}

/// Collects an ended child without waiting: its id and its status as wait(2) packs it; `None` when none has ended.
pub fn collect_child() -> Result<Option<(i32, i32)>> {
    const WNOHANG: usize = 1;
    let mut status = 0i32;
    // SAFETY: the status is a valid integer; no usage is asked for.
    let pid = unsafe { raw(number::WAIT4, [usize::MAX, (&raw mut status) as usize, WNOHANG, 0, 0, 0]) }?;
    Ok((pid != 0).then_some((pid as i32, status)))
}

/// Puts a process into a process group of its own. 0 is this process.
pub fn lead_group(pid: i32) -> Result<()> {
    // SAFETY: takes numbers.
    unsafe { raw(number::SETPGID, [pid as usize, pid as usize, 0, 0, 0, 0]) }.map(|_| ())
}

/// Makes a process group the foreground one of the terminal behind `fd`.
pub fn take_terminal(fd: i32, group: i32) -> Result<()> {
    const TIOCSPGRP: usize = 0x5410;
    // SAFETY: the request reads one integer.
    unsafe { raw(number::IOCTL, [fd as usize, TIOCSPGRP, (&raw const group) as usize, 0, 0, 0]) }.map(|_| ())
}

/// Makes orphans below this process its children.
pub fn adopt_orphans() {
    const PR_SET_CHILD_SUBREAPER: usize = 36;
    // SAFETY: takes numbers.
    let _ = unsafe { raw(number::PRCTL, [PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0, 0]) };
}
