//! Block devices and huge pages.

use std::fs;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};

use loam_tests::cgroup::is_version_two;
use loam_tests::{Host, Need, needs};

/// The device that temporary files are on, and its numbers as the kernel writes them.
fn device() -> (String, String) {
    let node = needs::block_device(&std::env::temp_dir()).expect("the test needs one");
    let found = fs::metadata(&node).expect("it exists");
    assert!(found.file_type().is_block_device());
    (node.display().to_string(), needs::device_numbers(found.rdev()))
}

#[test]
fn the_kernel_has_the_rates_that_were_asked_for() {
    if !needs::met(&[Need::BlockDevice]) {
        return;
    }
    let host = Host::with_small_image();
    let (node, numbers) = device();
    let flags = [
        format!("--device-read-bps={node}:1m"),
        format!("--device-write-bps={node}:2m"),
        format!("--device-read-iops={node}:100"),
        format!("--device-write-iops={node}:200"),
    ];
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    host.start(&[&["--name", "r"], &flags[..], &["small", "sleep", "1000"]].concat());
    let cgroup = host.cgroup("r");
    if is_version_two() {
        let expected = format!("{numbers} rbps=1048576 wbps=2097152 riops=100 wiops=200");
        assert_eq!(cgroup.read(("", ""), "io.max"), expected);
    } else {
        for (file, rate) in
            [("read_bps", "1048576"), ("write_bps", "2097152"), ("read_iops", "100"), ("write_iops", "200")]
        {
            let text = cgroup.read(("blkio", &format!("blkio.throttle.{file}_device")), "");
            assert_eq!(text, format!("{numbers} {rate}"));
        }
    }
    host.finish();
}

#[test]
fn reading_takes_as_long_as_the_rate_says() {
    if !needs::met(&[Need::BlockDevice]) {
        return;
    }
    let host = Host::with_small_image();
    let file = host.scratch().join("file");
    host.sh(&format!(
        "dd if=/dev/urandom of='{0}' bs=1M count=4 2>/dev/null; chmod 644 '{0}'; sync '{0}'",
        file.display()
    ))
    .ok();
    let volume = format!("{}:/file:ro", file.display());
    let flag = format!("--device-read-bps={}:1m", device().0);
    // The time is taken inside: making a container may take longer than the reading.
    let script = "clock() { cut -d' ' -f1 /proc/uptime; }; clock; dd if=/file of=/dev/null bs=1M iflag=direct 2>/dev/null && clock";
    let read = |flags: &[&str]| -> f64 {
        let ran =
            host.loam(&[&["run", "--rm", "-v", &volume], flags, &["small", "sh", "-c", script]].concat());
        let times: Vec<f64> = ran.ok().lines().map(|line| line.parse().unwrap()).collect();
        times[1] - times[0]
    };
    let (free, held) = (read(&[]), read(&[&flag]));
    // Four at one a second; the kernel lets the first through at once.
    assert!(held > 2.5, "{held} seconds for 4 MiB at 1 MiB a second");
    assert!(held > free + 1.0, "{free} seconds without a limit, {held} with it");
    host.finish();
}

#[test]
fn huge_pages_end_at_their_limit() {
    if !needs::met(&[Need::HugePages]) {
        return;
    }
    let host = Host::with_small_image();
    let directory = host.scratch().join("huge");
    fs::create_dir(&directory).unwrap();
    let number = "/proc/sys/vm/nr_hugepages";
    let before = fs::read_to_string(number).unwrap();
    fs::write(number, "8").unwrap();
    let place = directory.display();
    host.sh(&format!("mount -t hugetlbfs -o pagesize=2M,mode=0777 none '{place}'")).ok();
    // systemd knows nothing of this controller and does not hand it down.
    let common = ["--cgroup-driver", "cgroupfs", "run", "--userns", "host", "--hugepage-limit", "2MB=4m"];
    let volume = format!("{place}:/huge:noidmap");
    let line = [&common[..], &["-d", "--name", "h", "-v", &volume, "small", "sleep", "1000"]].concat();
    host.loam(&line).ok();
    let limit = host.cgroup("h").read(("hugetlb", "hugetlb.2MB.limit_in_bytes"), "hugetlb.2MB.max");
    let take = |size: &str| host.loam(&["exec", "h", "fallocate", "-l", size, "/huge/file"]);
    let (fits, too_much) = (take("4194304"), take("8388608"));
    host.loam(&["rm", "-f", "h"]).ok();
    host.sh(&format!("umount '{place}'")).ok();
    fs::write(number, before.trim()).unwrap();
    assert_eq!(limit, "4194304");
    assert_eq!(fits.code, 0, "{fits:?}");
    assert_ne!(too_much.code, 0, "{too_much:?}");
    let mode = fs::metadata(&directory).unwrap().permissions().mode();
    assert_ne!(mode & 0o7777, 0o777, "the file system is gone");
    host.finish();
}
