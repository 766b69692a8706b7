//! A test that is alone among all that have a host, because it changes what is the kernel's and the same for every host.

use std::cell::Cell;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// Who is there.
#[derive(Debug)]
struct Gate {
    /// Tests with hosts.
    present: usize,
    /// Those that wait to be alone: others don't begin meanwhile.
    waiting: usize,
    alone: bool,
}

static GATE: Mutex<Gate> = Mutex::new(Gate { present: 0, waiting: 0, alone: false });
static CHANGED: Condvar = Condvar::new();

thread_local! {
    /// Hosts of the test on this thread.
    static HELD: Cell<usize> = const { Cell::new(0) };
}

fn gate() -> MutexGuard<'static, Gate> {
    GATE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn wait(held: MutexGuard<'static, Gate>, until: impl Fn(&Gate) -> bool) -> MutexGuard<'static, Gate> {
    CHANGED.wait_while(held, |gate| !until(gate)).unwrap_or_else(PoisonError::into_inner)
}

/// That a test has a host.
#[derive(Debug)]
pub(crate) struct Present {
    is_first: bool,
}

impl Present {
    /// Waits until nobody is alone or waits to be. A test that has a host already has waited.
    pub(crate) fn enter() -> Self {
        let held = HELD.get();
        HELD.set(held + 1);
        if held == 0 {
            wait(gate(), |gate| !gate.alone && gate.waiting == 0).present += 1;
        }
        Self { is_first: held == 0 }
    }
}

impl Drop for Present {
    fn drop(&mut self) {
        HELD.set(HELD.get().saturating_sub(1));
        if self.is_first {
            gate().present -= 1;
            CHANGED.notify_all();
        }
    }
}

/// That a test is alone.
#[derive(Debug)]
pub struct Alone(());

/// Waits until no other test has a host, and keeps others from having one. To be called before the test has its own.
pub fn alone() -> Alone {
    let mut held = gate();
    held.waiting += 1;
    let mut held = wait(held, |gate| !gate.alone && gate.present == 0);
    held.waiting -= 1;
    held.alone = true;
    HELD.set(1);
    Alone(())
}

impl Drop for Alone {
    fn drop(&mut self) {
        HELD.set(0);
        gate().alone = false;
        CHANGED.notify_all();
    }
}
