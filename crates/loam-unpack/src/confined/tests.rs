//! What a confined thread can and can't do. The confinement is a thread's, but for limits, so that each test makes one.

use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::Path;
use std::sync::mpsc::channel;

use rustix::fs::{FileType, Gid, Mode, OFlags, Uid, XattrFlags};
use rustix::io::Errno;

use super::confinement::confine_thread;
use crate::open_directory;

/// Does something confined to a directory; `None` where that takes rights that this process lacks.
fn confined<T: Send>(directory: &Path, work: impl FnOnce(&rustix::fd::OwnedFd) -> T + Send) -> Option<T> {
    if !rustix::process::geteuid().is_root() {
        println!("skipped: needs root");
        return None;
    }
    let opened = open_directory(directory).expect("opens");
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| work(&confine_thread(opened).expect("confined")));
        Some(thread.join().expect("does not panic"))
    })
}

#[test]
fn files_of_any_owner_can_be_made() {
    let directory = tempfile::tempdir().expect("a directory");
    let made = confined(directory.path(), |root| -> Result<(), Errno> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::CLOEXEC;
        let file = rustix::fs::openat(root, "file", flags, Mode::RUSR)?;
        rustix::fs::fchown(&file, Some(Uid::from_raw(1234)), Some(Gid::from_raw(55)))?;
        rustix::fs::fsetxattr(&file, "user.note", b"x", XattrFlags::empty())?;
        rustix::fs::fchmod(&file, Mode::from_raw_mode(0o4755))?;
        let device = rustix::fs::makedev(1, 3);
        rustix::fs::mknodat(root, "null", FileType::CharacterDevice, Mode::RUSR, device)?;
        rustix::fs::mkdirat(root, "d", Mode::RWXU)?;
        loam_sys::openat2(root, "d", OFlags::PATH, Mode::empty(), rustix::fs::ResolveFlags::BENEATH)?;
        std::thread::spawn(|| ()).join().map_err(|_| Errno::AGAIN)
    });
    let Some(made) = made else { return };
    assert_eq!(made, Ok(()));
    let file = fs::metadata(directory.path().join("file")).expect("made");
    assert_eq!((file.uid(), file.gid(), file.permissions().mode() & 0o7777), (1234, 55, 0o4755));
    assert!(fs::metadata(directory.path().join("null")).expect("made").file_type().is_char_device());
}

#[test]
fn nothing_else_is_there() {
    let directory = tempfile::tempdir().expect("a directory");
    fs::write(directory.path().join("mine"), "x").expect("written");
    let seen = confined(directory.path(), |_| {
        let names = |path: &str| -> io::Result<Vec<String>> {
            let entries = fs::read_dir(path)?;
            entries.map(|entry| Ok(entry?.file_name().display().to_string())).collect()
        };
        let outside =
            ["/proc/self/status", "/etc/passwd", "../etc/passwd"].map(|path| fs::read(path).is_ok());
        (names("/").expect("listed"), names("/..").expect("listed"), outside)
    });
    let Some((root, above, outside)) = seen else { return };
    assert_eq!((root, above), (vec!["mine".to_owned()], vec!["mine".to_owned()]));
    assert_eq!(outside, [false; 3]);
}

#[test]
fn nothing_else_can_be_done() {
    let directory = tempfile::tempdir().expect("a directory");
    let refused = confined(directory.path(), |root| {
        let file = rustix::fs::openat(root, "file", OFlags::RDWR | OFlags::CREATE, Mode::RWXU).expect("made");
        let denied = |result: io::Result<()>| match result {
            Err(error) if error.kind() == ErrorKind::PermissionDenied => "denied".to_owned(),
            other => format!("{other:?}"),
        };
        let socket =
            rustix::net::socket(rustix::net::AddressFamily::INET, rustix::net::SocketType::STREAM, None);
        let attempts: [(&str, io::Result<()>); 7] = [
            ("a socket", socket.map(drop).map_err(Into::into)),
            ("a process", std::process::Command::new("/file").spawn().map(drop)),
            ("a mount", rustix::mount::mount_bind("/", "/").map_err(Into::into)),
            ("a namespace", loam_sys::new_mount_namespace()),
            ("another root", rustix::process::chroot("/").map_err(Into::into)),
            ("a user", rustix::thread::set_thread_uid(Uid::from_raw(1)).map_err(Into::into)),
            (
                "a trusted attribute",
                rustix::fs::fsetxattr(&file, "trusted.x", b"", XattrFlags::empty()).map_err(Into::into),
            ),
        ];
        attempts.map(|(name, result)| format!("{name}: {}", denied(result))).to_vec()
    });
    for attempt in refused.into_iter().flatten() {
        assert!(attempt.ends_with(": denied"), "{attempt}");
    }
}

#[test]
fn what_was_given_up_is_gone_for_good() {
    let directory = tempfile::tempdir().expect("a directory");
    let (tell, told) = channel();
    let (release, released) = channel::<()>();
    let looking = std::thread::spawn(move || {
        let thread: rustix::process::Pid = told.recv().ok()?;
        let path = format!("/proc/self/task/{}/status", thread.as_raw_nonzero());
        let status = fs::read_to_string(path).expect("the status of the thread");
        drop(release);
        Some(status)
    });
    confined(directory.path(), move |_| {
        tell.send(rustix::thread::gettid()).expect("somebody looks");
        released.recv().expect_err("nothing is ever sent");
    });
    let Some(status) = looking.join().expect("does not panic") else { return };
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(":\t"));
        line.unwrap_or_else(|| panic!("{name} in {status}"))
    };
    // CAP_CHOWN 0, DAC_OVERRIDE 1, FOWNER 3, FSETID 4, MKNOD 27, SETFCAP 31.
    let kept = "000000008800001b";
    let found = ["CapEff", "CapPrm", "CapBnd", "CapInh", "CapAmb", "NoNewPrivs", "Seccomp"].map(field);
    let none = "0000000000000000";
    assert_eq!(found, [kept, kept, kept, none, none, "1", "2"]);
}
