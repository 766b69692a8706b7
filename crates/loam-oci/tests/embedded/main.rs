//! Containers of the embedded runtime on the real kernel.
//!
//! The runtime clones the process that it runs in, which must have one thread; so each test is a process of its own,
//! forked by this small harness. It understands what `cargo test` and nextest say to a test program: names to select,
//! `--exact`, `--list`, `--skip NAME`.

#![expect(clippy::print_stdout, reason = "a test program tells how its tests went")]
#![expect(clippy::unwrap_used, reason = "all of it is tests")]

mod bundle;
mod container;
mod default_config;
mod exec;
mod failure;
mod hostile;
mod life;
mod process;
mod rootfs;

use std::os::fd::AsFd;
use std::process::ExitCode;

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::process::{WaitId, WaitIdOptions};

/// A test: its name and what it does. It fails by panicking.
pub(crate) type Test = (&'static str, fn());

const LIMIT: Timespec = Timespec { tv_sec: 120, tv_nsec: 0 };

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let has = |flag: &str| arguments.iter().any(|argument| argument == flag);
    let skipped: Vec<&String> =
        arguments.windows(2).filter(|pair| pair[0] == "--skip").map(|pair| &pair[1]).collect();
    let names: Vec<&String> =
        arguments.iter().filter(|a| !a.starts_with('-') && !skipped.contains(a)).collect();
    let chosen = |name: &str| {
        let fits =
            |filter: &&String| if has("--exact") { name == *filter } else { name.contains(filter.as_str()) };
        (names.is_empty() || names.iter().any(fits)) && !skipped.iter().any(fits)
    };
    let all = [life::TESTS, process::TESTS, rootfs::TESTS, hostile::TESTS, exec::TESTS, failure::TESTS];
    let tests = all.iter().flat_map(|tests| tests.iter()).filter(|(name, _)| chosen(name));
    if has("--list") {
        // None is ignored by default.
        if !has("--ignored") {
            tests.for_each(|(name, _)| println!("{name}: test"));
        }
        return ExitCode::SUCCESS;
    }
    if !rustix::process::geteuid().is_root() {
        tests.for_each(|(name, _)| println!("skipped: {name}: needs root"));
        return ExitCode::SUCCESS;
    }
    let (mut passed, mut failed) = (0, Vec::new());
    for (name, test) in tests {
        let well = passes(*test);
        println!("test {name} ... {}", if well { "ok" } else { "FAILED" });
        if well { passed += 1 } else { failed.push(*name) }
    }
    bundle::remove_common_cgroup();
    println!("\ntest result: {passed} passed; {} failed {failed:?}", failed.len());
    if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Runs a test in a process of its own.
fn passes(test: fn()) -> bool {
    let run = || {
        bundle::become_like_a_shim();
        i32::from(std::panic::catch_unwind(test).is_err())
    };
    let child = loam_sys::spawn(loam_sys::CloneFlags::empty(), None, run).expect("a test can be forked");
    let mut poll = [PollFd::new(&child.pidfd, PollFlags::IN)];
    if rustix::event::poll(&mut poll, Some(&LIMIT)).expect("a test can be waited for") == 0 {
        println!("took too long");
        loam_sys::send_signal(child.pidfd.as_fd(), 9).expect("a test can be killed");
    }
    let status = rustix::process::waitid(WaitId::PidFd(child.pidfd.as_fd()), WaitIdOptions::EXITED);
    status.expect("a test can be waited for").and_then(|status| status.exit_status()) == Some(0)
}
