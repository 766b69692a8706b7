//! `loam tag`.

use clap::Args;

use super::Outcome;
use crate::exit::Exit;
use crate::wiring::Wiring;

/// The arguments of `tag`.
#[derive(Args, Debug)]
pub(crate) struct Tag {
    /// A name or id of the image
    image: String,
    /// The further name
    name: String,
}

impl Tag {
    pub(super) fn run(self, wiring: &Wiring) -> Outcome {
        let store = wiring.images()?;
        store.tag(&store.resolve(&self.image)?.id, &self.name)?;
        Ok(Exit::SUCCESS)
    }
}
