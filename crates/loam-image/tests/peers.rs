//! Images made by other people's tools, compared file by file with what `umoci unpack` makes of them.

#![expect(clippy::print_stdout, reason = "a test that can't run says so by name")]

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;

use loam_image::{LayerStore, SCHEMA, StoreConfig, parse_source};
use loam_model::{
    ContainerId, Digest, Image, ImageStore, LayerProgress, PullOptions, PullProgress, SnapshotRequest,
};
use loam_state::Database;

struct Silent;

impl PullProgress for Silent {
    fn layer(&self, _: &Digest, _: LayerProgress) {}
    fn note(&self, _: &str) {}
}

/// Whether everything for these tests is here; says by name what is skipped otherwise.
fn ready(test: &str) -> bool {
    if !rustix::process::geteuid().is_root() {
        println!("skipped: {test}: needs root");
        return false;
    }
    for (program, option) in [("umoci", "--version"), ("skopeo", "--version"), ("/bin/busybox", "true")] {
        if Command::new(program).arg(option).output().is_err() {
            println!("skipped: {test}: needs `{program}`");
            return false;
        }
    }
    true
}

fn run(program: &str, arguments: &[&str]) {
    let output = Command::new(program).args(arguments).output().expect(program);
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}: {error}");
}

fn shell(script: &str, directory: &Path) {
    let output =
        Command::new("sh").args(["-euc", script]).current_dir(directory).output().expect("the shell runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// Layers with all that a layer can have; each script fills a directory.
const LAYERS: [&str; 4] = [
    "mkdir -p bin etc usr/share/doc var/cache tmp home/user
     cp /bin/busybox bin/busybox
     ln bin/busybox bin/sh; ln bin/busybox usr/share/hard; ln -s sh bin/ash; ln -s /etc/passwd etc/link
     echo 'root:x:0:0::/:/bin/sh' > etc/passwd; echo secret > etc/shadow
     chmod 0640 etc/shadow; chown 0:42 etc/shadow; chmod 1777 tmp; chmod 4755 bin/sh
     chown -R 1000:1000 home/user; chmod 0700 home/user
     for i in $(seq 300); do echo $i > usr/share/doc/$i; done
     mkdir -p var/cache/old/deep; touch var/cache/old/deep/a var/cache/old/b
     mknod etc/null c 1 3; mkfifo etc/pipe
     touch -d '2001-02-03 04:05:06.789' etc/passwd etc/link; touch -hd '1999-01-01' etc/link",
    "mkdir -p bin etc usr/share/doc; cp /bin/busybox bin/capable; chmod 0755 bin/capable
     /sbin/setcap cap_net_raw+ep bin/capable 2>/dev/null || true
     touch usr/share/doc/.wh.7 usr/share/doc/.wh.8; echo new > usr/share/doc/9
     touch -d '2010-01-01' bin etc usr usr/share usr/share/doc",
    "mkdir -p var/cache/old etc/conf; touch var/cache/old/.wh..wh..opq; echo x > var/cache/old/fresh
     rm -rf etc/conf; echo file > etc/conf",
    "mkdir -p etc/conf home; touch home/.wh.user; echo y > etc/conf/d; mkdir -p var; ln -s ../etc var/etc",
];

/// Makes the image `layout:test`.
fn make_image(directory: &Path) -> PathBuf {
    let layout = directory.join("layout");
    let place = layout.to_str().expect("text");
    run("umoci", &["init", "--layout", place]);
    let image = format!("{place}:test");
    run("umoci", &["new", "--image", &image]);
    for (number, script) in LAYERS.iter().enumerate() {
        let tree = directory.join(format!("tree{number}"));
        std::fs::create_dir(&tree).expect("a directory");
        shell(script, &tree);
        let tar = directory.join(format!("{number}.tar"));
        let format = if number % 2 == 0 { "--format=gnu" } else { "--format=posix" };
        let tree = tree.to_str().expect("text");
        let xattrs = ["--xattrs", "--xattrs-include=*"];
        let xattrs = if number % 2 == 0 { &[][..] } else { &xattrs };
        let output =
            ["-cf", tar.to_str().expect("text"), "-C", tree, "--sort=name", format, "--numeric-owner"];
        run("tar", &[&output[..], xattrs, &["."]].concat());
        run("umoci", &["raw", "add-layer", "--image", &image, tar.to_str().expect("text")]);
    }
    run("umoci", &["config", "--image", &image, "--config.cmd", "/bin/sh", "--config.env", "A=b"]);
    layout
}

/// A line for each entry of a tar: type, mode, owner, size, time, link, attributes, digest of the contents.
fn describe(tar: &[u8]) -> BTreeMap<String, String> {
    let mut archive = tar::Archive::new(tar);
    let mut lines = BTreeMap::new();
    for entry in archive.entries().expect("a tar") {
        let mut entry = entry.expect("an entry");
        let mut extras: Vec<String> = Vec::new();
        if let Some(extensions) = entry.pax_extensions().expect("well formed") {
            for extension in extensions {
                let extension = extension.expect("well formed");
                let key = extension.key().expect("text").to_owned();
                if key.starts_with("SCHILY.xattr") || key == "mtime" {
                    extras.push(format!("{key}={:?}", extension.value_bytes()));
                }
            }
        }
        let mut contents = Vec::new();
        entry.read_to_end(&mut contents).expect("readable");
        let header = entry.header();
        let line = format!(
            "{:?} {:o} {}:{} {} {} {:?} {:?} {extras:?} {:x}",
            header.entry_type(),
            header.mode().expect("mode"),
            header.uid().expect("uid"),
            header.gid().expect("gid"),
            contents.len(),
            header.mtime().expect("mtime"),
            entry.link_name().expect("link"),
            (header.device_major().ok(), header.device_minor().ok()),
            contents.iter().fold(5381_u64, |sum, byte| sum.wrapping_mul(33) ^ u64::from(*byte)),
        );
        lines.insert(entry.path().expect("path").display().to_string(), line);
    }
    lines
}

/// The tree below a directory, after these commands in a mount namespace of its own.
fn tree(before: &str, directory: &Path) -> BTreeMap<String, String> {
    let script = format!(
        "{before} cd '{}' && tar --format=posix --pax-option=delete=atime,delete=ctime --sort=name \
         --numeric-owner --xattrs --xattrs-include='*' --xattrs-exclude='user.rootlesscontainers' \
         --xattrs-exclude='trusted.overlay.*' -cf - .",
        directory.display()
    );
    let output = Command::new("unshare").args(["-m", "sh", "-euc", &script]).output().expect("unshare runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    describe(&output.stdout)
}

fn store(root: &Path) -> LayerStore {
    std::fs::create_dir_all(root).expect("a directory");
    let database = Database::open(&root.join("loam.db"), &[SCHEMA]).expect("a database");
    LayerStore::open(StoreConfig::new(root), database)
}

/// What a container from an image sees.
fn merged(store: &LayerStore, image: &Image, mount: &Path) -> BTreeMap<String, String> {
    let id = ContainerId::from_random([7; 32]);
    store
        .create_snapshot(&SnapshotRequest { container: &id, image: &image.id, ephemeral: true, limit: None })
        .expect("a snapshot");
    let plan = store.rootfs(&id, None).expect("a plan");
    let lower: Vec<String> = plan.lower.iter().map(|path| path.display().to_string()).collect();
    let mounting = format!(
        "mount -t overlay overlay -o 'lowerdir={},upperdir={},workdir={}' '{}' && ",
        lower.join(":"),
        plan.upper.expect("writable").display(),
        plan.work.expect("writable").display(),
        mount.display()
    );
    let tree = tree(&mounting, mount);
    store.remove_snapshot(&id).expect("drops the snapshot");
    tree
}

#[test]
fn every_form_of_an_image_unpacks_as_umoci_does_it() {
    if !ready("every_form_of_an_image_unpacks_as_umoci_does_it") {
        return;
    }
    let directory = tempfile::tempdir().expect("a temporary directory");
    let layout = make_image(directory.path());
    let bundle = directory.path().join("bundle");
    let oci = format!("{}:test", layout.display());
    run("umoci", &["unpack", "--image", &oci, bundle.to_str().expect("text")]);
    let expected = tree("", &bundle.join("rootfs"));
    assert!(expected.len() > 300, "{}", expected.len());

    let at = |name: &str| directory.path().join(name).display().to_string();
    let source = format!("oci:{oci}");
    run("skopeo", &["copy", &source, &format!("oci-archive:{}:ref", at("oci.tar"))]);
    run("skopeo", &["copy", &source, &format!("docker-archive:{}:fruit/plum:1", at("docker.tar"))]);
    run("gzip", &["-k", &at("docker.tar")]);
    run("skopeo", &["copy", "--dest-compress-format", "zstd", &source, &format!("oci:{}:z", at("zstd"))]);
    run("skopeo", &["copy", "--dest-decompress", &source, &format!("dir:{}", at("plain"))]);
    run("skopeo", &["copy", &format!("dir:{}", at("plain")), &format!("oci:{}:p", at("uncompressed"))]);

    let mount = directory.path().join("mount");
    std::fs::create_dir(&mount).expect("a directory");
    let forms = [
        (source, "localhost/layout:test"),
        (format!("oci-archive:{}:ref", at("oci.tar")), "localhost/oci:ref"),
        (format!("docker-archive:{}", at("docker.tar")), "docker.io/fruit/plum:1"),
        (format!("docker-archive:{}:fruit/plum:1", at("docker.tar.gz")), "fruit/plum:1"),
        (format!("oci:{}", at("zstd")), "localhost/zstd:z"),
        (format!("oci:{}:p", at("uncompressed")), "localhost/uncompressed:p"),
    ];
    for (number, (form, name)) in forms.iter().enumerate() {
        let store = store(&directory.path().join(format!("store{number}")));
        let source = parse_source(form).expect("a source");
        let image =
            store.pull(&source, &PullOptions::default(), &Silent).unwrap_or_else(|f| panic!("{form}: {f:?}"));
        assert_eq!(image.names, [*name], "{form}");
        assert_eq!(
            (image.config.command.as_slice(), image.config.environment.as_slice()),
            (&["/bin/sh".to_owned()][..], &["A=b".to_owned()][..])
        );
        let found = merged(&store, &image, &mount);
        for (path, line) in &expected {
            assert_eq!(found.get(path), Some(line), "{form}: {path}");
        }
        assert_eq!(found.len(), expected.len(), "{form}");
    }
}

#[test]
fn what_is_not_there_is_named() {
    if !ready("what_is_not_there_is_named") {
        return;
    }
    let directory = tempfile::tempdir().expect("a temporary directory");
    let layout = make_image(directory.path());
    let store = store(&directory.path().join("store"));
    let pull = |text: &str| {
        let source = parse_source(text).expect("a source");
        store.pull(&source, &PullOptions::default(), &Silent).expect_err(text)
    };
    let place = layout.display();
    let missing = pull(&format!("oci:{place}:nope"));
    assert_eq!(missing.to_string(), format!("`{place}` has no image `nope`"));
    assert_eq!(missing.hint_text(), Some("it has `test`"));
    let nowhere = pull("oci:/nonexistent/layout");
    assert_eq!(
        nowhere.to_string(),
        "`/nonexistent/layout` is not an OCI image layout: it has no `index.json`"
    );
    assert_eq!(
        pull("docker-archive:/nonexistent.tar").to_string(),
        "the archive `/nonexistent.tar` does not exist"
    );
    std::fs::write(directory.path().join("text"), "no tar").expect("a file");
    let text = pull(&format!("oci-archive:{}", directory.path().join("text").display()));
    assert!(text.chain().contains("can't be read"), "{}", text.chain());

    // A blob that was changed, one that was cut, one that is gone.
    let blobs = layout.join("blobs/sha256");
    let largest = std::fs::read_dir(&blobs)
        .expect("blobs")
        .map(|entry| entry.expect("entry").path())
        .max_by_key(|path| std::fs::metadata(path).expect("there").len())
        .expect("there are blobs");
    let whole = std::fs::read(&largest).expect("a blob");
    let mut changed = whole.clone();
    changed[whole.len() / 2] ^= 0xff;
    std::fs::write(&largest, &changed).expect("writes");
    let chain = pull(&format!("oci:{place}:test")).chain();
    assert!(chain.contains("the bytes that came have the digest"), "{chain}");
    std::fs::write(&largest, &whole[..whole.len() - 100]).expect("writes");
    let chain = pull(&format!("oci:{place}:test")).chain();
    assert!(chain.contains("bytes came where"), "{chain}");
    std::fs::remove_file(&largest).expect("removes");
    let chain = pull(&format!("oci:{place}:test")).chain();
    assert!(chain.contains("lacks the blob"), "{chain}");
    assert_eq!(std::fs::read_dir(directory.path().join("store/staging")).expect("there").count(), 0);
    std::fs::write(&largest, &whole).expect("writes");
    let source = parse_source(&format!("oci:{place}:test")).expect("a source");
    store.pull(&source, &PullOptions::default(), &Silent).expect("works when the cause is gone");
}
