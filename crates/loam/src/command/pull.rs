//! `loam pull`.

use std::path::PathBuf;

use clap::{ArgAction, Args};
use loam_model::{PullOptions, PullProgress};

use super::Outcome;
use crate::exit::Exit;
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
    /// Speak HTTP, or HTTPS with any certificate, to the image's registry
    #[arg(long)]
    insecure: bool,
    /// Check the registry's certificate; false is the same as --insecure
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true",
        default_value_t = true, action = ArgAction::Set)]
    tls_verify: bool,
    /// Read credentials from this file in place of the usual ones
    #[arg(long, env = "REGISTRY_AUTH_FILE", hide_env = true, value_name = "FILE")]
    authfile: Option<PathBuf>,
    /// NAME[:TAG][@DIGEST], oci:DIR[:TAG], oci-archive:FILE[:TAG] or docker-archive:FILE[:NAME]
    image: String,
}

impl Pull {
    pub(super) fn run(self, wiring: &Wiring) -> Outcome {
        let options = PullOptions {
            insecure: self.insecure || !self.tls_verify,
            platform: self.platform,
            credentials_file: self.authfile,
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
