//! Images made by other people's tools, compared file by file with what `umoci unpack` makes of them.

#![expect(clippy::print_stdout, reason = "a test that can't run says so by name")]

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;

use loam_image::{LayerStore, SCHEMA, StoreConfig, Unpacker, parse_source};
use loam_model::{
    ContainerId, Digest, Image, ImageStore, LayerProgress, PullOptions, PullProgress, PushedImage,
    RegistryOptions, SnapshotRequest,
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
    LayerStore::open(config(root), database)
}

fn config(root: &Path) -> StoreConfig {
    StoreConfig::new(root, Unpacker::Confined(loam_testkit::own_program("loam-unpack")))
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

/// Says what a push notes.
#[derive(Default)]
struct Notes(std::sync::Mutex<Vec<String>>);

impl PullProgress for Notes {
    fn layer(&self, _: &Digest, _: LayerProgress) {}
    fn note(&self, sentence: &str) {
        self.0.lock().expect("not poisoned").push(sentence.to_owned());
    }
}

/// Pushes, and gives what came of it and what was noted.
fn push(store: &LayerStore, image: &str, destination: &str) -> (PushedImage, Vec<String>) {
    let notes = Notes::default();
    let pushed = store.push(image, Some(destination), &RegistryOptions::default(), &notes).expect("pushed");
    (pushed, notes.0.into_inner().expect("not poisoned"))
}

#[test]
fn what_is_pushed_is_read_by_others_and_equal_file_by_file() {
    if !ready("what_is_pushed_is_read_by_others_and_equal_file_by_file") {
        return;
    }
    let directory = tempfile::tempdir().expect("a temporary directory");
    let at = |name: &str| directory.path().join(name);
    let text = |path: &Path| path.to_str().expect("text").to_owned();
    let oci = format!("{}:test", make_image(directory.path()).display());
    run("umoci", &["unpack", "--image", &oci, &text(&at("bundle"))]);
    let expected = tree("", &at("bundle").join("rootfs"));
    let registry = loam_testkit::registry::Registry::plain();
    let name = |rest: &str| format!("{}/{rest}", registry.address());

    let first = store(&at("first"));
    let source = parse_source(&format!("oci:{oci}")).expect("a source");
    let image = first.pull(&source, &PullOptions::default(), &Silent).expect("pulled");
    let (pushed, notes) = push(&first, &image.id.to_string(), &name("a/b:1"));
    // The archives are put together as they were; how they were compressed nobody knows any more.
    assert_eq!(notes, ["4 layers were compressed anew, so the image has another digest there"]);
    assert_eq!(pushed.id, image.id);
    let docker = format!("docker://{}", name("a/b:1"));
    let told = Command::new("skopeo")
        .args(["inspect", "--tls-verify=false", "--format", "{{.Digest}}", &docker])
        .output()
        .expect("skopeo runs");
    assert_eq!(String::from_utf8_lossy(&told.stdout).trim(), pushed.digest.to_string());

    // As skopeo and umoci read it.
    run("skopeo", &["copy", "--src-tls-verify=false", &docker, &format!("oci:{}:c", text(&at("copy")))]);
    run("umoci", &["unpack", "--image", &format!("{}:c", text(&at("copy"))), &text(&at("again"))]);
    let found = tree("", &at("again").join("rootfs"));
    for (path, line) in &expected {
        assert_eq!(found.get(path), Some(line), "{path}");
    }
    assert_eq!(found.len(), expected.len());

    // As another store reads it, which packs the same archives.
    let second = store(&at("second"));
    let back =
        second.pull(&parse_source(&name("a/b:1")).expect("a source"), &PullOptions::default(), &Silent);
    let back = back.expect("pulled");
    assert_eq!((&back.id, &back.manifest), (&pushed.id, &pushed.digest));
    assert_eq!(back.config, image.config);
    std::fs::create_dir(at("mount")).expect("a directory");
    assert_eq!(merged(&second, &back, &at("mount")), expected);
    let empty = loam_testkit::registry::Registry::plain();
    let elsewhere = format!("{}/c:1", empty.address());
    let (there, notes) = push(&second, &name("a/b:1"), &elsewhere);
    assert_eq!((there.id, there.digest), (pushed.id.clone(), pushed.digest.clone()));
    assert_eq!(notes, ["4 layers were compressed anew, so the image has another digest there"]);

    // A second time nothing is packed, and another repository of the registry is as good as the first.
    let blobs = |repository: &str| {
        let links = registry.storage().join("docker/registry/v2/repositories").join(repository);
        std::fs::read_dir(links.join("_layers/sha256")).map_or(0, Iterator::count)
    };
    assert_eq!(push(&first, &image.id.to_string(), &name("a/b:2")).0.digest, pushed.digest);
    first.tag(&image.id, &name("a/b:1")).expect("tagged");
    assert_eq!(push(&first, &name("a/b:1"), &name("other:1")).0.digest, pushed.digest);
    assert_eq!(blobs("other"), 5, "four layers and the configuration");
    let uploads = registry.storage().join("docker/registry/v2/repositories/other/_uploads");
    // What it has hashed the registry keeps also of uploads that were taken back; then their beginning is gone.
    let begun =
        |upload: std::io::Result<std::fs::DirEntry>| upload.expect("read").path().join("startedat").exists();
    let left =
        std::fs::read_dir(uploads).map_or(0, |uploads| uploads.map(begun).filter(|begun| *begun).count());
    assert_eq!(left, 0, "no upload stays behind");
}

#[test]
fn an_image_whose_layers_the_registry_has_keeps_its_digest() {
    if !ready("an_image_whose_layers_the_registry_has_keeps_its_digest") {
        return;
    }
    let directory = tempfile::tempdir().expect("a temporary directory");
    let layout = make_image(directory.path());
    let registry = loam_testkit::registry::Registry::plain();
    registry
        .push(&format!("oci:{}:test", layout.display()), "from:1", &["--format", "v2s2"])
        .expect("pushed");
    let store = store(&directory.path().join("store"));
    let name = |rest: &str| format!("{}/{rest}", registry.address());
    let source = parse_source(&name("from:1")).expect("a source");
    let image = store.pull(&source, &PullOptions::default(), &Silent).expect("pulled");
    let (same, notes) = push(&store, &name("from:1"), &name("from:2"));
    assert_eq!((same.digest, same.id, notes), (image.manifest.clone(), image.id.clone(), Vec::new()));
    let (mounted, notes) = push(&store, &name("from:1"), &name("to/another:1"));
    assert_eq!((mounted.digest, mounted.id, notes), (image.manifest.clone(), image.id, Vec::new()));
}

#[test]
fn a_store_that_keeps_blobs_pushes_them_as_they_came() {
    if !ready("a_store_that_keeps_blobs_pushes_them_as_they_came") {
        return;
    }
    let directory = tempfile::tempdir().expect("a temporary directory");
    let layout = make_image(directory.path());
    let registry = loam_testkit::registry::Registry::plain();
    let root = directory.path().join("store");
    std::fs::create_dir(&root).expect("a directory");
    let database = Database::open(&root.join("loam.db"), &[SCHEMA]).expect("a database");
    let store = LayerStore::open(StoreConfig { keep_blobs: true, ..config(&root) }, database);
    let source = parse_source(&format!("oci:{}:test", layout.display())).expect("a source");
    let image = store.pull(&source, &PullOptions::default(), &Silent).expect("pulled");
    let (same, _) = push(&store, &image.id.to_string(), &format!("{}/kept:1", registry.address()));
    assert_eq!((&same.digest, &same.id), (&image.manifest, &image.id));
    // A blob that the disk has changed is not passed on.
    let blobs: Vec<_> = std::fs::read_dir(root.join("layers"))
        .expect("layers")
        .map(|layer| layer.expect("a layer").path().join("blob"))
        .collect();
    assert!(!blobs.is_empty());
    for blob in blobs {
        let mut bytes = std::fs::read(&blob).expect("kept");
        bytes[20] ^= 1;
        std::fs::write(&blob, bytes).expect("damaged");
    }
    let elsewhere = loam_testkit::registry::Registry::plain();
    let (packed, _) = push(&store, &image.id.to_string(), &format!("{}/kept:1", elsewhere.address()));
    assert_ne!(packed.digest, image.manifest);
    assert_eq!(packed.id, image.id, "its files are whole");
    // Nor is a layer whose files it has changed: of such a one nothing is sent at all.
    let mut changed = 0;
    for layer in std::fs::read_dir(root.join("layers")).expect("layers") {
        changed += change_a_file(&layer.expect("a layer").path().join("diff"));
    }
    assert!(changed > 0, "there are files");
    let untouched = loam_testkit::registry::Registry::plain();
    let destination = format!("{}/kept:1", untouched.address());
    let options = RegistryOptions::default();
    let failure = store.push(&image.id.to_string(), Some(&destination), &options, &Silent);
    assert!(failure.expect_err("damaged").to_string().contains("is damaged"));
    let found =
        Command::new("find").arg(untouched.storage()).args(["-type", "f"]).output().expect("find runs");
    assert_eq!(String::from_utf8_lossy(&found.stdout), "", "the registry has heard of nothing");
    store.remove(&image.id.to_string(), false).expect("removed");
    assert_eq!(std::fs::read_dir(root.join("layers")).expect("layers").count(), 0);
}

/// Changes a byte of every regular file of a tree; gives how many there are.
fn change_a_file(directory: &Path) -> usize {
    let entries = std::fs::read_dir(directory).expect("a directory").map(|entry| entry.expect("an entry"));
    let change = |entry: std::fs::DirEntry| {
        let kind = entry.file_type().expect("a kind");
        if kind.is_dir() {
            return change_a_file(&entry.path());
        }
        let mut bytes = if kind.is_file() { std::fs::read(entry.path()).expect("read") } else { Vec::new() };
        let Some(first) = bytes.first_mut() else { return 0 };
        *first ^= 1;
        std::fs::write(entry.path(), bytes).expect("written");
        1
    };
    entries.map(change).sum()
}

#[test]
fn a_push_over_a_line_that_breaks_comes_to_the_same() {
    if !ready("a_push_over_a_line_that_breaks_comes_to_the_same") {
        return;
    }
    let directory = tempfile::tempdir().expect("a temporary directory");
    let layout = make_image(directory.path());
    let registry = loam_testkit::registry::Registry::plain();
    let store = store(&directory.path().join("store"));
    let source = parse_source(&format!("oci:{}:test", layout.display())).expect("a source");
    let image = store.pull(&source, &PullOptions::default(), &Silent).expect("pulled");
    let cutter = loam_testkit::hostile::Cutter::start(registry.address(), 300_000, 2);
    let (broken, notes) = push(&store, &image.id.to_string(), &format!("{}/a:1", cutter.host()));
    assert_eq!(cutter.left(), 0, "{notes:?}");
    let (whole, _) = push(&store, &image.id.to_string(), &format!("{}/b:1", registry.address()));
    assert_eq!(broken.digest, whole.digest);
}

#[test]
fn a_destination_that_makes_no_sense_is_refused() {
    if !ready("a_destination_that_makes_no_sense_is_refused") {
        return;
    }
    let directory = tempfile::tempdir().expect("a temporary directory");
    let layout = make_image(directory.path());
    let store = store(&directory.path().join("store"));
    let source = parse_source(&format!("oci:{}:test", layout.display())).expect("a source");
    let options = PullOptions { name: Some("plain".to_owned()), ..PullOptions::default() };
    let image = store.pull(&source, &options, &Silent).expect("pulled");
    let told = |image: &str, destination: Option<&str>| {
        store.push(image, destination, &RegistryOptions::default(), &Silent).expect_err("refused").chain()
    };
    assert_eq!(told("plain", None), "`plain` names no registry");
    assert_eq!(told("nothing", None), "there is no image `nothing`");
    assert!(told("plain", Some("Bad Name")).starts_with("`Bad Name` is not a valid image name"));
    let digest = format!("h.example/a@{}", image.id);
    assert_eq!(told("plain", Some(&digest)), format!("the destination `{digest}` holds a digest"));
    for name in ["h.example/a:1", "h.example/b:1"] {
        store.tag(&image.id, name).expect("tagged");
    }
    assert!(told(&image.id.to_string(), None).ends_with("has several names"));
    let gone = loam_testkit::hostile::Server::start(|_| loam_testkit::hostile::Answer::none()).host();
    let unreachable = told("plain", Some(&format!("{gone}/a")));
    assert_eq!(unreachable, format!("`{gone}` can't be reached: Connection refused"));
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
