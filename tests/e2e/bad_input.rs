//! One sentence that names the thing and the cause, the right exit code, nothing half made.

use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use loam_testkit::hostile::{Image, Server};
use loam_tests::quota::{FileSystem, QuotaHost};
use loam_tests::{Host, Need, needs};

#[test]
fn mistakes_get_one_sentence() {
    let host = Host::with_small_image();
    host.loam(&["run", "--rm", "127.0.0.1:1/no/such:image", "true"]).refused(125, "127.0.0.1:1");
    host.loam(&["run", "--rm", "localhost/UPPER/case", "true"]).refused(125, "UPPER/case");
    host.loam(&["run", "--rm", "--name", "../x", "small", "true"]).refused(125, "../x");
    host.loam(&["run", "--rm", "-m", "lots", "small", "true"]).refused(125, "lots");
    host.loam(&["run", "--rm", "-p", "99999:1", "small", "true"]).refused(125, "99999");
    host.loam(&["run", "--rm", "-u", "nobody-of-that-name", "small", "true"])
        .refused(125, "nobody-of-that-name");
    host.loam(&["run", "--rm", "-u", "4294967296", "small", "true"]).refused(125, "4294967296");
    host.loam(&["run", "--rm", "--runtime", "no-such-runtime", "small", "true"])
        .refused(125, "no-such-runtime");
    host.loam(&["run", "--rm", "--security-opt", "apparmor=strict", "small", "true"]).refused(125, "strict");
    host.loam(&["logs", "nobody"]).refused(125, "nobody");
    assert_eq!(host.loam(&["ps", "-a", "-q"]).ok(), "");
    host.finish();
}

/// A registry that is not there stands for Docker Hub, and what a short name means comes from the settings.
#[test]
fn an_image_that_cannot_be_had_is_named_as_it_was_asked_for_and_as_it_was_understood() {
    let host = Host::new();
    let settings = host.scratch().join("registries.conf");
    let place = |prefix: &str| format!("[[registry]]\nprefix = '{prefix}'\nlocation = '127.0.0.1:1'\n");
    let text = format!(
        "{}{}[aliases]\nshort = 'quay.example/team/short'\n",
        place("docker.io"),
        place("quay.example")
    );
    std::fs::write(&settings, text).unwrap();
    let settings = settings.display().to_string();
    let loam = |words: &[&str]| host.loam_with(&[("CONTAINERS_REGISTRIES_CONF", settings.as_str())], words);
    for (asked, understood) in
        [("nonesuch", "docker.io/library/nonesuch:latest"), ("short:1", "quay.example/team/short:1")]
    {
        let here =
            format!("there is no image `{asked}` here, and `{understood}` can't be fetched: `127.0.0.1:1`");
        for command in [&["run", "--rm", "--network", "none"][..], &["create"]] {
            let ran = loam(&[command, &[asked]].concat());
            ran.refused(125, &here);
            assert!(ran.stderr.starts_with(&format!("fetching {understood}\n")), "{ran:#?}");
            let ran = loam(&[command, &["--quiet", asked]].concat());
            ran.refused(125, &here);
            assert!(!ran.stderr.contains("fetching "), "{ran:#?}");
        }
        let there = format!("`{asked}` can't be fetched as `{understood}`: `127.0.0.1:1`");
        loam(&["pull", asked]).refused(125, &there);
        loam(&["run", "--rm", "--pull", "always", asked]).refused(125, &there);
        loam(&["pull", understood]).refused(125, &format!("`{understood}` can't be fetched: `127.0.0.1:1`"));
    }
    host.finish();
}

#[test]
fn transports_that_a_command_does_not_take_are_no_names() {
    let host = Host::with_small_image();
    for (line, transport) in [
        ("pull dir:x", "dir"),
        ("pull containers-storage:x", "containers-storage"),
        ("run --rm docker-daemon:x:1", "docker-daemon"),
        ("create dir:2", "dir"),
        ("push small docker-archive:x.tar", "docker-archive"),
        ("push small oci:./l2:1", "oci"),
        ("image push small dir:x", "dir"),
        ("image copy oci:./l:1 dir:zz", "dir"),
        ("image copy sif:x oci:./l:1", "sif"),
        ("image tags oci:x", "oci"),
        ("image delete ostree:x", "ostree"),
    ] {
        let words: Vec<&str> = line.split(' ').collect();
        host.loam(&words).refused(125, &format!("the transport `{transport}` is not taken here, only "));
    }
    // An image of such a name is one.
    host.loam(&["tag", "small", "dir:1"]).ok();
    host.loam(&["run", "--rm", "--network", "none", "dir:1", "true"]).ok();
    host.loam(&["tag", "small", "docker.io/library/dir:2"]).ok();
    host.loam(&["run", "--rm", "--network", "none", "docker.io/library/dir:2", "true"]).ok();
    host.finish();
}

