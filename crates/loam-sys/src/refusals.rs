//! A seccomp filter that refuses some system calls, as sandboxes around Loam do. For tests of what is done then.

use std::io;

use crate::allow_list::refusals;
use crate::confinement::load_seccomp_filter;

/// Has the kernel refuse these system calls (`SYS_…` of the libc crate) with an error to the calling thread, and to all
/// that it starts, for good. A thread that may not administer the system gives up new privileges for it.
#[doc(hidden)]
pub fn refuse_calls(calls: &[i64], errno: i32) -> io::Result<()> {
    let filter = refusals(calls, errno);
    match load_seccomp_filter(&filter, 0) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            rustix::thread::set_no_new_privs(true)?;
            load_seccomp_filter(&filter, 0)
        }
        loaded => loaded,
    }
}
