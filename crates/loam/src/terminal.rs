//! The terminal of whoever runs a command: its size, and raw mode, which is given back in every way out that leaves
//! us a word.

use std::io;
use std::os::fd::BorrowedFd;
use std::panic;
use std::sync::{Mutex, PoisonError};

use loam_model::TerminalSize;
use rustix::stdio::{stderr, stdin, stdout};
use rustix::termios::{self, OptionalActions, Termios};

/// The settings to go back to. Here and not in [`RawTerminal`], because a panic ends the process without dropping.
static SAVED: Mutex<Option<Termios>> = Mutex::new(None);

/// Whether standard input is a terminal.
pub(crate) fn is_interactive() -> bool {
    termios::isatty(stdin())
}

/// The size of the terminal, when one of the standard streams is one.
pub(crate) fn size() -> Option<TerminalSize> {
    let streams: [BorrowedFd<'static>; 3] = [stdout(), stdin(), stderr()];
    streams.into_iter().find_map(|stream| {
        let size = termios::tcgetwinsize(stream).ok()?;
        (size.ws_row > 0 && size.ws_col > 0)
            .then_some(TerminalSize { rows: size.ws_row, columns: size.ws_col })
    })
}

/// Standard input in raw mode: every key goes to the container. Dropping it gives the terminal back.
#[derive(Debug)]
pub(crate) struct RawTerminal(());

impl RawTerminal {
    /// Makes the terminal raw.
    pub(crate) fn enter() -> io::Result<Self> {
        let saved = termios::tcgetattr(stdin())?;
        let mut raw = saved.clone();
        raw.make_raw();
        let before = SAVED.lock().unwrap_or_else(PoisonError::into_inner).replace(saved);
        if before.is_none() {
            let others = panic::take_hook();
            panic::set_hook(Box::new(move |panic| {
                restore();
                others(panic);
            }));
        }
        termios::tcsetattr(stdin(), OptionalActions::Now, &raw)?;
        Ok(Self(()))
    }
}

impl Drop for RawTerminal {
    fn drop(&mut self) {
        restore();
    }
}

fn restore() {
    let saved = SAVED.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some(saved) = saved {
        // A terminal that has gone needs no settings.
        termios::tcsetattr(stdin(), OptionalActions::Now, &saved).ok();
    }
}
