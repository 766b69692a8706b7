//! Block devices: reading and writing take as long as the rates say.

use std::fs;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::panicking;

use loam_tests::{Host, Ran, needs, until};

/// The device that temporary files are on, and its numbers as the kernel writes them.
pub(super) fn device() -> (String, String) {
    let node = needs::block_device(&std::env::temp_dir()).expect("the test needs one");
    let numbers = numbers(&node);
    (node.display().to_string(), numbers)
}

fn numbers(node: &Path) -> String {
    let found = fs::metadata(node).expect("it exists");
    assert!(found.file_type().is_block_device());
    needs::device_numbers(found.rdev())
}

/// A block device of the test's own, which is a file, and for which the kernel takes weights.
pub(super) struct LoopDevice {
    node: PathBuf,
}

impl LoopDevice {
    /// Makes one whose file lies in this directory.
    pub(super) fn with_weights(directory: &Path) -> Self {
        let script = "truncate -s 16M \"$0\" && losetup --find --show \"$0\"";
        let made = Command::new("sh").args(["-c", script]).arg(directory.join("device")).output();
        let device = Self { node: Ran::of(&made.expect("sh runs")).ok().into() };
        device.weigh(true).expect("the kernel takes weights");
        device
    }

    /// Its path.
    pub(super) fn node(&self) -> std::path::Display<'_> {
        self.node.display()
    }

    /// Its numbers as the kernel writes them.
    pub(super) fn numbers(&self) -> String {
        numbers(&self.node)
    }

    fn scheduler(&self) -> PathBuf {
        Path::new("/sys/block").join(self.node.file_name().expect("a name")).join("queue/scheduler")
    }

    /// Whether the kernel has the scheduler BFQ, which has weights of its own.
    fn has_bfq(&self) -> bool {
        fs::read_to_string(self.scheduler()).expect("it has schedulers").contains("bfq")
    }

    /// Has the kernel take weights for it, or not: those of BFQ, or those of version 2 that count what requests cost.
    fn weigh(&self, on: bool) -> std::io::Result<()> {
        match self.has_bfq() {
            true => fs::write(self.scheduler(), if on { "bfq" } else { "none" }),
            false => {
                let line = format!("{} enable={}", self.numbers(), u8::from(on));
                fs::write("/sys/fs/cgroup/io.cost.qos", line)
            }
        }
    }
}

impl Drop for LoopDevice {
    fn drop(&mut self) {
        let back = self.weigh(false);
        let detached = Command::new("losetup").arg("--detach").arg(&self.node).status();
        let is_detached = detached.is_ok_and(|status| status.success());
        assert!((back.is_ok() && is_detached) || panicking(), "{} is left: {back:?}", self.node.display());
    }
}

/// What a test reads from or writes to, past the page cache: four seconds' worth at one MiB or twenty requests a second.
const BY_BYTES: &str = "bs=1M count=4";
const BY_REQUESTS: &str = "bs=4k count=80";
/// The least number of seconds for that: the kernel lets some of it through at once.
const LEAST: f64 = 2.5;

/// Has a container do this `dd` with a file of four MiB, under a limit and without, and looks at the clock.
fn takes_its_time(flag: &str, rate: &str, dd: &str) {
    let host = Host::with_small_image();
    let file = host.scratch().join("file");
    host.sh(&format!(
        "dd if=/dev/urandom of='{0}' bs=1M count=4 2>/dev/null; chmod 666 '{0}'; sync '{0}'",
        file.display()
    ))
    .ok();
    let volume = format!("{}:/file", file.display());
    let flag = format!("{flag}={}:{rate}", device().0);
    // The time is taken inside: making a container may take longer than the reading.
    let clock = "cut -d' ' -f1 /proc/uptime";
    let script = format!("{clock}; dd {dd} 2>/dev/null && {clock}");
    let seconds = |flags: &[&str]| -> f64 {
        let line = [&["run", "--rm", "-v", &volume], flags, &["small", "sh", "-c", &script]].concat();
        let times: Vec<f64> = host.loam(&line).ok().lines().map(|line| line.parse().unwrap()).collect();
        times[1] - times[0]
    };
    let held = seconds(&[&flag]);
    assert!(held > LEAST, "{held} seconds at the rate {rate}");
    // Only a device that is faster by itself can tell.
    until("it is quick without a limit", || (seconds(&[]) < LEAST / 2.0).then_some(()));
    host.finish();
}

on_both_versions!(reading_takes_as_long_as_its_bytes_may, BlockDevice);
fn reading_takes_as_long_as_its_bytes_may() {
    takes_its_time("--device-read-bps", "1m", &format!("if=/file of=/dev/null {BY_BYTES} iflag=direct"));
}

on_both_versions!(writing_takes_as_long_as_its_bytes_may, BlockDevice);
fn writing_takes_as_long_as_its_bytes_may() {
    let dd = format!("if=/dev/zero of=/file {BY_BYTES} conv=notrunc oflag=direct");
    takes_its_time("--device-write-bps", "1m", &dd);
}

on_both_versions!(reading_takes_as_long_as_its_requests_may, BlockDevice);
fn reading_takes_as_long_as_its_requests_may() {
    takes_its_time("--device-read-iops", "20", &format!("if=/file of=/dev/null {BY_REQUESTS} iflag=direct"));
}

on_both_versions!(writing_takes_as_long_as_its_requests_may, BlockDevice);
fn writing_takes_as_long_as_its_requests_may() {
    let dd = format!("if=/dev/zero of=/file {BY_REQUESTS} conv=notrunc oflag=direct");
    takes_its_time("--device-write-iops", "20", &dd);
}