#[test]
fn a_command_alone_prints_its_help_whatever_the_environment_gives() {
    let host = Host::new();
    let loam =
        |line: &str| host.sh(&format!("LOAM_ROOT=/x LOAM_LOG=error {} {line}", loam_tests::program("loam")));
    for (line, usage) in
        [("", "Usage: loam [OPTIONS] <COMMAND>"), ("image", "Usage: loam image [OPTIONS] <COMMAND>")]
    {
        let ran = loam(line);
        let is_help = ran.stderr.contains(usage) && ran.stderr.contains("Commands:");
        assert!(ran.code == 125 && is_help && !ran.stderr.contains("settle"), "{ran:#?}");
    }
    for (line, sentence, hint) in [
        ("rnu hello", "rnu", "perhaps `loam run` is meant"),
        ("run --privileged hello", "`--privileged` is not there yet", "`--cap-add`"),
        ("restart web", "`loam restart` is not there yet", "`loam start`"),
        ("load -i x.tar", "there is no command `load`", "`loam image load`"),
    ] {
        let ran = loam(line);
        ran.refused(125, sentence);
        assert!(ran.stderr.contains("hint: ") && ran.stderr.contains(hint), "{ran:#?}");
    }
    host.finish();
}

#[test]
fn a_taken_name_is_refused_and_free_afterwards() {
    let host = Host::with_small_image();
    let id = host.start(&["--name", "taken", "small", "sleep", "1000"]);
    host.loam(&["run", "--rm", "--name", "taken", "small", "true"]).refused(125, &id[..12]);
    host.loam(&["rm", "-f", "taken"]).ok();
    host.loam(&["run", "--rm", "--name", "taken", "small", "true"]).ok();
    host.finish();
}

#[test]
fn without_root_s_rights_it_says_so() {
    let host = Host::new();
    let loam = host.loam_command(&["run", "--rm", "hello"]);
    let words: Vec<String> =
        loam.get_args().skip(4).map(|word| word.to_string_lossy().into_owned()).collect();
    let line = format!("setpriv --reuid 65534 --regid 65534 --clear-groups {}", words.join(" "));
    // The programs may lie where only root can look; a copy does not.
    let copied = host.scratch().join("loam");
    std::fs::copy(&words[0], &copied).unwrap();
    host.sh(&format!("chmod 755 {0} {0}/.. {1}", host.scratch().display(), copied.display())).ok();
    let ran = host.sh(&line.replacen(&words[0], copied.to_str().unwrap(), 1));
    ran.refused(125, "root");
    // What only root can find out is not guessed.
    let info = line.replacen(&words[0], copied.to_str().unwrap(), 1).replace("run --rm hello", "info");
    let info = host.sh(&info);
    for feature in ["mount-api", "layer-descriptors", "lowerdir+", "idmapped-mounts"] {
        let row = info.ok().lines().find(|line| line.starts_with(feature)).unwrap();
        assert!(row.ends_with("unknown: only root can find out"), "{row}");
    }
    host.finish();
}

#[test]
fn a_full_disk_is_named_and_nothing_stays() {
    let host = Host::new();
    let (image, mount) = (host.scratch().join("disk"), host.root());
    std::fs::create_dir_all(&mount).unwrap();
    host.sh(&format!(
        "truncate -s 6M {0} && mkfs.ext4 -q -F {0} && mount -o loop {0} {1}",
        image.display(),
        mount.display()
    ))
    .ok();
    let source = format!("oci:{}", loam_testkit::images::small().display());
    host.loam(&["images"]).ok();
    let fill = host.sh(&format!("head -c 5000000 /dev/zero > {}/ballast; true", mount.display()));
    fill.ok();
    host.loam(&["pull", "--quiet", &source]).refused(125, "space");
    host.sh(&format!("rm {}/ballast", mount.display())).ok();
    host.loam(&["pull", "--quiet", &source]).ok();
    host.sh(&format!("umount -l {}", mount.display())).ok();
    host.finish();
}

