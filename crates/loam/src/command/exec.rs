//! `loam exec`.

use clap::Args;
use loam_model::Streams;

use super::Outcome;
use super::run::{ForegroundFlags, check_terminal};
use crate::exit;
use crate::flags::ProcessFlags;
use crate::foreground::{self, Foreground, Subject, WhenUnread};
use crate::terminal;
use crate::wiring::{Wiring, hasten};

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
        let wish = self.process.wish()?;
        let name = self.process.container();
        let engine = wiring.engine()?;
        if self.detach {
            engine.exec(name, &wish, None, Streams::default())?;
            return Ok(exit::Exit::SUCCESS);
        }
        check_terminal(wish.open_stdin, wish.terminal)?;
        let (foreground, streams) = Foreground::open(foreground::Wish {
            stdin: wish.open_stdin,
            terminal: wish.terminal,
            keys: self.foreground.detach_keys.clone(),
            proxy: self.foreground.sig_proxy,
        })?;
        let size = if wish.terminal { terminal::size() } else { None };
        hasten();
        let running = engine.exec(name, &wish, size, streams)?;
        let subject = Subject {
            engine,
            container: running.container().to_string(),
            target: running.target(),
            when_unread: WhenUnread::Signal,
        };
        match foreground.attend(&subject, move || running.wait())? {
            foreground::Outcome::Ended(status) => status.map(exit::Exit::of_process),
            foreground::Outcome::Left(exit) => Ok(exit),
        }
    }
}
