//! `loam version`.

use clap::Args;
use serde::Serialize;

use super::{FormatFlag, Outcome};
use crate::exit::Exit;
use crate::output;
use crate::wiring::Wiring;

/// The flags of `version`.
#[derive(Args, Debug)]
pub(crate) struct Version {
    #[command(flatten)]
    format: FormatFlag,
}

/// The versions of this program and of the standards that it speaks.
#[derive(Debug, Serialize)]
struct Versions {
    loam: &'static str,
    oci_runtime: &'static str,
    oci_image: &'static str,
    cni: &'static str,
}

const VERSIONS: Versions =
    Versions { loam: env!("CARGO_PKG_VERSION"), oci_runtime: "1.2.0", oci_image: "1.1.0", cni: "1.1.0" };

impl Version {
    pub(super) fn run(self, _: &Wiring) -> Outcome {
        match self.format.is_json() {
            true => output::print_json(&VERSIONS)?,
            false => output::print_line(&format!("loam {}", VERSIONS.loam))?,
        }
        Ok(Exit::SUCCESS)
    }
}
