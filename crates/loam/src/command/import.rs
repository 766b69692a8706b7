//! `loam import`.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use clap::Args;
use loam_model::{ErrorKind, Failure, Image, ImageConfig};

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
    /// A directory with the root file system, or a tar of it, plain, gzip or zstd; - for a tar on standard input
    source: PathBuf,
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
        let image = self.take_in(wiring, &config)?;
        output::print_line(&image.id.to_string())?;
        Ok(Exit::SUCCESS)
    }

    fn take_in(&self, wiring: &Wiring, config: &ImageConfig) -> Result<Image, Failure> {
        if self.source.as_os_str() == "-" {
            return wiring.images()?.import(&mut io::stdin(), &self.name, config);
        }
        if self.source.is_dir() {
            return wiring.trees()?.import_directory(&self.source, &self.name, config);
        }
        let mut tar = File::open(&self.source).map_err(|error| unreadable(&self.source, error))?;
        let imported = wiring.images()?.import(&mut tar, &self.name, config);
        imported.map_err(|failure| failure.within(format!("`{}` can't be imported", self.source.display())))
    }
}

fn unreadable(path: &Path, error: io::Error) -> Failure {
    let kind = match error.kind() {
        io::ErrorKind::NotFound => ErrorKind::NotFound,
        _ => ErrorKind::Invalid,
    };
    Failure::new(kind, format!("`{}` can't be read", path.display())).caused_by(error)
}
