//! `loam run`.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::Path;

use clap::{ArgAction, Args};
use loam_engine::{Engine, StartOptions, Started};
use loam_model::{ContainerSpec, ErrorKind, Failure, Image, OnStall, ProcessTarget};

use super::Outcome;
use crate::exit::Exit;
use crate::flags::{ContainerFlags, DetachKeys};
use crate::foreground::{self, Foreground, Subject, WhenUnread};
use crate::image_source;
use crate::wiring::{Wiring, hasten};
use crate::{output, render, terminal};

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

/// The flags of everything that stays with a process.
#[derive(Args, Clone, Debug)]
pub(crate) struct ForegroundFlags {
    /// The keys that let a container with a terminal go on alone
    #[arg(long, value_name = "KEYS", default_value = "ctrl-p,ctrl-q")]
    pub(crate) detach_keys: DetachKeys,
    /// Send signals that come here to the process
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true",
        default_value_t = true, action = ArgAction::Set)]
    pub(crate) sig_proxy: bool,
}

impl Run {
    pub(super) fn run(self, wiring: &Wiring) -> Outcome {
        let flags = &self.container;
        if !self.detach {
            check_terminal(flags.interactive, flags.tty)?;
        }
        let mut wish = flags.wish()?;
        let engine = wiring.engine()?;
        let image = image_source::obtain(wiring, flags)?;
        flags.complete(&mut wish, &image.config)?;
        image_source::name_in_wish(&mut wish, &image);
        let id_file = flags.cidfile.as_deref().map(IdFile::reserve).transpose()?;
        if self.detach {
            let started = start(engine, &wish, &image, StartOptions::default())?;
            if let Some(file) = id_file {
                file.write(started.id().as_str())?;
            }
            output::print_line(started.id().as_str())?;
            return Ok(Exit::SUCCESS);
        }
        self.stay(engine, &wish, &image, id_file)
    }

    /// Runs it in the foreground.
    fn stay(
        &self,
        engine: &Engine,
        wish: &ContainerSpec,
        image: &Image,
        id_file: Option<IdFile<'_>>,
    ) -> Outcome {
        let (foreground, streams) = Foreground::open(foreground::Wish {
            stdin: wish.open_stdin,
            terminal: wish.terminal,
            keys: self.foreground.detach_keys.clone(),
            proxy: self.foreground.sig_proxy,
        })?;
        let options = StartOptions {
            streams: Some(streams),
            on_stall: OnStall::Block,
            terminal_size: if wish.terminal { terminal::size() } else { None },
            own: true,
        };
        let started = start(engine, wish, image, options)?;
        if let Some(file) = id_file {
            file.write(started.id().as_str())?;
        }
        stay_with(engine, foreground, started, WhenUnread::Stop)
    }
}

/// Stays with a container that was started with the foreground's streams, until it ends or is left alone.
pub(super) fn stay_with(
    engine: &Engine,
    foreground: Foreground,
    started: Started,
    when_unread: WhenUnread,
) -> Outcome {
    let subject =
        Subject { engine, container: started.id().to_string(), target: ProcessTarget::Main, when_unread };
    match foreground.attend(&subject, move || started.wait())? {
        foreground::Outcome::Ended(record) => Ok(Exit::of_process(record?.status)),
        foreground::Outcome::Left(exit) => Ok(exit),
    }
}

/// Makes a container and starts it; when it can't be started, nothing of it is left, so that the same command works
/// when the cause is gone.
fn start(
    engine: &Engine,
    wish: &ContainerSpec,
    image: &Image,
    options: StartOptions,
) -> Result<Started, Failure> {
    hasten();
    let started = if wish.auto_remove {
        engine.run(wish, image, options)?
    } else {
        let created = engine.create_from(wish, image)?;
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

/// Refuses what Docker refuses too: a terminal in the container whose input is no terminal here.
pub(super) fn check_terminal(interactive: bool, tty: bool) -> Result<(), Failure> {
    if interactive && tty && !terminal::is_interactive() {
        return Err(Failure::new(ErrorKind::Invalid, "standard input is not a terminal")
            .hint("leave out `--tty`, or run it from a terminal"));
    }
    Ok(())
}

/// The file that gets the container's id. Made before the container, so that no container is made for nothing, and
/// taken away again unless it was written.
#[derive(Debug)]
pub(super) struct IdFile<'a> {
    path: &'a Path,
    file: File,
    written: bool,
}

impl<'a> IdFile<'a> {
    /// Makes the file, which must not exist.
    pub(super) fn reserve(path: &'a Path) -> Result<Self, Failure> {
        match OpenOptions::new().write(true).create_new(true).open(path) {
            Ok(file) => Ok(Self { path, file, written: false }),
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
                let message = format!("the id file `{}` exists already", path.display());
                Err(Failure::new(ErrorKind::AlreadyExists, message).hint("remove it, or choose another"))
            }
            Err(error) => Err(unwritable(path, error)),
        }
    }

    /// Writes the id.
    pub(super) fn write(mut self, id: &str) -> Result<(), Failure> {
        self.file.write_all(id.as_bytes()).map_err(|error| unwritable(self.path, error))?;
        self.written = true;
        Ok(())
    }
}

impl Drop for IdFile<'_> {
    fn drop(&mut self) {
        if !self.written {
            // It was made a moment ago; if it is gone already, that is as well.
            drop(fs::remove_file(self.path));
        }
    }
}

fn unwritable(path: &Path, error: std::io::Error) -> Failure {
    Failure::new(ErrorKind::Invalid, format!("the id file `{}` can't be written", path.display()))
        .caused_by(error)
}
