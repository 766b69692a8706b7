//! `loam attach`.

use clap::Args;
use loam_model::ProcessTarget;

use super::Outcome;
use super::run::{ForegroundFlags, check_terminal};
use crate::exit::Exit;
use crate::foreground::{self, Foreground, Subject, WhenUnread};
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
        let stdin = detail.wish.open_stdin && !self.no_stdin;
        check_terminal(stdin, detail.wish.terminal)?;
        let (foreground, streams) = Foreground::open(foreground::Wish {
            stdin,
            terminal: detail.wish.terminal,
            keys: self.foreground.detach_keys.clone(),
            proxy: self.foreground.sig_proxy,
        })?;
        let attached = engine.attach(detail.id.as_str(), streams)?;
        if detail.wish.terminal
            && let Some(size) = terminal::size()
        {
            // A full-screen program draws itself anew only when the size changes.
            engine.control(detail.id.as_str())?.resize(&ProcessTarget::Main, size)?;
        }
        let subject = Subject {
            engine,
            container: detail.id.to_string(),
            target: ProcessTarget::Main,
            when_unread: WhenUnread::Leave,
        };
        match foreground.attend(&subject, move || attached.wait())? {
            foreground::Outcome::Ended(record) => Ok(Exit::of_process(record?.status)),
            foreground::Outcome::Left(exit) => Ok(exit),
        }
    }
}
