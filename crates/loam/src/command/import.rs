//! `loam import`.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use clap::Args;
use loam_model::{ErrorKind, Failure, ImageConfig};

use super::Outcome;
use crate::exit::Exit;
use crate::flags::apply_change;
use crate::output;
use crate::wiring::Wiring;

/// The flags of `import`.
#[derive(Args, Debug)]
pub(crate) struct Import {
    /// Set a part of the image's configuration, in the words of a Dockerfile: CMD, ENTRYPOINT, ENV, …
    #[arg(short, long = "change", value_name = "INSTRUCTION")]
    changes: Vec<String>,
    /// The tar, plain, gzip or zstd; - for standard input
    tar: PathBuf,
    /// The image's name
    name: String,
}

impl Import {
    pub(super) fn run(self, wiring: &Wiring) -> Outcome {
        let mut config = ImageConfig::default();
        for change in &self.changes {
            apply_change(&mut config, change)
                .map_err(|sentence| Failure::new(ErrorKind::Invalid, sentence))?;
        }
        let mut tar: Box<dyn Read + Send> = match self.tar.as_os_str() == "-" {
            true => Box::new(io::stdin()),
            false => Box::new(File::open(&self.tar).map_err(|error| unreadable(&self.tar, error))?),
        };
        let image = wiring.images()?.import(tar.as_mut(), &self.name, &config)?;
        output::print_line(&image.id.to_string())?;
        Ok(Exit::SUCCESS)
    }
}

fn unreadable(path: &Path, error: io::Error) -> Failure {
    let kind = match error.kind() {
        io::ErrorKind::NotFound => ErrorKind::NotFound,
        _ => ErrorKind::Invalid,
    };
    Failure::new(kind, format!("`{}` can't be read", path.display())).caused_by(error)
}
