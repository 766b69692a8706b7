//! `loam attach`.

use clap::Args;
use loam_model::ProcessTarget;

use super::Outcome;
use super::stay::{Connection, Ended, Process, stay};
use crate::flags::ForegroundFlags;
use crate::foreground::WhenUnread;
use crate::terminal;
use crate::wiring::Wiring;

/// The flags of `attach`.
#[derive(Args, Debug)]
pub(crate) struct Attach {
    /// Do not send standard input to it
    #[arg(long)]
    no_stdin: bool,
    #[command(flatten)]
    foreground: ForegroundFlags,
    /// A name or id
    container: String,
}

impl Attach {
    pub(super) fn run(self, wiring: &Wiring) -> Outcome {
        let engine = wiring.engine()?;
        let detail = engine.inspect(&self.container)?;
        let terminal = detail.spec.terminal;
        let connection = Connection { stdin: detail.spec.open_stdin && !self.no_stdin, terminal };
        stay(engine, &self.foreground, connection, |streams| {
            let attached = engine.attach(detail.id.as_str(), streams)?;
            if terminal && let Some(size) = terminal::size() {
                // A full-screen program draws itself anew only when the size changes.
                engine.control(detail.id.as_str())?.resize(&ProcessTarget::Main, size)?;
            }
            Ok(Process {
                container: detail.id.to_string(),
                target: ProcessTarget::Main,
                when_unread: WhenUnread::Leave,
                wait: move || attached.wait().map(Ended::from),
            })
        })
    }
}
