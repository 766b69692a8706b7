//! `loam pull`.

use clap::Args;
use loam_model::{PullOptions, PullProgress};

use super::Outcome;
use crate::exit::Exit;
use crate::flags::RegistryFlags;
use crate::wiring::Wiring;
use crate::{image_source, output, progress};

/// The flags of `pull`.
#[derive(Args, Debug)]
pub(crate) struct Pull {
    /// Show no progress
    #[arg(short, long)]
    quiet: bool,
    /// The image's platform, when it has several
    #[arg(long, value_name = "OS/ARCH[/VARIANT]")]
    platform: Option<String>,
    #[command(flatten)]
    registry: RegistryFlags,
    /// NAME[:TAG][@DIGEST], oci:DIR[:TAG], oci-archive:FILE[:TAG] or docker-archive:FILE[:NAME]
    image: String,
}

impl Pull {
    pub(super) fn run(self, wiring: &Wiring) -> Outcome {
        let options = PullOptions {
            insecure: self.registry.is_insecure(),
            platform: self.platform,
            credentials_file: self.registry.authfile,
            ..PullOptions::default()
        };
        let progress: Box<dyn PullProgress> =
            if self.quiet { Box::new(progress::Quiet) } else { progress::shown() };
        let image = image_source::fetch(wiring, &self.image, &options, progress.as_ref())?;
        // Ends the bars' last line, before the id has one.
        drop(progress);
        output::print_line(&image.id.to_string())?;
        Ok(Exit::SUCCESS)
    }
}
