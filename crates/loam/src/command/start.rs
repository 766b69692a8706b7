//! `loam start`.

use clap::Args;
use loam_engine::{Engine, StartOptions};
use loam_model::{ErrorKind, Failure, OnStall};

use super::run::{ForegroundFlags, check_terminal, stay_with};
use super::{Outcome, each};
use crate::foreground::{self, Foreground, WhenUnread};
use crate::wiring::{Wiring, hasten};
use crate::{output, terminal};

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
            return each(&self.containers, |name| {
                engine.start(name, StartOptions::default())?;
                output::print_line(name)
            });
        }
        match self.containers.as_slice() {
            [name] => self.stay(engine, name),
            _ => Err(Failure::new(ErrorKind::Invalid, "only one container can be attached to at a time")),
        }
    }

    fn stay(&self, engine: &Engine, name: &str) -> Outcome {
        let wish = engine.inspect(name)?.wish;
        let stdin = self.interactive && wish.open_stdin;
        check_terminal(stdin, wish.terminal)?;
        let (foreground, streams) = Foreground::open(foreground::Wish {
            stdin,
            terminal: wish.terminal,
            keys: self.foreground.detach_keys.clone(),
            proxy: self.foreground.sig_proxy,
        })?;
        let options = StartOptions {
            streams: Some(streams),
            on_stall: OnStall::Block,
            terminal_size: if wish.terminal { terminal::size() } else { None },
            own: true,
        };
        hasten();
        let started = engine.start(name, options)?;
        stay_with(engine, foreground, started, WhenUnread::Stop)
    }
}
