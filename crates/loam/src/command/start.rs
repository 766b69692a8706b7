//! `loam start`.

use clap::Args;
use loam_engine::{Engine, StartOptions};
use loam_model::{ErrorKind, Failure};

use super::stay::{Connection, main_process, start_and_stay, start_options};
use super::{Outcome, each};
use crate::flags::ForegroundFlags;
use crate::output;
use crate::wiring::Wiring;

/// The flags of `start`.
#[derive(Args, Debug)]
pub(crate) struct Start {
    /// Stay with the container: its output comes here, signals go there
    #[arg(short, long)]
    attach: bool,
    /// Send standard input to it, too
    #[arg(short, long)]
    interactive: bool,
    #[command(flatten)]
    foreground: ForegroundFlags,
    /// Names or ids
    #[arg(required = true, value_name = "CONTAINER")]
    containers: Vec<String>,
}

impl Start {
    pub(super) fn run(self, wiring: &Wiring) -> Outcome {
        let engine = wiring.engine()?;
        if !self.attach && !self.interactive {
            let is_one = self.containers.len() == 1;
            return each(&self.containers, |name| {
                let started = engine.start(name, StartOptions::default());
                // Of several the sentence has to say which.
                let named = |failure: Failure| failure.within(format!("container `{name}` can't be started"));
                started.map_err(|failure| if is_one { failure } else { named(failure) })?;
                output::print_line(name)
            });
        }
        match self.containers.as_slice() {
            [name] => self.stay(engine, name),
            _ => Err(Failure::new(ErrorKind::Invalid, "only one container can be attached to at a time")),
        }
    }

    fn stay(&self, engine: &Engine, name: &str) -> Outcome {
        let spec = engine.inspect(name)?.spec;
        let connection = Connection { stdin: self.interactive && spec.open_stdin, terminal: spec.terminal };
        start_and_stay(engine, &self.foreground, connection, |streams, size| {
            Ok(main_process(engine.start(name, start_options(streams, size))?))
        })
    }
}
