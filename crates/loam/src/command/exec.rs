//! `loam exec`.

use clap::Args;
use loam_model::Streams;

use super::Outcome;
use super::stay::{Connection, further_process, start_and_stay};
use crate::exit::Exit;
use crate::flags::{ForegroundFlags, ProcessFlags};
use crate::wiring::Wiring;

/// The flags of `exec`.
#[derive(Args, Debug)]
pub(crate) struct Exec {
    /// Let the process run in the background
    #[arg(short, long)]
    detach: bool,
    #[command(flatten)]
    foreground: ForegroundFlags,
    #[command(flatten)]
    process: ProcessFlags,
}

impl Exec {
    pub(super) fn run(self, wiring: &Wiring) -> Outcome {
        let spec = self.process.spec()?;
        let name = self.process.container();
        let engine = wiring.engine()?;
        if self.detach {
            engine.exec(name, &spec, None, Streams::default())?;
            return Ok(Exit::SUCCESS);
        }
        let connection = Connection { stdin: spec.open_stdin, terminal: spec.terminal };
        start_and_stay(engine, &self.foreground, connection, |streams, size| {
            Ok(further_process(engine.exec(name, &spec, size, streams)?))
        })
    }
}
