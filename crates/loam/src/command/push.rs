//! `loam push`.

use clap::Args;
use loam_model::PullProgress;

use super::Outcome;
use crate::exit::Exit;
use crate::flags::RegistryFlags;
use crate::naming::naming;
use crate::transport::{self, Takes};
use crate::wiring::Wiring;
use crate::{output, progress};

/// The flags of `push`.
#[derive(Args, Debug)]
pub(crate) struct Push {
    /// Show no progress
    #[arg(short, long)]
    quiet: bool,
    #[command(flatten)]
    registry: RegistryFlags,
    /// A name or id of the image
    image: String,
    /// Where to, as HOST[:PORT]/PATH[:TAG]; where the image's name says, when absent
    destination: Option<String>,
}

impl Push {
    pub(super) fn run(self, wiring: &Wiring) -> Outcome {
        let options = self.registry.options();
        let progress: Box<dyn PullProgress> =
            if self.quiet { Box::new(progress::Quiet) } else { progress::shown() };
        let destination = self.destination.as_deref();
        destination.map_or(Ok(()), |destination| transport::check(destination, Takes::Destinations))?;
        let pushed = wiring.images()?.push(&self.image, destination, &options, progress.as_ref());
        // Ends the bars' last line, before the digest or a failure has one.
        drop(progress);
        let pushed = match destination {
            None => pushed.map_err(naming([&self.image], |[image]| format!("`{image}` can't be pushed"))),
            Some(place) => pushed.map_err(naming([&self.image, place], |[image, place]| {
                format!("`{image}` can't be pushed to `{place}`")
            })),
        }?;
        output::print_line(&pushed.digest.to_string())?;
        Ok(Exit::SUCCESS)
    }
}
