//! The lock of a network: `flock` on `CACHE_DIR/locks/NETWORK`.
//!
//! Whoever attaches or detaches shares it, whoever collects garbage or removes the network has it alone, so that nothing
//! of the network changes meanwhile. It dies with its process. The file stays: it says nothing.
//!
//! A container's attachment file is always locked before a network, and whoever has a network alone locks no attachment
//! file. So nobody waits for somebody who waits for him. `@host-ports` and `@container-subnets`, which no network can be called, are
//! held while ports and subnets are chosen, until the choice is in the attachment's file. The order is: attachment file,
//! `@host-ports`, networks by name, `@container-subnets`.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use loam_model::{ErrorKind, Failure, Result};
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use crate::failure::of_files;

/// How soon a lock that somebody has is tried for again.
const PAUSE: Duration = Duration::from_millis(5);

/// The locks of all networks.
#[derive(Debug)]
pub(crate) struct NetworkLocks {
    directory: PathBuf,
    patience: Duration,
}

/// A lock, held until dropped.
#[derive(Debug)]
pub(crate) struct NetworkLock {
    _file: File,
}

impl NetworkLocks {
    pub(crate) fn new(cache_dir: &Path, patience: Duration) -> Self {
        Self { directory: cache_dir.join("locks"), patience }
    }

    /// For attaching and detaching, beside others who do.
    pub(crate) fn shared(&self, network: &str) -> Result<NetworkLock> {
        self.take(network, FlockOperation::NonBlockingLockShared)
    }

    /// For changing the network itself.
    pub(crate) fn alone(&self, network: &str) -> Result<NetworkLock> {
        self.take(network, FlockOperation::NonBlockingLockExclusive)
    }

    fn take(&self, network: &str, operation: FlockOperation) -> Result<NetworkLock> {
        let what = match network.strip_prefix('@') {
            Some(choice) => format!("the choice of {}", choice.replace('-', " ")),
            None => format!("network `{network}`"),
        };
        let failed = |cause: io::Error| of_files(&format!("locking {what} failed"), cause);
        let file = self.open(network).map_err(failed)?;
        let deadline = Instant::now() + self.patience;
        loop {
            match flock(&file, operation) {
                Ok(()) => return Ok(NetworkLock { _file: file }),
                Err(Errno::INTR) => {}
                Err(Errno::WOULDBLOCK) if Instant::now() < deadline => thread::sleep(PAUSE),
                Err(Errno::WOULDBLOCK) => {
                    let message = format!("{what} is being worked on by another command");
                    return Err(Failure::new(ErrorKind::Unavailable, message).hint("try again later"));
                }
                Err(errno) => return Err(failed(errno.into())),
            }
        }
    }

    fn open(&self, network: &str) -> io::Result<File> {
        let path = self.directory.join(network);
        let open = || OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path);
        match open() {
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => {
                fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.directory)?;
                open()
            }
            file => file,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_who_share_exclude_one_who_is_alone_and_are_told_in_time() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let locks = NetworkLocks::new(directory.path(), Duration::from_millis(20));
        let (one, _two) = (locks.shared("n").expect("free"), locks.shared("n").expect("shared"));
        let failure = locks.alone("n").expect_err("others are there");
        assert_eq!(failure.kind(), ErrorKind::Unavailable);
        assert_eq!(failure.to_string(), "network `n` is being worked on by another command");
        locks.alone("m").expect("another network");
        drop((one, _two));
        let alone = locks.alone("n").expect("free");
        assert!(locks.shared("n").is_err());
        // Whoever waits gets it when it is free.
        let patient = NetworkLocks::new(directory.path(), Duration::from_secs(20));
        thread::scope(|scope| {
            let waiting = scope.spawn(|| patient.shared("n").map(drop));
            drop(alone);
            waiting.join().expect("no panic").expect("free by then");
        });
    }
}
