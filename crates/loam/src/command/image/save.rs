//! `loam image save`.

use std::fs::{self, File};
use std::io::{self, BufWriter, IsTerminal, Write};
use std::path::{Path, PathBuf};

use clap::Args;
use loam_model::{ErrorKind, Failure, Image, ImageArchives};

use super::super::Outcome;
use crate::exit::Exit;
use crate::wiring::Wiring;

/// Bytes that are written at once.
const BUFFER: usize = 1 << 20;

/// The flags of `image save`.
#[derive(Args, Debug)]
pub(crate) struct Save {
    /// Write to this file, which gets its name when it is whole; standard output when absent
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

/// Writes beside the file, and moves it there when it is whole.
fn into_file(archives: &dyn ImageArchives, images: &[Image], path: &Path) -> Result<(), Failure> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".unfinished.{}", std::process::id()));
    let unfinished = path.with_file_name(name);
    let failed = |error: io::Error| unwritten(&format!("`{}`", path.display()), error);
    let written = File::create_new(&unfinished).map_err(failed).and_then(|file| {
        let mut file = BufWriter::with_capacity(BUFFER, file);
        archives.save(images, &mut file)?;
        file.flush().map_err(failed)?;
        fs::rename(&unfinished, path).map_err(failed)
    });
    if written.is_err() {
        // There is nothing more to be done about it.
        fs::remove_file(&unfinished).ok();
    }
    written
}

fn unwritten(what: &str, error: io::Error) -> Failure {
    Failure::new(ErrorKind::of_io(&error), format!("{what} can't be written")).caused_by(error)
}
