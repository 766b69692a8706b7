//! `loam run`.

use clap::Args;
use loam_engine::{Engine, StartOptions, Started};
use loam_model::{ContainerSpec, ErrorKind, Failure, Image};

use super::Outcome;
use super::stay::{Connection, check_terminal, main_process, start_and_stay, start_options};
use crate::exit::Exit;
use crate::flags::{ContainerFlags, ForegroundFlags};
use crate::id_file::IdFile;
use crate::wiring::{Wiring, hasten};
use crate::{image_source, output, render};

/// The flags of `run`.
#[derive(Args, Debug)]
pub(crate) struct Run {
    /// Let the container run in the background and print its id
    #[arg(short, long)]
    detach: bool,
    #[command(flatten)]
    foreground: ForegroundFlags,
    #[command(flatten)]
    container: ContainerFlags,
}

impl Run {
    pub(super) fn run(self, wiring: &Wiring) -> Outcome {
        let flags = &self.container;
        let connection = Connection { stdin: flags.interactive, terminal: flags.tty };
        if !self.detach {
            // Before an image is fetched for nothing.
            check_terminal(connection)?;
        }
        let mut spec = flags.spec()?;
        let engine = wiring.engine()?;
        let image = image_source::obtain(wiring, flags)?;
        flags.complete(&mut spec, &image.config)?;
        image_source::name_in_spec(&mut spec, &image);
        let id_file = flags.cidfile.as_deref().map(IdFile::reserve).transpose()?;
        let start = |options| -> Result<Started, Failure> {
            let started = start(engine, &spec, &image, options)?;
            if let Some(file) = id_file {
                file.write(started.id().as_str())?;
            }
            Ok(started)
        };
        if self.detach {
            hasten();
            output::print_line(start(StartOptions::default())?.id().as_str())?;
            return Ok(Exit::SUCCESS);
        }
        start_and_stay(engine, &self.foreground, connection, |streams, size| {
            Ok(main_process(start(start_options(streams, size))?))
        })
    }
}

/// Makes a container and starts it; when it can't be started, nothing of it is left, so that the same command works
/// when the cause is gone.
fn start(
    engine: &Engine,
    spec: &ContainerSpec,
    image: &Image,
    options: StartOptions,
) -> Result<Started, Failure> {
    let started = if spec.auto_remove {
        engine.run(spec, image, options)?
    } else {
        let created = engine.create_from(spec, image)?;
        let id = created.id.as_str();
        match engine.start(id, options) {
            Ok(started) => started,
            Err(failure) => return Err(undo(engine, id, failure)),
        }
    };
    for sentence in started.warnings() {
        render::warning(sentence);
    }
    Ok(started)
}

/// Removes a container that could not be started; gives what is to be reported.
fn undo(engine: &Engine, id: &str, failure: Failure) -> Failure {
    match engine.remove(id, true) {
        Err(undo) if undo.kind() != ErrorKind::NotFound => {
            render::warning(&undo.chain());
            failure
        }
        _ => failure,
    }
}
