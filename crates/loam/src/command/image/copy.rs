//! `loam image copy`.

use std::path::PathBuf;

use clap::{ArgAction, Args};
use loam_image::parse_source;
use loam_model::{CopyRequest, ErrorKind, Failure, ImageSource, PullProgress, RegistryOptions};

use super::super::Outcome;
use crate::exit::Exit;
use crate::flags::RegistryFlags;
use crate::naming::naming;
use crate::transport::{self, Takes};
use crate::wiring::Wiring;
use crate::{output, progress};

/// The flags of `image copy`.
#[derive(Args, Debug)]
pub(crate) struct Copy {
    /// Copy an index with all its images, rather than the image for one platform
    #[arg(short, long)]
    all: bool,
    /// The image's platform, when it has several
    #[arg(long, value_name = "OS/ARCH[/VARIANT]", conflicts_with = "all")]
    platform: Option<String>,
    /// Show no progress
    #[arg(short, long)]
    quiet: bool,
    #[command(flatten)]
    registry: RegistryFlags,
    /// Check the source registry's certificate
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true",
        action = ArgAction::Set)]
    src_tls_verify: Option<bool>,
    /// Check the destination registry's certificate
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true",
        action = ArgAction::Set)]
    dest_tls_verify: Option<bool>,
    /// Read the source registry's credentials from this file
    #[arg(long, value_name = "FILE")]
    src_authfile: Option<PathBuf>,
    /// Read the destination registry's credentials from this file
    #[arg(long, value_name = "FILE")]
    dest_authfile: Option<PathBuf>,
    /// NAME[:TAG][@DIGEST] or docker://NAME, oci:DIR[:TAG], oci-archive:FILE[:TAG] or docker-archive:FILE[:NAME]
    source: String,
    /// The same, without a digest
    destination: String,
}

impl Copy {
    pub(super) fn run(self, wiring: &Wiring) -> Outcome {
        transport::check(&self.source, Takes::Sources)?;
        transport::check(&self.destination, Takes::Sources)?;
        let (source, destination) = (parse_source(&self.source)?, parse_source(&self.destination)?);
        let request = CopyRequest {
            source: &source,
            destination: &destination,
            all: self.all,
            platform: self.platform.as_deref(),
            source_options: self.options(self.src_tls_verify, self.src_authfile.as_ref()),
            destination_options: self.options(self.dest_tls_verify, self.dest_authfile.as_ref()),
        };
        let progress: Box<dyn PullProgress> =
            if self.quiet { Box::new(progress::Quiet) } else { progress::shown() };
        let copied = wiring.copies()?.copy(&request, progress.as_ref());
        // Ends the bars' last line, before the digest or a failure has one.
        drop(progress);
        let copied = copied.map_err(|failure| self.explain(&source, failure))?;
        output::print_line(&copied.digest.to_string())?;
        Ok(Exit::SUCCESS)
    }

    /// A failure with both ends. Who names no registry may have meant an image of this machine.
    fn explain(&self, source: &ImageSource, failure: Failure) -> Failure {
        let is_short = matches!(source, ImageSource::Registry(_)) && !self.source.contains('/');
        let host = self.destination.split('/').next().unwrap_or_default();
        let is_missing = matches!(failure.kind(), ErrorKind::NotFound | ErrorKind::Unavailable)
            && !failure.chain().contains(host);
        let ends = [self.source.as_str(), &self.destination];
        let failure = naming(ends, |[from, to]| format!("`{from}` can't be copied to `{to}`"))(failure);
        if is_short && is_missing {
            return failure.hint("an image of this machine goes out by `loam push` or `loam image save`");
        }
        failure
    }

    /// How one end's registry is spoken to: what is said of it alone goes before what is said of both.
    fn options(&self, verify: Option<bool>, authfile: Option<&PathBuf>) -> RegistryOptions {
        let both = self.registry.options();
        RegistryOptions {
            insecure: verify.map_or(both.insecure, |verify| !verify),
            credentials_file: authfile.cloned().or(both.credentials_file),
        }
    }
}
