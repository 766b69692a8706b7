use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::Path;

use super::*;

const LOOK: OFlags = OFlags::PATH.union(OFlags::CLOEXEC);
const IN_ROOT: ResolveFlags = ResolveFlags::IN_ROOT.union(ResolveFlags::NO_MAGICLINKS);
const BENEATH: ResolveFlags = ResolveFlags::BENEATH.union(ResolveFlags::NO_MAGICLINKS);

/// What a resolution comes to: the inode that was opened, or the refusal.
fn outcome(opened: Result<OwnedFd>) -> std::result::Result<u64, Errno> {
    opened.and_then(|file| rustix::fs::fstat(&file)).map(|stat| stat.st_ino)
}

#[expect(clippy::disallowed_methods, reason = "the walk is compared with the call itself")]
/// What the kernel says; it gives up when something anywhere is renamed meanwhile, as another test does.
fn kernel(root: &OwnedFd, path: &str, flags: OFlags, how: ResolveFlags) -> std::result::Result<u64, Errno> {
    loop {
        match rustix::fs::openat2(root, path, flags, Mode::empty(), how) {
            Err(Errno::AGAIN) => {}
            other => return outcome(other),
        }
    }
}

/// A tree with every kind of way out, and a neighbour that must not be reached.
fn tree() -> (tempfile::TempDir, OwnedFd) {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().join("root");
    fs::create_dir_all(root.join("a/b/c")).unwrap();
    fs::write(root.join("a/file"), "inside").unwrap();
    fs::create_dir(root.join("outside")).unwrap();
    fs::create_dir(directory.path().join("outside")).unwrap();
    fs::write(directory.path().join("outside/secret"), "outside").unwrap();
    let links = [
        ("up", "../outside/secret"),
        ("far-up", "../../../../../../etc/passwd"),
        ("absolute", "/a/file"),
        ("absolute-out", "/etc/passwd"),
        ("relative", "a/b/../file"),
        ("directory", "a/b"),
        ("directory-slash", "a/b/"),
        ("file-slash", "a/file/"),
        ("chain", "relative"),
        ("loop", "loop"),
        ("two", "one"),
        ("one", "two"),
        ("dangling", "nowhere"),
        ("a/b/back", "../../a"),
        ("root", "/"),
        ("proc", "/proc/self/root"),
    ];
    for (name, target) in links {
        symlink(target, root.join(name)).unwrap();
    }
    let opened = rustix::fs::open(&root, LOOK | OFlags::DIRECTORY, Mode::empty()).unwrap();
    (directory, opened)
}

const PATHS: [&str; 48] = [
    "",
    ".",
    "..",
    "/",
    "/..",
    "../..",
    "a",
    "a/",
    "a/.",
    "./a",
    "a/b/c",
    "a//b///c",
    "a/b/../b",
    "a/..",
    "a/../..",
    "a/../../a",
    "a/file",
    "a/file/",
    "a/file/.",
    "a/file/..",
    "a/file/x",
    "/a/file",
    "missing",
    "missing/x",
    "a/missing",
    "up",
    "far-up",
    "absolute",
    "absolute-out",
    "relative",
    "directory",
    "directory/",
    "directory/c",
    "directory/..",
    "directory-slash",
    "file-slash",
    "chain",
    "loop",
    "loop/x",
    "two",
    "dangling",
    "a/b/back/file",
    "a/b/back/b/back/b/c",
    "root/a/file",
    "root/../a",
    "proc",
    "up/..",
    "../root/a/file",
];

#[test]
fn the_walk_comes_to_what_the_kernel_comes_to() {
    let (_directory, root) = tree();
    let flags = [
        LOOK,
        LOOK | OFlags::NOFOLLOW,
        LOOK | OFlags::DIRECTORY,
        LOOK | OFlags::DIRECTORY | OFlags::NOFOLLOW,
        OFlags::RDONLY | OFlags::CLOEXEC,
        OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW,
        OFlags::RDONLY | OFlags::CLOEXEC | OFlags::DIRECTORY,
    ];
    let more = [ResolveFlags::empty(), ResolveFlags::NO_SYMLINKS, ResolveFlags::NO_XDEV];
    for path in PATHS {
        for flags in flags {
            for how in [IN_ROOT, BENEATH].into_iter().flat_map(|base| more.map(|more| base | more)) {
                let kernel = kernel(&root, path, flags, how);
                let walked = outcome(walk::open(root.as_fd(), path.as_bytes(), flags, Mode::empty(), how));
                assert_eq!(walked, kernel, "`{path}` with {flags:?}, {how:?}");
            }
        }
    }
}

