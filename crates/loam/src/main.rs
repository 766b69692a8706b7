//! The `loam` command: arguments in, words out.
//!
//! What comes in: the command line, two or three environment variables, the standard streams. What goes out: data on
//! standard output, everything else on standard error, and an exit code (see [`exit`]). Everything that is done is
//! done by the engine; here it is wired to its adapters ([`wiring`]), and only as far as the command needs them.

mod archive;
mod arguments;
mod command;
mod exit;
mod flags;
mod foreground;
mod human;
mod id_file;
mod image_source;
mod output;
mod progress;
mod render;
mod table;
mod terminal;
mod wiring;

use std::process::ExitCode;

use arguments::Arguments;
use clap::Parser;
use wiring::Wiring;

fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => return render::usage(&error).into(),
    };
    arguments.global.start_logging();
    let wiring = Wiring::new(arguments.global);
    let exit = arguments.command.run(&wiring).unwrap_or_else(|failure| render::failure(&failure));
    exit.into()
}
