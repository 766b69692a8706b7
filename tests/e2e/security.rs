//! Secure by default, and what is asked is visible.

use loam_tests::Host;

#[test]
fn root_inside_is_nobody_outside() {
    let host = Host::with_small_image();
    host.start(&["--name", "u", "small", "sleep", "1000"]);
    let status = std::fs::read_to_string(format!("/proc/{}/status", host.pid("u"))).unwrap();
    let uid = status.lines().find_map(|line| line.strip_prefix("Uid:")).unwrap();
    let uid: u32 = uid.split_whitespace().next().unwrap().parse().unwrap();
    assert!(uid >= 65_536, "host id {uid}");
    host.start(&["--name", "v", "small", "sleep", "1000"]);
    assert_ne!(
        std::fs::read_to_string(format!("/proc/{}/uid_map", host.pid("u"))).unwrap(),
        std::fs::read_to_string(format!("/proc/{}/uid_map", host.pid("v"))).unwrap(),
        "two containers share no ids"
    );
    let ran = host.loam(&["run", "--rm", "--userns", "host", "small", "cat", "/proc/self/uid_map"]);
    assert!(ran.ok().contains("4294967295"), "{ran:?}");
    host.finish();
}

#[test]
fn files_on_disk_carry_the_container_s_ids() {
    let host = Host::with_small_image();
    let line = "touch /mine; chown 33:44 /mine; stat -c '%u %g' /mine /bin/busybox";
    assert_eq!(host.loam(&["run", "--name", "f", "small", "sh", "-c", line]).ok(), "33 44\n0 0");
    let found = host.sh(&format!("find '{}' -name mine -printf '%U %G'", host.root().display()));
    assert_eq!(found.ok(), "33 44");
    host.finish();
}

#[test]
fn capabilities_follow_the_flags() {
    let host = Host::with_small_image();
    let bounding = |arguments: &[&str]| {
        let look = ["small", "sh", "-c", "grep CapBnd /proc/self/status"];
        let ran = host.loam(&[&["run", "--rm"], arguments, &look].concat());
        u64::from_str_radix(ran.ok().trim_start_matches("CapBnd:").trim(), 16).unwrap()
    };
    const NET_ADMIN: u64 = 1 << 12;
    const CHOWN: u64 = 1;
    const SYS_ADMIN: u64 = 1 << 21;
    let default = bounding(&[]);
    assert_eq!((default & NET_ADMIN, default & CHOWN, default & SYS_ADMIN), (0, CHOWN, 0), "{default:x}");
    assert_eq!(bounding(&["--cap-drop", "ALL"]), 0);
    assert_eq!(bounding(&["--cap-drop", "all", "--cap-add", "net_admin"]), NET_ADMIN);
    host.loam(&["run", "--rm", "--cap-add", "CAP_NONSENSE", "small", "true"]).refused(125, "CAP_NONSENSE");
    host.finish();
}

#[test]
fn the_kernel_s_secrets_are_masked() {
    let host = Host::with_small_image();
    for userns in ["auto", "host"] {
        let line = "cat /proc/kcore 2>/dev/null | head -c 1 | wc -c; echo 1 2>/dev/null > /proc/sys/kernel/panic || echo ro; \
                    mkdir /sys/fs/cgroup/memory/x /sys/fs/cgroup/x 2>/dev/null || echo ro; \
                    unshare -U true 2>/dev/null || echo no-userns";
        let ran = host.loam(&["run", "--rm", "--userns", userns, "small", "sh", "-c", line]);
        assert_eq!(ran.ok(), "0\nro\nro\nno-userns", "--userns {userns}");
    }
    host.finish();
}

#[test]
fn seccomp_can_be_switched_off_and_replaced() {
    let host = Host::with_small_image();
    let mode = |option: &str| {
        let ran = host.loam(&[
            "run",
            "--rm",
            "--security-opt",
            option,
            "small",
            "grep",
            "Seccomp:",
            "/proc/self/status",
        ]);
        ran.ok().trim_start_matches("Seccomp:").trim().to_owned()
    };
    assert_eq!(mode("seccomp=unconfined"), "0");
    let profile = host.scratch().join("profile.json");
    let text = r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["mkdir","mkdirat"],"action":"SCMP_ACT_ERRNO","errnoRet":99}]}"#;
    std::fs::write(&profile, text).unwrap();
    let option = format!("seccomp={}", profile.display());
    assert_eq!(mode(&option), "2");
    let ran = host.loam(&["run", "--rm", "--security-opt", &option, "small", "mkdir", "/x"]);
    assert_ne!(ran.code, 0);
    host.finish();
}

#[test]
fn the_shim_s_program_can_t_be_written_from_inside() {
    let host = Host::with_small_image();
    let id = host.start(&["--name", "s", "--userns", "host", "small", "sleep", "1000"]);
    let pids = host.sh(&format!("grep -l loam-shim /proc/[0-9]*/comm | cut -d/ -f3; : {id}")).stdout;
    assert!(!pids.trim().is_empty(), "the shim has its name");
    for pid in pids.split_whitespace() {
        let ran = host.sh(&format!("[ -e /proc/{pid}/exe ] && (exec 9>>/proc/{pid}/exe) 2>&1"));
        assert_ne!(ran.code, 0, "writable: {ran:?}");
    }
    // A container whose program is the runtime itself finds nothing to overwrite.
    let ran = host.loam(&["run", "--rm", "--userns", "host", "small", "/proc/self/exe"]);
    assert_ne!(ran.code, 0);
    host.finish();
}

#[test]
fn an_image_with_links_for_dev_and_proc_can_t_reach_the_host() {
    let host = Host::with_small_image();
    let canary = host.scratch();
    std::fs::write(canary.join("ptmx"), "canary").unwrap();
    let tree = host.scratch().join("tree");
    host.sh(&format!(
        "mkdir -p {0}/bin && cp $(command -v busybox) {0}/bin/ && ln -s busybox {0}/bin/true && ln -s {1} {0}/dev && \
         tar -C {0} -cf {1}/evil.tar .",
        tree.display(),
        canary.display()
    ))
    .ok();
    host.loam(&["import", &format!("{}/evil.tar", canary.display()), "evil"]).ok();
    let ran = host.loam(&["run", "--rm", "evil", "true"]);
    let names = |_: ()| host.sh(&format!("ls {}", canary.display())).stdout;
    assert_eq!(names(()), "evil.tar\nptmx\ntree\n", "{ran:?}");
    assert_eq!(std::fs::read_to_string(canary.join("ptmx")).unwrap(), "canary");
    host.finish();
}

#[test]
fn a_working_directory_on_a_leaked_descriptor_is_refused() {
    let host = Host::with_small_image();
    for number in 3..16 {
        let ran = host.loam(&["run", "--rm", "-w", &format!("/proc/self/fd/{number}"), "small", "pwd"]);
        assert_ne!(ran.code, 0, "descriptor {number}: {ran:?}");
    }
    host.finish();
}

#[test]
fn sockets_and_directories_are_root_s_alone() {
    let host = Host::with_small_image();
    host.start(&["--name", "p", "small", "sleep", "1000"]);
    let look = format!(
        "find '{}' '{}' \\( -type s -o -name '*.db' -o -name config.json \\) -perm /077",
        host.root().display(),
        host.run_directory().display()
    );
    assert_eq!(host.sh(&look).ok(), "");
    assert_eq!(host.sh("grep -c '@.*loam' /proc/net/unix").stdout.trim(), "0", "no abstract sockets");
    host.finish();
}
