//! `loam settle`: what a shim runs when its container has ended and nobody waits for it.

use clap::Args;
use loam_model::{ContainerId, ErrorKind, Failure};

use super::Outcome;
use crate::exit::Exit;
use crate::wiring::Wiring;

/// The arguments of `settle`.
#[derive(Args, Debug)]
pub(crate) struct Settle {
    /// The container's id; without it, all containers, and whatever belongs to none
    container: Option<String>,
}

impl Settle {
    pub(super) fn run(self, wiring: &Wiring) -> Outcome {
        let engine = wiring.engine()?;
        match self.container {
            None => engine.settle_all()?,
            Some(text) => {
                let id: ContainerId = text.parse().map_err(|error: loam_model::InvalidName| {
                    Failure::new(ErrorKind::Invalid, error.to_string())
                })?;
                engine.settle(&id)?;
            }
        }
        Ok(Exit::SUCCESS)
    }
}