#[test]
fn nothing_outside_is_ever_reached() {
    let (directory, root) = tree();
    let outside = fs::metadata(directory.path().join("outside/secret")).unwrap().ino();
    let passwd = fs::metadata("/etc/passwd").unwrap().ino();
    for path in PATHS {
        for how in [IN_ROOT, BENEATH] {
            let walked = outcome(walk::open(root.as_fd(), path.as_bytes(), LOOK, Mode::empty(), how));
            assert!(walked != Ok(outside) && walked != Ok(passwd), "`{path}` leads out");
        }
    }
}

#[test]
fn files_are_made_where_no_link_is() {
    let (directory, root) = tree();
    let make = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    let mode = Mode::RUSR | Mode::WUSR;
    let opened = |path: &str| walk::open(root.as_fd(), path.as_bytes(), make, mode, BENEATH).map(drop);
    assert_eq!(opened("a/new"), Ok(()));
    assert_eq!(fs::metadata(directory.path().join("root/a/new")).unwrap().mode() & 0o777, 0o600);
    for (path, refusal) in [("a/new", Errno::EXIST), ("dangling", Errno::EXIST), ("../new", Errno::XDEV)] {
        assert_eq!(opened(path), Err(refusal), "{path}");
    }
    assert!(!directory.path().join("root/nowhere").exists() && !directory.path().join("new").exists());
}

#[test]
fn links_of_proc_to_open_files_are_not_followed() {
    let proc = rustix::fs::open("/proc", LOOK | OFlags::DIRECTORY, Mode::empty()).unwrap();
    for path in ["self/root", "self/root/etc/passwd", "self/exe", "self/cwd", "self/fd/0", "self/ns/mnt"] {
        let kernel = kernel(&proc, path, LOOK, IN_ROOT);
        let walked = outcome(walk::open(proc.as_fd(), path.as_bytes(), LOOK, Mode::empty(), IN_ROOT));
        assert_eq!((walked, kernel), (Err(Errno::LOOP), Err(Errno::LOOP)), "{path}");
    }
    // These are plain links.
    for path in ["self/status", "thread-self/status", "mounts", "net/dev"] {
        let walked = walk::open(proc.as_fd(), path.as_bytes(), OFlags::RDONLY, Mode::empty(), IN_ROOT);
        assert!(walked.is_ok(), "{path}: {walked:?}");
    }
}

#[test]
fn a_mount_is_not_entered_when_that_is_forbidden() {
    let host = rustix::fs::open("/", LOOK | OFlags::DIRECTORY, Mode::empty()).unwrap();
    let how = IN_ROOT | ResolveFlags::NO_XDEV;
    for path in ["proc", "proc/self/status"] {
        assert!(Path::new("/").join(path).exists());
        let walked = walk::open(host.as_fd(), path.as_bytes(), LOOK, Mode::empty(), how);
        assert_eq!(walked.map(drop), Err(Errno::XDEV), "{path}");
    }
}

#[test]
fn an_exchange_under_way_leads_nowhere_else() {
    let (directory, root) = tree();
    let inside = directory.path().join("root");
    fs::create_dir_all(inside.join("swap/x")).unwrap();
    fs::write(inside.join("swap/x/secret"), "inside").unwrap();
    symlink("../outside", inside.join("other")).unwrap();
    let outside = fs::metadata(directory.path().join("outside/secret")).unwrap().ino();
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                let exchange = rustix::fs::RenameFlags::EXCHANGE;
                rustix::fs::renameat_with(&root, "swap/x", &root, "other", exchange).unwrap();
            }
        });
        for _ in 0..2000 {
            for path in ["swap/x/secret", "other/secret", "swap/x/../../outside/secret"] {
                let walked = outcome(walk::open(root.as_fd(), path.as_bytes(), LOOK, Mode::empty(), IN_ROOT));
                assert_ne!(walked, Ok(outside), "`{path}` led out");
            }
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
    });
}

#[test]
fn a_followed_path_is_absolute_and_what_a_link_leads_to() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let at = |name: &str| directory.path().join(name);
    fs::create_dir(at("real")).expect("made");
    std::os::unix::fs::symlink("real", at("link")).expect("linked");
    std::os::unix::fs::symlink("nowhere", at("dangling")).expect("linked");
    for (named, meant) in
        [("real", "real"), ("link", "real"), ("link/", "real"), ("new", "new"), ("dangling", "dangling")]
    {
        assert_eq!(follow_link(&at(named)).expect("a path"), at(meant), "{named}");
    }
    let here = std::env::current_dir().expect("it is there");
    assert_eq!(follow_link(Path::new("state/")).expect("a path"), here.join("state"));
    assert!(follow_link(Path::new("")).is_err());
}
