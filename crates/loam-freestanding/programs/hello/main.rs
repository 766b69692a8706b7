//! `hello`: prints what a container sees, from inside; `hello serve [PORT]` answers HTTP with the same. It is all that
//! the built-in image holds. Further words are there for trying things out; `hello help` lists them.
#![no_std]
#![no_main]
#![no_builtins]

mod cgroup;
#[path = "../ground/ground.rs"]
mod ground;
mod identity;
mod mounts;
mod netlink;
mod network;
mod proc_text;
mod report;
mod serve;
mod table;

use core::ffi::CStr;

use ground::call::{self, SignalSet};
use ground::start::Strings;
use ground::text::{Text, number};

const USAGE: &[u8] = b"usage: hello [WORD]
  (nothing)     print what the container sees
  serve [PORT]  answer HTTP with the same, at port 80 unless another is given
  echo WORDS    print the words
  cat           copy standard input to standard output
  env           print the environment
  exit CODE     end with this code
  sleep         wait for SIGTERM or SIGINT, then end with 0
  help          print this
";
const WRONG_USE: u8 = 2;
const SIGINT: i32 = 2;
const SIGTERM: i32 = 15;

/// Signals that ask to end.
const END: [i32; 2] = [SIGINT, SIGTERM];

fn main(arguments: Strings, environment: Strings) -> u8 {
    let mut words = arguments.skip_first(1);
    let word = words.next().map_or(&b""[..], CStr::to_bytes);
    let done = match word {
        b"" => print_report(environment),
        b"serve" => return serve(words, environment),
        b"echo" => echo(words),
        b"cat" => cat(),
        b"env" => print_lines(environment),
        b"exit" => {
            return words.first().and_then(|code| number(code.to_bytes())).map_or(0, |(code, _)| code as u8);
        }
        b"sleep" => sleep(),
        b"help" | b"--help" | b"-h" => call::write_all(1, USAGE),
        _ => {
            let _ = call::write_all(2, USAGE);
            return WRONG_USE;
        }
    };
    u8::from(done.is_err())
}

fn print_report(environment: Strings) -> ground::Result<()> {
    let mut buffer = [0; report::SIZE];
    let mut text = Text::new(&mut buffer);
    report::write(&mut text, environment, None);
    call::write_all(1, text.as_bytes())
}

fn serve(words: Strings, environment: Strings) -> u8 {
    let port = match words.first() {
        None => Some(80),
        Some(word) => number(word.to_bytes()).and_then(|(port, rest)| match rest {
            [] => u16::try_from(port).ok(),
            _ => None,
        }),
    };
    match port {
        Some(port) => serve::run(port, environment),
        None => {
            let _ = call::write_all(2, b"hello: the port must be a number up to 65535\n");
            WRONG_USE
        }
    }
}

fn echo(words: Strings) -> ground::Result<()> {
    for (at, word) in words.enumerate() {
        if at > 0 {
            call::write_all(1, b" ")?;
        }
        call::write_all(1, word.to_bytes())?;
    }
    call::write_all(1, b"\n")
}

fn cat() -> ground::Result<()> {
    let mut buffer = [0; 16384];
    loop {
        match call::read(0, &mut buffer)? {
            0 => return Ok(()),
            count => call::write_all(1, &buffer[..count])?,
        }
    }
}

fn print_lines(lines: Strings) -> ground::Result<()> {
    for line in lines {
        call::write_all(1, line.to_bytes())?;
        call::write_all(1, b"\n")?;
    }
    Ok(())
}

fn sleep() -> ground::Result<()> {
    let set = SignalSet::of(&END);
    call::set_signal_mask(set);
    call::wait_signal(set).map(|_| ())
}
