//! Huge pages: a container gets as many as it may have, and no more.

use std::fs;

use loam_tests::Host;
use loam_tests::memory::HugePages;

/// The files of the limit on pages that are used, and of the one on pages that are promised, in version 1 and 2.
const USED: ((&str, &str), &str) = (("hugetlb", "hugetlb.2MB.limit_in_bytes"), "hugetlb.2MB.max");
const PROMISED: ((&str, &str), &str) =
    (("hugetlb", "hugetlb.2MB.rsvd.limit_in_bytes"), "hugetlb.2MB.rsvd.max");

on_both_versions!(huge_pages_end_at_their_limit, HugePages);
fn huge_pages_end_at_their_limit() {
    let host = Host::with_small_image();
    let pages = HugePages::set_aside(8).expect("the test needs them");
    let directory = host.scratch().join("huge");
    fs::create_dir(&directory).unwrap();
    let place = directory.display();
    host.sh(&format!("mount -t hugetlbfs -o pagesize=2M,mode=0777 none '{place}'")).ok();
    let volume = format!("{place}:/huge:noidmap");
    let start = |name: &str, limit: &[&str]| {
        // systemd knows nothing of this controller and does not hand it down.
        let common = ["--cgroup-driver", "cgroupfs", "run", "--userns", "host", "-d", "--name", name];
        let line = [&common[..], limit, &["-v", &volume, "small", "sleep", "1000"]].concat();
        host.loam(&line).ok();
    };
    start("held", &["--hugepage-limit", "2MB=4m"]);
    start("free", &[]);
    let take = |name: &str, bytes: &str| {
        host.loam(&["exec", name, "fallocate", "-l", bytes, &format!("/huge/{name}")])
    };
    let cgroup = host.cgroup("held");
    assert_eq!(cgroup.read(USED.0, USED.1), "4194304");
    // Kernels since 5.7 have it, and so all that Loam runs on.
    assert_eq!(cgroup.read(PROMISED.0, PROMISED.1), "4194304");
    take("held", "4194304").ok();
    let too_much = take("held", "8388608");
    assert_ne!(too_much.code, 0, "{too_much:?}");
    // There were enough.
    host.loam(&["exec", "held", "rm", "/huge/held"]).ok();
    take("free", "8388608").ok();
    host.loam(&["rm", "-f", "held", "free"]).ok();
    host.sh(&format!("umount '{place}'")).ok();
    drop(pages);
    host.finish();
}
