//! Swap space and huge pages: what a machine has once, for everybody, is lent to one test at a time, and put back.

use std::fs;
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::panicking;

use tempfile::TempDir;

/// The file with the number of huge pages, of the usual size, that the kernel keeps.
const HUGE_PAGES: &str = "/proc/sys/vm/nr_hugepages";
/// Makes 64 MiB of swap in a file.
const SWAP_ON: &str = "set -e; dd if=/dev/zero of=\"$0\" bs=1M count=64 2>/dev/null; chmod 600 \"$0\"; \
                       mkswap \"$0\" >/dev/null; swapon \"$0\"";

static SWAP_TURN: Mutex<()> = Mutex::new(());
static HUGE_PAGES_TURN: Mutex<()> = Mutex::new(());

/// A test that failed in its turn has put back what it changed all the same.
fn turn(of: &'static Mutex<()>) -> MutexGuard<'static, ()> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Swap space: the machine's own, or some in a file for as long as this is kept.
#[derive(Debug)]
pub struct SwapSpace {
    made: Option<TempDir>,
    _turn: MutexGuard<'static, ()>,
}

impl SwapSpace {
    /// Waits until no other test has it. `None` where there is none and none can be made.
    pub fn borrow() -> Option<Self> {
        let turn = turn(&SWAP_TURN);
        // The first line is a heading.
        if fs::read_to_string("/proc/swaps").ok()?.lines().count() > 1 {
            return Some(Self { made: None, _turn: turn });
        }
        let directory = tempfile::tempdir().ok()?;
        let made = with_swap_file(SWAP_ON, &directory);
        if made { Some(Self { made: Some(directory), _turn: turn }) } else { None }
    }
}

impl Drop for SwapSpace {
    fn drop(&mut self) {
        let off = self.made.as_ref().is_none_or(|directory| with_swap_file("swapoff \"$0\"", directory));
        assert!(off || panicking(), "the test's swap space can't be taken back");
    }
}

fn with_swap_file(script: &str, directory: &TempDir) -> bool {
    let file = directory.path().join("swap");
    let ran = Command::new("sh").args(["-c", script]).arg(file).output();
    ran.is_ok_and(|output| output.status.success())
}

/// Huge pages that the kernel keeps for as long as this is kept, beside those that it kept before.
#[derive(Debug)]
pub struct HugePages {
    before: u32,
    _turn: MutexGuard<'static, ()>,
}

impl HugePages {
    /// Waits until no other test has any. `None` where the kernel does not find so many.
    pub fn set_aside(count: u32) -> Option<Self> {
        let turn = turn(&HUGE_PAGES_TURN);
        let before = Self::number()?;
        let pages = Self { before, _turn: turn };
        fs::write(HUGE_PAGES, (before + count).to_string()).ok()?;
        (Self::number() == Some(before + count)).then_some(pages)
    }

    fn number() -> Option<u32> {
        fs::read_to_string(HUGE_PAGES).ok()?.trim().parse().ok()
    }
}

impl Drop for HugePages {
    fn drop(&mut self) {
        let back = fs::write(HUGE_PAGES, self.before.to_string());
        assert!(
            Self::number() == Some(self.before) || panicking(),
            "the test's huge pages can't be given back: {back:?}"
        );
    }
}
