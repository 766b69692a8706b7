//! Mounts from the host and in memory.

use std::os::unix::fs::MetadataExt as _;

use loam_tests::Host;

#[test]
fn a_directory_of_the_host_keeps_its_owners() {
    let host = Host::with_small_image();
    let shared = host.scratch();
    std::fs::write(shared.join("from-host"), "h").unwrap();
    let volume = format!("{}:/data", shared.display());
    let ran = host.loam(&[
        "run",
        "--rm",
        "-v",
        &volume,
        "small",
        "sh",
        "-c",
        "stat -c %u /data/from-host; echo c > /data/made",
    ]);
    assert_eq!(ran.ok(), "0", "in the container's user namespace too");
    assert_eq!(std::fs::metadata(shared.join("made")).unwrap().uid(), 0);
    host.finish();
}

#[test]
fn read_only_mounts_files_and_the_long_form() {
    let host = Host::with_small_image();
    let file = host.scratch().join("file");
    std::fs::write(&file, "content").unwrap();
    let volume = format!("{}:/etc/one:ro", file.display());
    let mount = format!("type=bind,source={},target=/two,readonly", host.scratch().display());
    let line = "cat /etc/one; echo x > /etc/one || echo ro1; touch /two/x || echo ro2; df /mem | tail -1 | grep -c tmpfs";
    let ran = host.loam(&[
        "run",
        "--rm",
        "-v",
        &volume,
        "--mount",
        &mount,
        "--mount",
        "type=tmpfs,target=/mem,tmpfs-size=1m",
        "small",
        "sh",
        "-c",
        &format!("({line}) 2>/dev/null"),
    ]);
    assert_eq!(ran.ok(), "contentro1\nro2\n1");
    host.finish();
}

#[test]
fn a_source_that_does_not_exist_is_refused() {
    let host = Host::with_small_image();
    host.loam(&["run", "--rm", "-v", "/no/such/dir:/x", "small", "true"]).refused(125, "/no/such/dir");
    host.loam(&["run", "--rm", "-v", "relative:/x:nonsense", "small", "true"]).refused(125, "relative");
    host.finish();
}

#[test]
fn a_file_on_a_directory_and_the_reverse_are_refused() {
    let host = Host::with_small_image();
    let file = host.scratch().join("file");
    std::fs::write(&file, "content").unwrap();
    let run = |flags: &[&str]| host.loam(&[&["run", "--rm"], flags, &["small", "true"]].concat());
    run(&["-v", &format!("{}:/tmp", file.display())])
        .refused(125, "a file can't be mounted on `/tmp`, which is a directory");
    run(&["-v", &format!("{}:/etc/passwd", host.scratch().display())])
        .refused(125, "a directory can't be mounted on `/etc/passwd`, which is none");
    run(&["--tmpfs", "/etc/passwd"]).refused(125, "a directory can't be mounted on `/etc/passwd`");
    assert_eq!(host.loam(&["ps", "-a", "-q"]).ok(), "");
    host.finish();
}

#[test]
fn mounts_do_not_show_on_the_host() {
    let host = Host::with_small_image();
    let before = host.sh("wc -l < /proc/self/mountinfo").ok().to_owned();
    host.start(&["--name", "m", "--tmpfs", "/t", "small", "sleep", "1000"]);
    assert_eq!(host.sh("wc -l < /proc/self/mountinfo").ok(), before);
    host.finish();
}

#[test]
fn a_link_put_in_the_path_of_a_source_does_not_choose_what_is_mounted() {
    let host = Host::with_small_image();
    let (shared, secret) = (host.scratch().join("shared"), host.scratch().join("secret"));
    std::fs::create_dir_all(shared.join("conf")).unwrap();
    std::fs::create_dir(&secret).unwrap();
    let volumes = [format!("{}:/app", shared.display()), format!("{}/conf:/conf", shared.display())];
    let [app, conf] = volumes.each_ref().map(String::as_str);
    let swap = format!("mv /app/conf /app/old && ln -s {} /app/conf", secret.display());
    for ids in ["auto", "host"] {
        host.loam(&[
            "run", "--name", "swap", "--userns", ids, "-v", app, "-v", conf, "small", "sh", "-c", &swap,
        ])
        .ok();
        host.loam(&["start", "swap"]).refused(125, "a link has taken the place");
        host.loam(&["rm", "swap"]).ok();
        host.sh(&format!("cd {} && rm conf && mv old conf", shared.display())).ok();
    }
    host.finish();
}

