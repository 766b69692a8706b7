//! `loam image save`.

use std::io::{self, BufWriter, IntoInnerError, IsTerminal, Write};
use std::path::{Path, PathBuf};

use clap::Args;
use loam_image::OutputFile;
use loam_model::{ErrorKind, Failure, Image, ImageArchives};

use super::super::Outcome;
use crate::exit::Exit;
use crate::wiring::Wiring;

/// Bytes that are written at once.
const BUFFER: usize = 1 << 20;

/// The flags of `image save`.
#[derive(Args, Debug)]
pub(crate) struct Save {
    /// Write to this file, which gets its name when it is whole; to a pipe or device as it is; to standard output when absent
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Names or ids
    #[arg(required = true, value_name = "IMAGE")]
    images: Vec<String>,
}

impl Save {
    pub(super) fn run(self, wiring: &Wiring) -> Outcome {
        let store = wiring.images()?;
        let images: Vec<Image> =
            self.images.iter().map(|name| store.resolve(name)).collect::<Result<_, _>>()?;
        let archives = wiring.archives()?;
        match &self.output {
            Some(path) => into_file(archives, &images, path)?,
            None if io::stdout().is_terminal() => {
                return Err(Failure::new(ErrorKind::Invalid, "an archive is not written to a terminal")
                    .hint("name a file with --output, or send it on with `>`"));
            }
            None => {
                let mut stdout = BufWriter::with_capacity(BUFFER, io::stdout().lock());
                archives.save(&images, &mut stdout)?;
                stdout.flush().map_err(|error| unwritten("standard output", error))?;
            }
        }
        Ok(Exit::SUCCESS)
    }
}

fn into_file(archives: &dyn ImageArchives, images: &[Image], path: &Path) -> Result<(), Failure> {
    let mut writer = BufWriter::with_capacity(BUFFER, OutputFile::begin(path)?);
    archives.save(images, &mut writer)?;
    let file = writer.into_inner().map_err(IntoInnerError::into_error);
    file.map_err(|error| unwritten(&format!("`{}`", path.display()), error))?.finish()
}

fn unwritten(what: &str, error: io::Error) -> Failure {
    Failure::new(ErrorKind::of_io(&error), format!("{what} can't be written")).caused_by(error)
}