#[test]
fn a_disk_that_others_fill_during_a_pull_is_named_and_nothing_stays() {
    if !needs::met(&[Need::NativeProcessor]) {
        return;
    }
    let host = Host::new();
    let (disk, mount) = (host.scratch().join("disk"), host.root());
    std::fs::create_dir_all(&mount).unwrap();
    host.sh(&format!(
        "truncate -s 32M {0} && mkfs.ext4 -q -F {0} && mount -o loop {0} {1}",
        disk.display(),
        mount.display()
    ))
    .ok();
    // The layer fits when the pull begins. When it is asked for, somebody else takes all that is left.
    let image = Image::of_layers(&[Image::tar(&[("small", b"x"), ("large", &vec![b'x'; 8 << 20])])]);
    let (served, ballast) = (image.clone(), host.path_from_outside(&mount.join("ballast")));
    let fills = Arc::new(AtomicBool::new(true));
    let fill = Arc::clone(&fills);
    let server = Server::start(move |request| {
        if request.path.ends_with(&served.layers[0]) && fill.load(Ordering::Relaxed) {
            let mut file = std::fs::File::create(&ballast).unwrap();
            while file.write_all(&[0; 4096]).is_ok() {}
        }
        served.answer(request)
    });
    let name = format!("{}/a:t", server.host());
    host.loam_outside(&["pull", "--quiet", &name]).refused(125, "o space left");
    let left =
        host.sh(&format!("find {0}/staging {0}/layers {0}/trash -mindepth 1 | wc -l", mount.display()));
    assert_eq!(left.ok(), "0");
    assert_eq!(host.loam(&["images", "-q"]).ok(), "");
    fills.store(false, Ordering::Relaxed);
    host.sh(&format!("rm {}/ballast", mount.display())).ok();
    host.loam_outside(&["pull", "--quiet", &name]).ok();
    host.sh(&format!("umount -l {}", mount.display())).ok();
    host.finish();
}

#[test]
fn an_image_of_many_small_files_is_refused_before_the_disk_is_full() {
    if !needs::met(&[Need::NativeProcessor]) {
        return;
    }
    let host = Host::new();
    let (image, mount) = (host.scratch().join("disk"), host.root());
    std::fs::create_dir_all(&mount).unwrap();
    host.sh(&format!(
        "truncate -s 48M {0} && mkfs.ext4 -q -b 4096 -N 14000 -F {0} && mount -o loop {0} {1}",
        image.display(),
        mount.display()
    ))
    .ok();
    // Files of one byte: 1 KiB each in the archive, 4 KiB each on the disk. Empty ones take inodes alone.
    let tree = |count: u32, text: &str, name: &str| {
        let line = format!(
            "mkdir {name} && cd {name} && for i in $(seq {count}); do printf '{text}' > $i; done && tar -cf ../{name}.tar ."
        );
        host.sh(&format!("cd {} && {line}", host.scratch().display())).ok();
        host.scratch().join(format!("{name}.tar"))
    };
    for (count, text, name, word) in
        [(11_000, "x", "bytes", "bytes that are free"), (20_000, "", "inodes", "inodes that")]
    {
        let tar = tree(count, text, name);
        host.loam(&["import", tar.to_str().unwrap(), name]).refused(125, word);
        let left = host.sh(&format!("ls {}/staging | wc -l", mount.display())).ok().to_owned();
        assert_eq!(left.trim(), "0", "{name}");
    }
    let tar = tree(3000, "x", "few");
    host.loam(&["import", tar.to_str().unwrap(), "few"]).ok();
    host.sh(&format!("umount -l {}", mount.display())).ok();
    host.finish();
}

