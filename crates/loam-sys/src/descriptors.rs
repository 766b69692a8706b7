//! The table of file descriptors as a whole.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use rustix::fs::{Mode, OFlags, PROC_SUPER_MAGIC, RawDir};

/// Closes every descriptor but the standard streams and these (close_range(2), Linux 5.9), whoever believes to own the
/// others: only for a process that will never come back to what it had open, such as a new one that is about to become
/// another program.
pub fn close_all_but(kept: &[BorrowedFd<'_>]) -> io::Result<()> {
    let mut numbers: Vec<libc::c_uint> = kept
        .iter()
        .map(|descriptor| descriptor.as_raw_fd().unsigned_abs())
        .filter(|number| *number > 2)
        .collect();
    numbers.sort_unstable();
    let mut first = 3;
    for number in numbers {
        close_range(first, number.saturating_sub(1))?;
        first = first.max(number + 1);
    }
    close_range(first, libc::c_uint::MAX)
}

/// Closes the descriptors from one number to another. Where close_range(2) is refused, each is closed by itself. Neither
/// way allocates.
pub(crate) fn close_range(first: libc::c_uint, last: libc::c_uint) -> io::Result<()> {
    if first > last {
        return Ok(());
    }
    // SAFETY: takes integers. Owners of closed descriptors get EBADF from then on, as the callers document.
    let result = unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) };
    if result == 0 {
        return Ok(());
    }
    let error = io::Error::last_os_error();
    match error.raw_os_error() {
        // The kernel knows no reason to say EPERM: that is a sandbox's answer.
        Some(libc::ENOSYS | libc::EPERM) => Ok(close_one_by_one(first, last)?),
        _ => Err(error),
    }
}

fn close_one_by_one(first: libc::c_uint, last: libc::c_uint) -> rustix::io::Result<()> {
    let Some(table) = open_table() else {
        // A limit that was lowered leaves open what is above.
        let most = rustix::process::getrlimit(rustix::process::Resource::Nofile).maximum;
        let most = most.unwrap_or(u64::MAX).clamp(1 << 16, 1 << 20);
        (first..=last).take_while(|number| u64::from(*number) < most).for_each(close);
        return Ok(());
    };
    let mut buffer = [MaybeUninit::uninit(); 2048];
    let mut entries = RawDir::new(&table, &mut buffer);
    while let Some(entry) = entries.next() {
        let number = entry?.file_name().to_str().ok().and_then(|name| name.parse().ok());
        if let Some(number) = number.filter(|number| (first..=last).contains(number))
            && number != table.as_raw_fd().unsigned_abs()
        {
            close(number);
        }
    }
    Ok(())
}

/// The kernel's list of this process's descriptors. In a container's root file system anything may lie in its place.
fn open_table() -> Option<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let table = rustix::fs::open(c"/proc/thread-self/fd", flags, Mode::empty()).ok()?;
    let is_of_the_kernel = rustix::fs::fstatfs(&table).is_ok_and(|system| system.f_type == PROC_SUPER_MAGIC);
    is_of_the_kernel.then_some(table)
}

fn close(number: libc::c_uint) {
    // SAFETY: takes a number. Whoever owned the descriptor gets EBADF from then on, as the callers document.
    unsafe { libc::close(number.cast_signed()) };
}

/// Moves a descriptor to a number of one's choice, close-on-exec, in place of what was there.
pub fn move_to(descriptor: OwnedFd, number: RawFd) -> io::Result<OwnedFd> {
    if descriptor.as_raw_fd() == number {
        return Ok(descriptor);
    }
    // SAFETY: takes integers only. Whoever owned `number` finds the new file there, as the callers document.
    let result = unsafe { libc::dup3(descriptor.as_raw_fd(), number, libc::O_CLOEXEC) };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: dup3 has just made this descriptor, and nobody else was given it.
    Ok(unsafe { OwnedFd::from_raw_fd(result) })
}

/// Duplicates a descriptor that whoever started this process has left open for it, close-on-exec. The number itself stays
/// open.
pub fn duplicate_inherited(number: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: takes integers only; a number that is not open is refused.
    let result = unsafe { libc::fcntl(number, libc::F_DUPFD_CLOEXEC, 3) };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: fcntl has just made this descriptor, and nobody else was given it.
    Ok(unsafe { OwnedFd::from_raw_fd(result) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    /// Which descriptors of a table that nobody shares are open after the work, from 600 up.
    fn left_after(work: impl FnOnce() + Send) -> Vec<RawFd> {
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                // SAFETY: this thread takes a copy of the table of descriptors; it owns none of them.
                assert_eq!(unsafe { libc::unshare(libc::CLONE_FILES) }, 0);
                for number in [600, 601, 700, 900] {
                    // SAFETY: takes integers; nobody has descriptors as high as these.
                    assert_eq!(unsafe { libc::dup2(0, number) }, number);
                }
                work();
                // SAFETY: takes integers.
                let is_open = |number: &RawFd| unsafe { libc::fcntl(*number, libc::F_GETFD) } >= 0;
                (600..1000).filter(is_open).collect()
            });
            thread.join().unwrap()
        })
    }

    #[test]
    fn a_sandbox_that_refuses_the_call_leaves_nothing_open() {
        let refused = |errno| crate::refuse_calls(&[libc::SYS_close_range], errno).unwrap();
        for errno in [libc::ENOSYS, libc::EPERM] {
            let left = left_after(|| {
                refused(errno);
                close_range(601, 800).unwrap();
            });
            assert_eq!(left, [600, 900], "error {errno}");
        }
        let left = left_after(|| {
            refused(libc::ENOSYS);
            // SAFETY: nobody owns that number.
            let kept = unsafe { BorrowedFd::borrow_raw(700) };
            close_all_but(&[kept.as_fd()]).unwrap();
        });
        assert_eq!(left, [700]);
    }

    #[test]
    fn without_proc_every_number_is_closed() {
        let left = left_after(|| {
            // SAFETY: a mount namespace of this thread's own.
            assert_eq!(unsafe { libc::unshare(libc::CLONE_NEWNS) }, 0);
            let private =
                rustix::mount::MountPropagationFlags::PRIVATE | rustix::mount::MountPropagationFlags::REC;
            rustix::mount::mount_change("/", private).unwrap();
            rustix::mount::unmount("/proc", rustix::mount::UnmountFlags::DETACH).unwrap();
            assert!(open_table().is_none());
            close_one_by_one(601, 800).unwrap();
        });
        assert_eq!(left, [600, 900]);
    }
}
