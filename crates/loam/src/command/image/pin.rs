//! `loam image pin` and `unpin`.

use clap::Args;

use super::super::{Outcome, each};
use crate::wiring::Wiring;

/// The arguments of `image pin` and `image unpin`.
#[derive(Args, Debug)]
pub(crate) struct Pin {
    /// Names or ids
    #[arg(required = true, value_name = "IMAGE")]
    images: Vec<String>,
}

impl Pin {
    /// Protects the images from pruning, or no longer.
    pub(super) fn run(self, wiring: &Wiring, pinned: bool) -> Outcome {
        let (store, upkeep) = (wiring.images()?, wiring.upkeep()?);
        each(&self.images, |name| upkeep.pin(&store.resolve(name)?.id, pinned))
    }
}
