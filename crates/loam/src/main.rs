//! The `loam` command: arguments in, words out.
//!
//! What comes in: the command line, a few environment variables, the configuration file, the standard streams. What goes out: data on
//! standard output, everything else on standard error, and an exit code (see [`exit`]). Everything that is done is
//! done by the engine; here it is wired to its adapters ([`wiring`]), and only as far as the command needs them.

mod archive;
mod arguments;
mod bundle;
mod command;
mod config;
mod exit;
mod flags;
mod foreground;
mod garden_network;
mod grootfs;
mod human;
mod id_file;
mod image_source;
mod mistake;
mod naming;
mod not_there;
mod output;
mod progress;
mod render;
mod table;
mod terminal;
mod transport;
mod wiring;

use std::process::ExitCode;

use arguments::Arguments;
use clap::Parser;
use config::Settings;
use loam_model::{ErrorKind, Failure};
use wiring::Wiring;

fn main() -> ExitCode {
    loam_sys::end_at_panic();
    if let Err(error) = loam_sys::keep_ended_children() {
        let what = "ended children can't be waited for";
        return render::failure(&Failure::new(ErrorKind::Internal, what).caused_by(error)).into();
    }
    if let Some(words) = grootfs::words(std::env::args_os()) {
        return grootfs::run(words);
    }
    if let Some(words) = garden_network::words(std::env::args_os()) {
        return garden_network::run(words);
    }
    command::ask_for(std::env::args_os());
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => return render::usage(&error).into(),
    };
    let settings = match Settings::resolve(arguments.global) {
        Ok(settings) => settings,
        Err(failure) => return render::failure(&failure).into(),
    };
    arguments::start_logging(settings.log_level);
    if let Err(failure) = wiring::turn_features_off() {
        return render::failure(&failure).into();
    }
    let checked = if arguments.command.is_about_loam() { Ok(()) } else { wiring::check_kernel() };
    let wiring = Wiring::new(settings);
    let done = checked.and_then(|()| arguments.command.run(&wiring));
    done.unwrap_or_else(|failure| render::failure(&failure)).into()
}
