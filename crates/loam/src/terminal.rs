//! The terminal of whoever runs a command: its size, and raw mode, which is given back in every way out that leaves
//! us a word.

use std::io::{self, BufRead, Read, Write};
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

/// Asks for a line on the terminal. `None` when it was given up.
pub(crate) fn read_line(question: &str) -> io::Result<Option<String>> {
    ask(question)?;
    let mut line = String::new();
    let count = io::stdin().lock().read_line(&mut line)?;
    Ok((count > 0).then(|| line.trim_end_matches(['\n', '\r']).to_owned()))
}

/// Asks for a line on the terminal that is not shown. `None` when it was given up, by ctrl-c or ctrl-d.
pub(crate) fn read_secret(question: &str) -> io::Result<Option<String>> {
    let raw = RawTerminal::enter()?;
    ask(question)?;
    let answer = secret_line(&mut io::stdin().lock().bytes());
    ask("\r\n")?;
    drop(raw);
    answer
}

fn ask(question: &str) -> io::Result<()> {
    let mut stderr = io::stderr().lock();
    stderr.write_all(question.as_bytes())?;
    stderr.flush()
}

/// A line of keys as a raw terminal sends them.
fn secret_line(keys: &mut dyn Iterator<Item = io::Result<u8>>) -> io::Result<Option<String>> {
    const INTERRUPT: u8 = 3;
    const END: u8 = 4;
    const BACKSPACE: u8 = 8;
    const KILL: u8 = 21;
    const DELETE: u8 = 127;
    let mut line = Vec::new();
    for key in keys {
        match key? {
            b'\r' | b'\n' => {
                let text = String::from_utf8(line);
                return text.map(Some).map_err(|_| io::Error::other("it is no UTF-8"));
            }
            INTERRUPT | END => return Ok(None),
            BACKSPACE | DELETE => {
                // All bytes of the last character.
                while line.pop().is_some_and(|byte| byte & 0xc0 == 0x80) {}
            }
            KILL => line.clear(),
            key => line.push(key),
        }
    }
    Ok(None)
}

fn restore() {
    let saved = SAVED.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some(saved) = saved {
        // A terminal that has gone needs no settings.
        termios::tcsetattr(stdin(), OptionalActions::Now, &saved).ok();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_can_be_corrected_and_given_up() {
        let read = |keys: &[u8]| secret_line(&mut keys.iter().map(|key| Ok(*key))).expect("no error");
        assert_eq!(read(b"abc\r").as_deref(), Some("abc"));
        assert_eq!(read("ab\u{fc}\u{7f}c\n".as_bytes()).as_deref(), Some("abc"));
        assert_eq!(read(b"wrong\x15right\r").as_deref(), Some("right"));
        assert_eq!(read(b"\x7f\r").as_deref(), Some(""));
        assert_eq!((read(b"abc\x03\r"), read(b"\x04"), read(b"abc")), (None, None, None));
    }
}
