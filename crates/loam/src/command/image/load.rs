//! `loam image load`.

use std::fs::File;
use std::io::{self, IsTerminal};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

use clap::Args;
use loam_model::{ErrorKind, Failure, PullOptions, PullProgress, escaped};

use super::super::Outcome;
use crate::exit::Exit;
use crate::wiring::Wiring;
use crate::{output, progress};

/// The flags of `image load`.
#[derive(Args, Debug)]
pub(crate) struct Load {
    /// Read this file; standard input when absent
    #[arg(short, long, value_name = "FILE")]
    input: Option<PathBuf>,
    /// Show no progress
    #[arg(short, long)]
    quiet: bool,
}

impl Load {
    pub(super) fn run(self, wiring: &Wiring) -> Outcome {
        if let Some(file) = &self.input {
            return self.load(wiring, file);
        }
        // Kept until everything is read.
        let spooled = spool()?;
        self.load(wiring, &spooled.path).map_err(|failure| spooled.told(&failure))
    }

    fn load(&self, wiring: &Wiring, file: &Path) -> Outcome {
        let store = wiring.images()?;
        for archived in wiring.archives()?.contents(file)? {
            let progress: Box<dyn PullProgress> =
                if self.quiet { Box::new(progress::Quiet) } else { progress::shown() };
            let name = archived.names.first().cloned();
            let options = PullOptions { nameless: name.is_none(), name, ..PullOptions::default() };
            let image = store.pull(&archived.source, &options, progress.as_ref())?;
            drop(progress);
            for name in archived.names.iter().skip(1) {
                store.tag(&image.id, name)?;
            }
            match archived.names.is_empty() {
                true => output::print_line(&format!("loaded {}", image.id))?,
                false => {
                    let names = archived.names.iter().map(|name| escaped(name).into_owned());
                    output::print_line(&format!("loaded {}", names.collect::<Vec<_>>().join(", ")))?;
                }
            }
        }
        Ok(Exit::SUCCESS)
    }
}

/// A file that has no name and goes with this process, whatever ends it.
struct Spooled {
    _open: File,
    path: PathBuf,
}

impl Spooled {
    /// A failure in words of the person, who knows no such file.
    fn told(&self, failure: &Failure) -> Failure {
        let shown = self.path.display().to_string();
        let told = Failure::new(failure.kind(), failure.chain().replace(&shown, "standard input"));
        match failure.hint_text() {
            Some(hint) => told.hint(hint),
            None => told,
        }
    }
}

/// Copies standard input into a temporary file: archives are read by position.
fn spool() -> Result<Spooled, Failure> {
    if io::stdin().is_terminal() {
        return Err(Failure::new(ErrorKind::Invalid, "an archive is not read from a terminal")
            .hint("name a file with --input, or send it in with `<`"));
    }
    let unwritten = |error: io::Error| {
        let what = format!("the archive can't be kept in `{}`", std::env::temp_dir().display());
        Failure::new(ErrorKind::of_io(&error), what).caused_by(error)
    };
    let mut file = tempfile::tempfile().map_err(unwritten)?;
    io::copy(&mut io::stdin().lock(), &mut file).map_err(unwritten)?;
    let path = PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()));
    Ok(Spooled { _open: file, path })
}
