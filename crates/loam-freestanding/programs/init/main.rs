//! `loam-init -- PROGRAM ARGUMENTS…`: process 1 of a container.
//!
//! It starts the program in a process group of its own (and gives that the terminal, when standard input is one),
//! passes every signal on to it, collects orphans that end, and ends when the program does, with the program's code,
//! or 128 and the signal. A program that is not found makes it 127, one that can't be executed 126.
#![no_std]
#![no_main]
#![no_builtins]

#[path = "../ground/ground.rs"]
mod ground;
mod program;

use core::fmt::Write;

use ground::Errno;
use ground::call::{self, Fork, SignalSet};
use ground::start::Strings;
use ground::text::{Shown, Text};

const USAGE: &[u8] = b"usage: loam-init -- PROGRAM ARGUMENTS...\n";
const FAILED: u8 = 125;
const STDIN: i32 = 0;
const SIGCHLD: i32 = 17;
const SIGTTIN: i32 = 21;
const SIGTTOU: i32 = 22;

fn main(arguments: Strings, environment: Strings) -> u8 {
    let mut words = arguments.skip_first(1);
    if words.first().is_some_and(|word| word.to_bytes() == b"--") {
        words = words.skip_first(1);
    }
    if words.count() == 0 {
        let _ = call::write_all(2, USAGE);
        return FAILED;
    }
    if call::pid() != 1 {
        call::adopt_orphans();
    }
    // Everything is blocked and taken from the queue one by one: no handler, and nothing is lost between two looks.
    let mask = call::set_signal_mask(SignalSet::ALL);
    match call::fork() {
        Ok(Fork::Child) => {
            let _ = call::lead_group(0);
            // Before the mask is lifted: SIGTTOU would stop a background process that takes the terminal.
            let _ = call::take_terminal(STDIN, call::pid());
            call::set_signal_mask(mask);
            program::run(words, environment)
        }
        Ok(Fork::Parent(child)) => tend(child),
        Err(error) => {
            complain(format_args!("no process can be made: {error}"));
            FAILED
        }
    }
}

/// Passes signals on and collects children until the program has ended.
fn tend(child: i32) -> u8 {
    // The child does the same; whoever comes first, it is done before either of us goes on.
    let _ = call::lead_group(child);
    let has_terminal = call::take_terminal(STDIN, child).is_ok();
    let target = if has_terminal { -child } else { child };
    loop {
        match call::wait_signal(SignalSet::ALL) {
            Ok(SIGCHLD) => {
                if let Some(status) = collect(child) {
                    return code(status);
                }
            }
            // The kernel's answer to our own use of the terminal, no message for the program.
            Ok(SIGTTIN | SIGTTOU) | Err(Errno::INTR | Errno::AGAIN) => {}
            Ok(signal) => {
                let _ = call::kill(target, signal);
            }
            Err(error) => {
                complain(format_args!("signals can't be waited for: {error}"));
                return FAILED;
            }
        }
    }
}

/// Collects all children that have ended; gives the status of the program's process when it is among them.
fn collect(child: i32) -> Option<i32> {
    let mut found = None;
    while let Ok(Some((pid, status))) = call::collect_child() {
        if pid == child {
            found = Some(status);
        }
    }
    found
}

/// The exit code for a status as wait(2) packs it.
fn code(status: i32) -> u8 {
    let signal = status & 0x7f;
    if signal == 0 { (status >> 8) as u8 } else { (128 + signal) as u8 }
}

fn complain(message: core::fmt::Arguments<'_>) {
    let mut buffer = [0; 512];
    let mut text = Text::new(&mut buffer);
    let _ = writeln!(text, "loam-init: {message}");
    let _ = call::write_all(2, text.as_bytes());
}

fn complain_of(program: &[u8], what: &str, error: Errno) {
    complain(format_args!("`{}` {what}: {error}", Shown(program)));
}
