//! Copying between the standard streams and pipes.

use std::io::{PipeReader, PipeWriter, Write};
use std::os::fd::BorrowedFd;

use rustix::io::Errno;
use rustix::stdio::stdin;

use super::detach::DetachMatcher;
use crate::flags::DetachKeys;

/// As much as a pipe holds.
const BUFFER: usize = 64 * 1024;

/// Why the input came to its end.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum InputEnd {
    /// There is no more, or nobody takes it.
    Closed,
    /// The keys were pressed.
    Detached,
}

/// Copies standard input into a pipe, and closes that at the end.
pub(super) fn input(mut pipe: PipeWriter, keys: Option<DetachKeys>) -> InputEnd {
    let mut matcher = keys.map(DetachMatcher::new);
    let mut buffer = vec![0; BUFFER];
    let mut passed = Vec::new();
    loop {
        let count = match rustix::io::read(stdin(), &mut buffer[..]) {
            Ok(0) => return InputEnd::Closed,
            Ok(count) => count,
            Err(Errno::INTR) => continue,
            Err(Errno::AGAIN) => {
                wait_readable();
                continue;
            }
            Err(_) => return InputEnd::Closed,
        };
        let (bytes, detached) = match &mut matcher {
            None => (&buffer[..count], false),
            Some(matcher) => {
                passed.clear();
                let detached = matcher.feed(&buffer[..count], &mut passed);
                (&passed[..], detached)
            }
        };
        let written = pipe.write_all(bytes);
        if detached {
            return InputEnd::Detached;
        }
        if written.is_err() {
            return InputEnd::Closed;
        }
    }
}

/// Copies a pipe to one of our outputs until it ends; the error says that nobody takes it any more.
pub(super) fn output(pipe: PipeReader, stream: BorrowedFd<'static>) -> Result<(), Errno> {
    let mut buffer = vec![0; BUFFER];
    loop {
        let count = match rustix::io::read(&pipe, &mut buffer[..]) {
            Ok(0) => return Ok(()),
            Ok(count) => count,
            Err(Errno::INTR) => continue,
            Err(error) => return Err(error),
        };
        write_all(stream, &buffer[..count])?;
    }
}

fn write_all(stream: BorrowedFd<'static>, mut bytes: &[u8]) -> Result<(), Errno> {
    while !bytes.is_empty() {
        match rustix::io::write(stream, bytes) {
            Ok(count) => bytes = &bytes[count..],
            Err(Errno::INTR) => {}
            // Somebody who shares the stream made it non-blocking.
            Err(Errno::AGAIN) => wait(stream, rustix::event::PollFlags::OUT),
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn wait_readable() {
    wait(stdin(), rustix::event::PollFlags::IN);
}

fn wait(stream: BorrowedFd<'static>, what: rustix::event::PollFlags) {
    let mut fds = [rustix::event::PollFd::from_borrowed_fd(stream, what)];
    // Whatever comes of it, the next attempt will tell.
    rustix::event::poll(&mut fds, None).ok();
}
