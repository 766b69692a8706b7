//! Who holds a container's lock.
//!
//! The lock file is empty, or names the archive process that has the container's file system mounted: its process id
//! and its start time (proc(5), `/proc/PID/stat`, field 22), which together name it for good. That process alone may be
//! ended to get the lock. Other holders are found in the kernel's table of locks (proc_locks(5)).

use std::fs::{self, File};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::time::Duration;

use loam_sys::HeldProcess;
use rustix::process::Pid;

use crate::signals::KILL;

/// How long a killed archive process may take to end.
const DEATH: Duration = Duration::from_secs(10);

/// Notes in a locked file that an archive process is about to hold it. That it can't be noted, on a full disk, only
/// means that the process can't be found.
pub(crate) fn name_archive(file: &File, pid: i32) {
    let Some(start_time) = Pid::from_raw(pid).and_then(loam_sys::start_time) else { return };
    let text = format!("{pid} {start_time}\n");
    let written = file.set_len(0).and_then(|()| file.write_all_at(text.as_bytes(), 0));
    if let Err(error) = written {
        tracing::debug!(%error, "an archive process is not named");
    }
}

/// Ends the archive process that a lock file names, if it is still there, and waits for its end.
pub(crate) fn end_archive(file: &File) {
    let Some((pid, started)) = archive(file) else { return };
    let ended = match HeldProcess::new(pid) {
        // Looked at once more: now what is held is whatever has this id.
        Ok(Some(_)) if loam_sys::start_time(pid) != Some(started) => return,
        Ok(Some(process)) => process.signal(KILL).and_then(|()| process.ends_within(DEATH)),
        Ok(None) => return,
        Err(error) => Err(error),
    };
    match ended {
        Ok(true) => {}
        Ok(false) => tracing::warn!("a killed archive process does not end"),
        Err(error) => tracing::warn!(%error, "an archive process can't be ended"),
    }
}

/// The process that holds a lock file, in words.
pub(crate) fn describe(file: &File) -> Option<String> {
    let pid = archive(file).map(|(pid, _)| pid.as_raw_nonzero().get()).or_else(|| locker(file))?;
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
    Some(format!("process {pid} (`{}`)", name.trim_end()))
}

/// The living archive process that a lock file names.
fn archive(file: &File) -> Option<(Pid, u64)> {
    let mut bytes = [0; 64];
    let length = file.read_at(&mut bytes, 0).ok()?;
    let (pid, started) = std::str::from_utf8(&bytes[..length]).ok()?.trim_end().split_once(' ')?;
    let (pid, started) = (Pid::from_raw(pid.parse().ok()?)?, started.parse().ok()?);
    (loam_sys::start_time(pid) == Some(started)).then_some((pid, started))
}

/// The process that locked the file, from the kernel's table. Its device numbers are not those of stat(2) on every file
/// system, so the process must have the file open, too.
fn locker(file: &File) -> Option<i32> {
    let metadata = file.metadata().ok()?;
    let (device, inode) = (metadata.dev(), metadata.ino());
    let has_open = |pid: &i32| {
        let descriptors = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
        let mut files = descriptors.filter_map(|entry| fs::metadata(entry.path()).ok());
        files.any(|open| (open.dev(), open.ino()) == (device, inode))
    };
    let table = fs::read_to_string("/proc/locks").ok()?;
    table.lines().filter_map(|line| holder_in(line, inode)).find(has_open)
}

/// The process of a line of the table, when it holds a lock on this inode.
fn holder_in(line: &str, inode: u64) -> Option<i32> {
    let fields: Vec<&str> = line.split_ascii_whitespace().collect();
    let [_, "FLOCK", _, _, pid, place, ..] = fields[..] else { return None };
    let found: u64 = place.rsplit(':').next()?.parse().ok()?;
    (found == inode).then(|| pid.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_s_table_names_holders_and_not_those_who_wait() {
        for (line, holder) in [
            ("1: FLOCK  ADVISORY  WRITE 4711 08:01:131 0 EOF", Some(4711)),
            ("1: -> FLOCK  ADVISORY  WRITE 4712 08:01:131 0 EOF", None),
            ("2: POSIX  ADVISORY  WRITE 4713 08:01:131 0 EOF", None),
            ("3: FLOCK  ADVISORY  WRITE 4714 08:01:132 0 EOF", None),
            ("", None),
        ] {
            assert_eq!(holder_in(line, 131), holder, "{line}");
        }
    }

    #[test]
    fn a_holder_is_found_and_named() {
        let file = tempfile::tempfile().expect("a file");
        rustix::fs::flock(&file, rustix::fs::FlockOperation::LockExclusive).expect("locked");
        let own = std::process::id();
        let said = describe(&file).expect("found");
        assert!(said.starts_with(&format!("process {own} (`")), "{said}");
        name_archive(&file, 1);
        assert!(describe(&file).expect("found").starts_with("process 1 (`"));
    }

    #[test]
    fn only_the_very_process_that_was_named_is_ended() {
        let mut child = std::process::Command::new("sleep").arg("1000").spawn().expect("started");
        let pid = i32::try_from(child.id()).expect("fits");
        let file = tempfile::tempfile().expect("a file");
        file.write_all_at(format!("{pid} 1\n").as_bytes(), 0).expect("written");
        end_archive(&file);
        assert!(child.try_wait().expect("asked").is_none(), "another process with that id");
        name_archive(&file, pid);
        end_archive(&file);
        assert!(!child.wait().expect("ended").success());
        end_archive(&file);
    }
}
