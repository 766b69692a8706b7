//! Threads, where a process may have reached what it may have of them (`pids.max`, `RLIMIT_NPROC`).

use std::io;
use std::sync::{Mutex, PoisonError, mpsc};
use std::thread::{Builder, JoinHandle, Scope, ScopedJoinHandle};

use loam_model::{ErrorKind, Failure};

/// Lets `count` threads do the same work, this one among them, and fewer where no more can be had.
pub fn share(count: usize, work: impl Fn() + Sync) {
    std::thread::scope(|scope| {
        for _ in 1..count {
            if Builder::new().spawn_scoped(scope, &work).is_err() {
                break;
            }
        }
        work();
    });
}

/// Starts a thread that `scope` waits for.
pub fn start<'scope, T: Send + 'scope>(
    scope: &'scope Scope<'scope, '_>,
    work: impl FnOnce() -> T + Send + 'scope,
) -> Result<ScopedJoinHandle<'scope, T>, Failure> {
    Builder::new().spawn_scoped(scope, work).map_err(refused)
}

/// Starts a thread that nobody has to wait for.
pub fn detach<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<JoinHandle<T>, Failure> {
    Builder::new().spawn(work).map_err(refused)
}

/// Whether this many more threads can be had now.
pub fn could_start(count: usize) -> Result<(), Failure> {
    let (begun, gate) = mpsc::channel::<()>();
    let gate = Mutex::new(gate);
    let wait = || gate.lock().unwrap_or_else(PoisonError::into_inner).recv().unwrap_or_default();
    std::thread::scope(|scope| {
        let outcome = (0..count).try_for_each(|_| start(scope, wait).map(drop));
        drop(begun);
        outcome
    })
}

fn refused(error: io::Error) -> Failure {
    let hint = "a limit of processes may have been reached: see `pids.max` of the cgroup and `ulimit -u`";
    Failure::new(ErrorKind::Exhausted, "a thread can't be started").hint(hint).caused_by(error)
}
