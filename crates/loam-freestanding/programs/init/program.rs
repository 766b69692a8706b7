//! Finding the program and becoming it.

use core::ffi::CStr;

use crate::complain_of;
use crate::ground::start::Strings;
use crate::ground::{Errno, call};

/// Where programs are looked for when the environment has no `PATH`.
const DEFAULT_PATH: &[u8] = b"/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
const NOT_EXECUTABLE: u8 = 126;
const NOT_FOUND: u8 = 127;
/// Linux' PATH_MAX.
const PATH_MAX: usize = 4096;

/// Becomes the first of `words`; gives the exit code when that can't be done, after a sentence on standard error.
pub fn run(words: Strings, environment: Strings) -> u8 {
    let Some(program) = words.first() else { return NOT_FOUND };
    let error = if program.to_bytes().contains(&b'/') {
        call::exec(program, words, environment)
    } else {
        search(program.to_bytes(), words, environment)
    };
    if matches!(error, Errno::NOENT | Errno::NOTDIR) {
        complain_of(program.to_bytes(), "was not found", error);
        NOT_FOUND
    } else {
        complain_of(program.to_bytes(), "can't be executed", error);
        NOT_EXECUTABLE
    }
}

/// Tries each directory of `PATH`. A file without the right to execute it does not end the search, but is what is
/// reported when nothing better comes (as execvp(3) has it).
fn search(program: &[u8], words: Strings, environment: Strings) -> Errno {
    let mut seen = Errno::NOENT;
    for directory in environment.variable(b"PATH").unwrap_or(DEFAULT_PATH).split(|byte| *byte == b':') {
        let mut buffer = [0; PATH_MAX];
        let Some(path) = join(directory, program, &mut buffer) else { continue };
        match call::exec(path, words, environment) {
            Errno::NOENT | Errno::NOTDIR | Errno::NAMETOOLONG => {}
            Errno::ACCES => seen = Errno::ACCES,
            error => return error,
        }
    }
    seen
}

/// Joins a directory, `.` when it is empty, and a name.
fn join<'a>(directory: &[u8], name: &[u8], buffer: &'a mut [u8; PATH_MAX]) -> Option<&'a CStr> {
    let directory = if directory.is_empty() { b"." } else { directory };
    let length = directory.len() + 1 + name.len();
    if length >= PATH_MAX {
        return None;
    }
    buffer[..directory.len()].copy_from_slice(directory);
    buffer[directory.len()] = b'/';
    buffer[directory.len() + 1..length].copy_from_slice(name);
    CStr::from_bytes_until_nul(buffer).ok()
}
