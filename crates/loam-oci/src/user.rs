//! Users by name or number, looked up in a container's root file system (image specification, config.md, `User`).

mod accounts;

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use loam_model::oci_spec::runtime::Process;
use loam_model::{ErrorKind, Failure, Result, shown};
use loam_sys::open_in_root;
use rustix::fs::{FileType, OFlags, ResolveFlags};
use rustix::io::Errno;

use accounts::RequestedUser;

/// More than any file of accounts has; an image may hold anything under that name.
const MAX_BYTES: u64 = 16 << 20;

/// A user as the kernel knows it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ResolvedUser {
    /// The user id.
    pub uid: u32,
    /// The group id.
    pub gid: u32,
    /// Supplementary groups.
    pub additional_gids: Vec<u32>,
    /// The home directory.
    pub home: String,
}

/// A step that failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UserError {
    #[error("user `{}` is not valid: {rule}", shown(text))]
    Invalid { text: String, rule: &'static str },
    #[error("user `{}` does not exist in the container's `/etc/passwd`", shown(name))]
    NoUser { name: String },
    #[error("group `{}` does not exist in the container's `/etc/group`", shown(name))]
    NoGroup { name: String },
    #[error("`{path}` in the container is not a regular file of at most 16 MiB")]
    Odd { path: &'static str },
    #[error("`{path}` in the container has more lines than any list of accounts")]
    TooLong { path: &'static str },
    #[error("reading `{path}` in the container failed")]
    Read { path: &'static str, source: io::Error },
}

impl From<UserError> for Failure {
    fn from(error: UserError) -> Self {
        let kind = match &error {
            UserError::Read { .. } => ErrorKind::Internal,
            _ => ErrorKind::Invalid,
        };
        let failure = Failure::new(kind, error.to_string());
        match error {
            UserError::Read { source, .. } => failure.caused_by(source),
            _ => failure,
        }
    }
}

/// Looks a user up in `/etc/passwd` and `/etc/group` of a root file system, given by a descriptor of its root. `None` is
/// root.
///
/// A number is a number, whatever the files say; one without an entry has the group 0 and the home `/`. A group given
/// with the user leaves no supplementary groups. The files are only ever read as regular files below the root: what an
/// image puts there instead can make the look-up fail, not hang.
pub fn resolve_user(root: BorrowedFd<'_>, text: Option<&str>) -> Result<ResolvedUser> {
    let user = RequestedUser::parse(text.unwrap_or_default())?;
    let passwd = read(root, "/etc/passwd")?;
    let group = if user.needs_groups() { read(root, "/etc/group")? } else { Vec::new() };
    Ok(user.look_up(&passwd, &group)?)
}

/// Refuses a text that can name no user, before there is a root file system to look it up in.
pub(crate) fn check(text: &str) -> Result<()> {
    RequestedUser::parse(text)?;
    Ok(())
}

/// Fills in a process's user, and `HOME` unless the environment has one.
pub fn finish_process(process: &mut Process, user: ResolvedUser) {
    let groups = Some(user.additional_gids).filter(|groups| !groups.is_empty());
    process.user_mut().set_uid(user.uid).set_gid(user.gid).set_additional_gids(groups);
    let environment = process.env_mut().get_or_insert_default();
    if !environment.iter().any(|variable| variable.starts_with("HOME=")) {
        environment.push(format!("HOME={}", user.home));
    }
}

/// Reads a file; nothing when there is none.
fn read(root: BorrowedFd<'_>, path: &'static str) -> std::result::Result<Vec<u8>, UserError> {
    let failed = |source: io::Error| UserError::Read { path, source };
    let Some(found) = find(root, path).map_err(|error| failed(error.into()))? else { return Ok(Vec::new()) };
    let status = rustix::fs::fstat(&found).map_err(|error| failed(error.into()))?;
    let size = u64::try_from(status.st_size).unwrap_or(u64::MAX);
    if FileType::from_raw_mode(status.st_mode) != FileType::RegularFile || size > MAX_BYTES {
        return Err(UserError::Odd { path });
    }
    // The very file that was looked at, through this process's own /proc.
    let file = File::open(format!("/proc/self/fd/{}", found.as_raw_fd())).map_err(failed)?;
    let mut content = Vec::new();
    file.take(MAX_BYTES).read_to_end(&mut content).map_err(failed)?;
    Ok(content)
}

/// Finds what lies at a path of the container, without opening it: opening a FIFO waits, and a device may do anything.
fn find(root: BorrowedFd<'_>, path: &str) -> std::result::Result<Option<OwnedFd>, Errno> {
    match open_in_root(root, path, OFlags::PATH, ResolveFlags::empty()) {
        Ok(found) => Ok(Some(found)),
        Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::fd::AsFd;
    use std::os::unix::fs::symlink;
    use std::path::Path;
    use std::time::{Duration, Instant};

    use loam_model::oci_spec::runtime::ProcessBuilder;
    use rustix::fs::Mode;

    use super::*;

    fn resolve(root: &Path, text: Option<&str>) -> Result<ResolvedUser> {
        let root = File::open(root).expect("a directory");
        resolve_user(root.as_fd(), text)
    }

    fn root_with(make: impl FnOnce(&Path)) -> tempfile::TempDir {
        let root = tempfile::tempdir().expect("a temporary directory");
        fs::create_dir(root.path().join("etc")).expect("made");
        make(&root.path().join("etc/passwd"));
        root
    }

    #[test]
    fn links_stay_in_the_root() {
        let root = root_with(|passwd| {
            fs::write(passwd.with_file_name("accounts"), "app:x:5:6::/app:/bin/sh\n").expect("written");
            symlink("/etc/accounts", passwd).expect("linked");
        });
        let user = resolve(root.path(), Some("app")).expect("found");
        assert_eq!((user.uid, user.gid, user.home.as_str()), (5, 6, "/app"));
        let escape = root_with(|passwd| symlink("/../../../../usr/lib/os-release", passwd).expect("linked"));
        assert_eq!(resolve(escape.path(), None).expect("missing is fine").home, "/");
        assert!(resolve(escape.path(), Some("root")).is_err(), "the host's file is out of reach");
    }

    #[test]
    fn odd_files_fail_at_once() {
        let begin = Instant::now();
        let fifo = root_with(|passwd| {
            rustix::fs::mknodat(rustix::fs::CWD, passwd, FileType::Fifo, Mode::RWXU, 0).expect("made");
        });
        let error = resolve(fifo.path(), Some("app")).expect_err("a FIFO");
        insta::assert_snapshot!(error.to_string(), @"`/etc/passwd` in the container is not a regular file of at most 16 MiB");
        let large = root_with(|passwd| {
            File::create(passwd).and_then(|file| file.set_len(5 << 30)).expect("sparse");
        });
        assert!(resolve(large.path(), None).is_err());
        let directory = root_with(|passwd| fs::create_dir(passwd).expect("made"));
        assert!(resolve(directory.path(), None).is_err());
        let circle = root_with(|passwd| symlink("passwd", passwd).expect("linked"));
        assert!(resolve(circle.path(), None).is_err());
        let magic = root_with(|passwd| symlink("/proc/self/fd/0", passwd).expect("linked"));
        assert!(resolve(magic.path(), Some("1")).is_ok());
        assert!(begin.elapsed() < Duration::from_secs(1));
    }

    #[test]
    fn a_process_is_completed() {
        let user = ResolvedUser { uid: 1, gid: 2, additional_gids: vec![3], home: "/h".to_owned() };
        let mut process = ProcessBuilder::default().env(vec!["A=b".to_owned()]).build().expect("defaults");
        process.user_mut().set_umask(Some(0o22));
        finish_process(&mut process, user.clone());
        let made = process.user();
        assert_eq!((made.uid(), made.gid(), made.umask()), (1, 2, Some(0o22)));
        assert_eq!(made.additional_gids().as_deref(), Some([3].as_slice()));
        assert_eq!(process.env().as_deref(), Some(["A=b".to_owned(), "HOME=/h".to_owned()].as_slice()));
        finish_process(&mut process, ResolvedUser { home: "/other".to_owned(), ..user });
        assert_eq!(process.env().as_ref().map(Vec::len), Some(2), "HOME is only added");
    }
}
