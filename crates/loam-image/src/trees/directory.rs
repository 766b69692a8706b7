//! Taking in a directory that holds a root file system: it is packed into a tar, which is imported while it comes.

use std::io::{self, BufWriter, PipeReader, Read, Write};
use std::path::Path;
use std::sync::mpsc::{Receiver, channel};

use loam_model::{Image, ImageConfig, Result};
use rustix::fs::{Mode, OFlags};

use crate::LayerStore;
use crate::error::failed;
use crate::pack::pack_directory;
use crate::threads;

/// How much is written to the pipe at once.
const PIECE: usize = 64 << 10;

impl LayerStore {
    pub(super) fn import_files(&self, directory: &Path, name: &str, config: &ImageConfig) -> Result<Image> {
        let what = || format!("the directory `{}` can't be read", directory.display());
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root =
            rustix::fs::open(directory, flags, Mode::empty()).map_err(|errno| failed(what(), errno))?;
        let (reader, writer) = io::pipe().map_err(|error| failed("no pipe can be made", error))?;
        let (send, outcome) = channel();
        std::thread::scope(|scope| {
            threads::start(scope, move || {
                let packed = pack_directory(&root, BufWriter::with_capacity(PIECE, writer));
                let packed = packed.and_then(|mut writer| {
                    writer.flush().map_err(|error| failed("the directory can't be packed", error))
                });
                // The end of the pipe came before: whoever has read that far waits for this.
                send.send(packed).ok();
            })?;
            self.import_tar(&mut Packed { pipe: reader, outcome }, name, config)
        })
    }
}

/// The tar on its way. One that could not be packed to its end is no shorter tar, but a failure.
struct Packed {
    pipe: PipeReader,
    outcome: Receiver<Result<()>>,
}

impl Read for Packed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.pipe.read(buffer)?;
        if count > 0 || buffer.is_empty() {
            return Ok(count);
        }
        match self.outcome.recv() {
            Ok(Err(failure)) => Err(io::Error::other(failure)),
            // After a good verdict there is none any more.
            Ok(Ok(())) | Err(_) => Ok(0),
        }
    }
}
