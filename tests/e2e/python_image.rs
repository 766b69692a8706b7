//! A real image of many layers, made by other people's tools: pulled from a registry, compared file by file with what
//! umoci makes of it, and run as a web server that is fetched from, entered, read and stopped.

use loam_testkit::images;
use loam_testkit::registry::Registry;
use loam_tests::{Host, Need, needs, until};

/// One line for every file of a tree: type, mode, owner, size, time, links, target, attributes, contents.
const LIST: &str = r#"
import hashlib, os, stat, sys
root = os.fsencode(sys.argv[1])
def listed():
    for directory, names, files in os.walk(root):
        if directory == root:
            names[:] = [name for name in names if name not in (b"proc", b"sys", b"dev", b"lister")]
            yield root
        for name in names + files:
            yield os.path.join(directory, name)

# Names that share an inode, rather than its count of links: an overlay counts those that later layers removed.
links = {}
for path in listed():
    s = os.lstat(path)
    links.setdefault((s.st_dev, s.st_ino), []).append(os.path.relpath(path, root))
for path in listed():
    s = os.lstat(path)
    detail = [stat.filemode(s.st_mode), s.st_uid, s.st_gid]
    if not stat.S_ISDIR(s.st_mode):
        others = sorted(links[s.st_dev, s.st_ino])
        detail += [others if len(others) > 1 else "single", s.st_size]
    detail.append(int(s.st_mtime))
    if stat.S_ISLNK(s.st_mode):
        detail.append(os.readlink(path))
    if stat.S_ISCHR(s.st_mode) or stat.S_ISBLK(s.st_mode):
        detail.append(s.st_rdev)
    attributes = {k: os.getxattr(path, k, follow_symlinks=False).hex() for k in os.listxattr(path, follow_symlinks=False)
                  if not k.startswith(("trusted.", "user.rootlesscontainers", "system.posix_acl"))}
    detail.append(sorted(attributes.items()))
    if stat.S_ISREG(s.st_mode):
        with open(path, "rb") as f:
            detail.append(hashlib.sha256(f.read()).hexdigest())
    print(os.path.relpath(path, root).decode(errors="surrogateescape").encode(errors="backslashreplace").decode(), *detail)
"#;

#[test]
fn the_python_image_is_pulled_whole_and_serves() {
    if !needs::met(&[Need::NativeProcessor]) {
        return;
    }
    let host = Host::new();
    let registry = Registry::plain();
    images::push_python(&registry);
    let name = format!("{}/python", registry.address());
    let gzip = host.loam_outside(&["pull", "--quiet", &format!("{name}:gzip")]).ok().to_owned();
    let layers = || host.sh(&format!("ls {}/layers | wc -l", host.root().display())).ok().to_owned();
    let after_first = layers();
    for variant in ["zstd", "docker", "index"] {
        host.loam_outside(&["pull", "--quiet", &format!("{name}:{variant}")]).ok();
    }
    assert_eq!(layers(), after_first, "the same layers, however they are packed");
    assert!(!gzip.is_empty());
    compare_with_umoci(&host, &format!("{name}:gzip"));
    serve(&host, &format!("{name}:gzip"));
    host.finish();
}

/// Unpacks the image with umoci, lists both trees, and compares the lists.
fn compare_with_umoci(host: &Host, name: &str) {
    let scratch = host.scratch();
    std::fs::write(scratch.join("list.py"), LIST).unwrap();
    let layout = images::python().display().to_string();
    host.sh(&format!("umoci unpack --image {layout}:gzip {0}/bundle >/dev/null && python3 {0}/list.py {0}/bundle/rootfs | sort > {0}/theirs", scratch.display())).ok();
    // Ours is listed as a container sees it, with the lister's own interpreter from the image.
    let ours = host.loam(&[
        "run",
        "--rm",
        "--network",
        "none",
        "--userns",
        "host",
        "--cap-add",
        "ALL",
        "-u",
        "0",
        "-v",
        &format!("{}:/lister:ro", scratch.display()),
        "--entrypoint",
        "sh",
        name,
        "-c",
        "mkdir /tmp/look && exec python3 /lister/list.py /",
    ]);
    let mut ours: Vec<&str> = ours.ok().lines().filter(is_of_the_image).collect();
    ours.sort_unstable();
    let theirs = std::fs::read_to_string(scratch.join("theirs")).unwrap();
    let mut theirs: Vec<&str> = theirs.lines().filter(is_of_the_image).collect();
    theirs.sort_unstable();
    assert!(ours.len() > 5_000, "only {} files", ours.len());
    let missing = |who: &'static str, these: &[&str], those: &[&str]| -> Vec<String> {
        let alone = these.iter().filter(|line| those.binary_search(line).is_err());
        alone.take(10).map(|line| format!("{who} {line}")).collect()
    };
    let differences = [missing("ours", &ours, &theirs), missing("theirs", &theirs, &ours)].concat();
    assert!(differences.is_empty(), "{differences:#?}");
}

/// Whether a line of a list is of the image, and not of what an engine mounts or makes.
fn is_of_the_image(line: &&str) -> bool {
    let path = line.split(' ').next().unwrap_or_default();
    let made =
        ["proc", "sys", "dev", "lister", "tmp", "run", "etc/hosts", "etc/hostname", "etc/resolv.conf", "."];
    !made.iter().any(|name| path == *name || path.starts_with(&format!("{name}/")))
}

fn serve(host: &Host, name: &str) {
    host.start(&["--name", "app", "-p", "8080:8000", name]);
    let page = until("the page comes", || {
        let ran = host.sh("curl --silent --fail --max-time 2 http://127.0.0.1:8080/");
        (ran.code == 0).then_some(ran.stdout)
    });
    assert!(!page.trim().is_empty());
    let gateway = host.loam(&["exec", "app", "python3", "-c", "import os; print(os.getuid())"]);
    assert_ne!(gateway.ok(), "0", "the image's user is not root");
    let address = host.loam(&[
        "exec",
        "app",
        "python3",
        "-c",
        "import socket; print(socket.gethostbyname(socket.gethostname()))",
    ]);
    let fetch = format!(
        "import urllib.request as r; print(r.urlopen('http://{}:8000/').read().decode())",
        address.ok()
    );
    let other = host.loam(&["run", "--rm", "--entrypoint", "python3", name, "-c", &fetch]);
    assert_eq!(other.ok().trim(), page.trim(), "from another container");
    until("the requests are in the log", || {
        let ran = host.loam(&["logs", "app"]);
        (ran.stdout + &ran.stderr).contains("GET /").then_some(())
    });
    assert_eq!(host.loam(&["stop", "-t", "5", "app"]).code, 0);
    assert_eq!(host.loam(&["rm", "app"]).code, 0);
}