#[test]
fn a_container_that_has_filled_the_disk_can_be_removed() {
    let host = Host::new();
    let (image, mount) = (host.scratch().join("disk"), host.root());
    std::fs::create_dir_all(&mount).unwrap();
    host.sh(&format!(
        "truncate -s 24M {0} && mkfs.ext4 -q -m 0 -F {0} && mount -o loop {0} {1}",
        image.display(),
        mount.display()
    ))
    .ok();
    let source = format!("oci:{}", loam_testkit::images::small().display());
    host.loam(&["pull", "--quiet", &source]).ok();
    let name = host.loam(&["images", "--quiet"]).ok().lines().next().unwrap_or_default().to_owned();
    let fill = "cat /dev/zero > /big; while echo x >> /more; do :; done; true";
    let filled = host.loam(&["run", "--name", "hog", &name, "sh", "-c", fill]);
    assert!(filled.stderr.contains("No space left"), "{filled:#?}");
    host.loam(&["rm", "-f", "hog"]).ok();
    host.loam(&["run", "--rm", &name, "true"]).ok();
    host.sh(&format!("umount -l {}", mount.display())).ok();
    host.finish();
}

/// Whichever thread or process is the one too many: a sentence, no panic, and nothing half made.
#[test]
fn a_limit_of_processes_is_a_sentence_wherever_it_is_met() {
    let host = Host::new();
    let above = ["/sys/fs/cgroup/pids", "/sys/fs/cgroup"];
    let above = above.iter().find(|path| std::path::Path::new(path).join("cgroup.procs").exists()).unwrap();
    let group = std::path::PathBuf::from(format!("{above}/loam-test-limit-{}", std::process::id()));
    std::fs::create_dir(&group).unwrap();
    let mut codes = Vec::new();
    // The shell becomes the command.
    for limit in 1..=16 {
        std::fs::write(group.join("pids.max"), limit.to_string()).unwrap();
        let source = format!("oci:{}", loam_testkit::images::small().display());
        let pull = host.loam_command(&["pull", "--quiet", &source]);
        let words: Vec<_> = pull.get_args().map(|word| word.to_string_lossy().into_owned()).collect();
        let line = format!("echo $$ > {}/cgroup.procs; exec {}", group.display(), words[4..].join(" "));
        let ran = host.sh(&line);
        assert!(matches!(ran.code, 0 | 125) && !ran.stderr.contains("panicked"), "{limit}: {ran:?}");
        assert!(ran.code == 0 || ran.stderr.starts_with("loam: "), "{limit}: {ran:?}");
        codes.push(ran.code);
        if ran.code == 0 {
            host.loam(&["rmi", ran.ok()]).ok();
        }
    }
    std::fs::remove_dir(&group).unwrap();
    assert_eq!((codes.first(), codes.last()), (Some(&125), Some(&0)), "{codes:?}");
    host.finish();
}

#[test]
fn a_caller_that_ignores_the_end_of_children_is_no_matter() {
    // Helpers whose end counts: the unpacker, the shim, and what makes disk files.
    let bed = QuotaHost::new(FileSystem::Plain);
    let host = bed.host();
    let line = |rest: &str| format!("trap '' CHLD; exec {} {rest}", bed.loam());
    let ran = host.sh(&line("run --rm --network none --storage-opt size=8m small sh -c 'sleep 0; exit 7'"));
    assert_eq!((ran.code, ran.stderr.as_str()), (7, ""), "{ran:?}");
    let tar = host.scratch().join("a.tar");
    host.sh(&format!("tar -C /etc -cf {} hostname", tar.display())).ok();
    host.sh(&line(&format!("import {} mine", tar.display()))).ok();
    let said = host.sh(&line("import /etc/hostname other"));
    assert!(said.code == 125 && said.stderr.contains("the archive is malformed"), "{said:?}");
    host.loam(&["rmi", "mine"]).ok();
    bed.finish(&[]);
}

#[test]
fn a_limit_of_open_files_that_is_reached_has_a_hint() {
    let host = Host::with_small_image();
    let tar = host.scratch().join("a.tar");
    host.sh(&format!("tar -C /etc -cf {} hostname", tar.display())).ok();
    let program = loam_tests::program("loam");
    let (root, run) = (host.root(), host.run_directory());
    let mut met = 0;
    for most in 4..40 {
        let line = format!(
            "ulimit -n {most}; exec {program} --root {} --run {} import {} mine",
            root.display(),
            run.display(),
            tar.display()
        );
        let ran = host.sh(&line);
        if ran.stderr.contains("Too many open files") && ran.stderr.starts_with("loam: ") {
            assert!(
                ran.code == 125 && ran.stderr.contains("hint: this process may not open more files"),
                "{ran:?}"
            );
            met += 1;
        }
    }
    assert!(met > 0, "some of these limits are met by what loam opens itself");
    host.loam(&["rmi", "-f", "mine"]);
    host.finish();
}
