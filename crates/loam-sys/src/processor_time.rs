//! What the kernel has counted of a process's work.

use std::io;
use std::time::Duration;

/// Processor time, user and system together, of this process and of all descendants that have been waited for
/// (getrusage(2)). The kernel counts in nanoseconds and tells microseconds.
pub fn processor_time() -> io::Result<Duration> {
    Ok(used_by(libc::RUSAGE_SELF)? + used_by(libc::RUSAGE_CHILDREN)?)
}

/// The same of descendants that have been waited for, alone.
pub fn processor_time_of_children() -> io::Result<Duration> {
    used_by(libc::RUSAGE_CHILDREN)
}

fn used_by(whom: libc::c_int) -> io::Result<Duration> {
    // SAFETY: an all-zero `rusage` is a valid value of the plain structure.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: getrusage writes one `rusage`, which `usage` is.
    let result = unsafe { libc::getrusage(whom, &raw mut usage) };
    if result != 0 {
        return Err(io::Error::last_os_error());
    }
    let length =
        |time: libc::timeval| Duration::from_micros((time.tv_sec * 1_000_000 + time.tv_usec).unsigned_abs());
    Ok(length(usage.ru_utime) + length(usage.ru_stime))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn children_that_were_waited_for_count() {
        let before = processor_time().unwrap();
        let work = "i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done";
        std::process::Command::new("sh").args(["-c", work]).status().unwrap();
        assert!(processor_time().unwrap() - before > Duration::from_millis(1));
        assert!(processor_time_of_children().unwrap() > Duration::from_millis(1));
    }
}
