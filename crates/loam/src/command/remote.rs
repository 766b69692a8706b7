//! `loam image tags` and `loam image delete`: what is in registries.

use clap::Args;

use super::{FormatFlag, Outcome};
use crate::exit::Exit;
use crate::flags::RegistryFlags;
use crate::naming::naming;
use crate::output;
use crate::transport::{self, Takes};
use crate::wiring::Wiring;

/// The flags of `image tags`.
#[derive(Args, Debug)]
pub(crate) struct Tags {
    #[command(flatten)]
    registry: RegistryFlags,
    #[command(flatten)]
    format: FormatFlag,
    /// The repository, HOST[:PORT]/PATH
    repository: String,
}

/// The flags of `image delete`.
#[derive(Args, Debug)]
pub(crate) struct Delete {
    #[command(flatten)]
    registry: RegistryFlags,
    /// The image in its registry, HOST[:PORT]/PATH:TAG or HOST[:PORT]/PATH@DIGEST
    image: String,
}

impl Tags {
    pub(super) fn run(self, wiring: &Wiring) -> Outcome {
        transport::check(&self.repository, Takes::Registry)?;
        let tags = wiring.registries().tags(&self.repository, &self.registry.options());
        let tags = tags.map_err(naming([&self.repository], |[repository]| {
            format!("the tags of `{repository}` can't be listed")
        }))?;
        if self.format.is_json() {
            output::print_json(&tags)?;
        } else {
            output::print(&tags.iter().map(|tag| format!("{tag}\n")).collect::<String>())?;
        }
        Ok(Exit::SUCCESS)
    }
}

impl Delete {
    pub(super) fn run(self, wiring: &Wiring) -> Outcome {
        transport::check(&self.image, Takes::Registry)?;
        let removed = wiring.registries().remove(&self.image, &self.registry.options());
        let digest =
            removed.map_err(naming([&self.image], |[image]| format!("`{image}` can't be deleted")))?;
        output::print_line(&format!("deleted {digest}"))?;
        Ok(Exit::SUCCESS)
    }
}