#[test]
fn what_is_mounted_below_a_volume_is_restricted_as_it() {
    let host = Host::with_small_image();
    let below = host.scratch().join("below");
    std::fs::create_dir(&below).unwrap();
    // Of the same file system: older kernels shift the ids of few others.
    let made = "mkdir $1.real && mount --bind $1.real $1 && mknod -m 666 $1/null c 1 3";
    host.sh(&format!("set -- {}; {made}", below.display())).ok();
    let line = "grep -m 1 ' /x/below ' /proc/self/mountinfo; echo > /x/below/null && echo written";
    let run = |options: &str| {
        let volume = format!("{}:/x{options}", host.scratch().display());
        let ran = host.loam(&["run", "--rm", "-v", &volume, "small", "sh", "-c", &format!("({line}) 2>&1")]);
        ran.stdout
    };
    for options in ["", ":ro", ":noidmap", ":noexec"] {
        let said = run(options);
        assert!(["nosuid", "nodev"].iter().all(|word| said.contains(word)), "{options}: {said}");
        assert_eq!(said.contains("noexec"), options == ":noexec", "{said}");
        assert!(!said.contains("written"), "{options}: {said}");
    }
    assert!(!run(":dev,suid").contains("nosuid"));
    host.sh(&format!("umount {}", below.display())).ok();
    host.finish();
}

#[test]
fn a_shared_volume_passes_mounts_both_ways() {
    let host = Host::with_small_image();
    let shared = host.scratch().join("shared");
    std::fs::create_dir(&shared).unwrap();
    let place = shared.display();
    host.sh(&format!(
        "mount --bind {place} {place} && mount --make-shared {place} && mkdir {place}/out {place}/in"
    ))
    .ok();
    let volume = format!("{place}:/x:rshared");
    let rights = [
        "--cap-add",
        "SYS_ADMIN",
        "--security-opt",
        "seccomp=unconfined",
        "--security-opt",
        "apparmor=unconfined",
    ];
    let line = ["--name", "c", "--userns", "host", "-v", &volume];
    host.start(&[&line[..], &rights, &["small", "sleep", "1000"]].concat());
    host.sh(&format!("mount -t tmpfs none {place}/out")).ok();
    assert_eq!(host.loam(&["exec", "c", "grep", "-c", " /x/out tmpfs ", "/proc/mounts"]).ok(), "1");
    host.loam(&["exec", "c", "mount", "-t", "tmpfs", "none", "/x/in"]).ok();
    assert_eq!(host.sh(&format!("grep -c ' {place}/in tmpfs ' /proc/mounts")).ok(), "1");
    host.loam(&["rm", "-f", "c"]).ok();
    host.sh(&format!("umount -R {place}")).ok();
    host.finish();
}

/// What an image calls a volume is a directory of the container, its root's, whether or not a layer has it.
#[test]
fn volumes_of_an_image_are_there() {
    let host = Host::with_small_image();
    let tar = host.scratch().join("rootfs.tar").display().to_string();
    let id = host.start(&["--network", "none", "small", "sleep", "1000"]);
    host.sh(&format!("tar -C /proc/{}/root -cf {tar} bin", host.pid(&id))).ok();
    host.loam(&["rm", "-f", &id]).ok();
    host.loam(&["import", "-c", "VOLUME /data/deep", "-c", "VOLUME /bin", &tar, "with-volumes"]).ok();
    for more in [&[][..], &["--userns", "host"], &["--read-only"]] {
        let line = "stat -c '%u %a' /data/deep; touch /data/deep/x 2>/dev/null && echo written; test -x /bin/sh && echo kept";
        let command = ["with-volumes", "/bin/busybox", "sh", "-c", line];
        let ran = host.loam(&[&["run", "--rm", "--network", "none"], more, &command].concat());
        let expected = if more.contains(&"--read-only") { "0 755\nkept" } else { "0 755\nwritten\nkept" };
        assert_eq!(ran.ok(), expected, "{more:?}");
    }
    host.finish();
}
