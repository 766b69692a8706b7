//! Files that whoever calls names for an archive.

use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use loam_model::{ErrorKind, Failure, Result};
use tempfile::NamedTempFile;

use crate::error::failed;

/// How the name of one begins that is not whole.
const PREFIX: &str = ".unfinished.";
/// The mode of one that was not there, less what the caller's umask takes away.
const MODE: u32 = 0o666;

/// A file that has its name when it is whole, and is gone otherwise. What is there and is no file, such as a pipe, a device or a
/// terminal, is written to; a link is followed.
#[derive(Debug)]
pub struct OutputFile {
    shown: String,
    way: Way,
}

#[derive(Debug)]
enum Way {
    /// A file beside the place that it gets.
    Beside(NamedTempFile, PathBuf),
    Through(File),
}

impl OutputFile {
    /// Begins one.
    ///
    /// # Errors
    /// The path names a directory, or nothing can be made or opened there.
    pub fn begin(path: &Path) -> Result<Self> {
        let shown = path.display().to_string();
        let unmade = |error: io::Error| unwritten(&shown, error);
        let target = loam_sys::follow_link(path).map_err(unmade)?;
        let way = match target.symlink_metadata() {
            Ok(found) if found.is_dir() => {
                return Err(Failure::new(ErrorKind::Invalid, format!("`{shown}` is a directory")));
            }
            Ok(found) if !found.is_file() => {
                let opened = OpenOptions::new().write(true).open(&target);
                opened.map(Way::Through)
            }
            found => {
                let kept = found.ok().map(|found| found.mode() & 0o777);
                beside(&target, kept).map(|file| Way::Beside(file, target))
            }
        };
        Ok(Self { way: way.map_err(unmade)?, shown })
    }

    /// Where files without a name can be made that go into it: beside it, or where temporary files are.
    pub(crate) fn directory(&self) -> PathBuf {
        match &self.way {
            Way::Beside(_, target) => target.parent().unwrap_or(Path::new("/")).to_owned(),
            Way::Through(_) => std::env::temp_dir(),
        }
    }

    /// Gives it its name.
    ///
    /// # Errors
    /// The place was taken by a directory meanwhile, or is gone.
    pub fn finish(self) -> Result<()> {
        match self.way {
            Way::Beside(file, target) => match file.persist(target) {
                Ok(_) => Ok(()),
                Err(error) => Err(unwritten(&self.shown, error.error)),
            },
            Way::Through(_) => Ok(()),
        }
    }
}

impl Write for OutputFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.way {
            Way::Beside(file, _) => file.write(bytes),
            Way::Through(file) => file.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A file beside the place that it gets, with the mode of the one that is there.
fn beside(target: &Path, kept: Option<u32>) -> io::Result<NamedTempFile> {
    let directory = target.parent().unwrap_or(Path::new("/"));
    let usual = Permissions::from_mode(MODE);
    let file = tempfile::Builder::new().prefix(PREFIX).permissions(usual).tempfile_in(directory)?;
    if let Some(mode) = kept {
        file.as_file().set_permissions(Permissions::from_mode(mode))?;
    }
    Ok(file)
}

fn unwritten(shown: &str, error: io::Error) -> Failure {
    failed(format!("the archive `{shown}` can't be written"), error)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{FileTypeExt, symlink};

    use rustix::fs::{CWD, FileType, Mode};

    use super::*;

    fn write(path: &Path) -> Result<()> {
        let mut file = OutputFile::begin(path)?;
        file.write_all(b"new").expect("written");
        file.finish()
    }

    #[test]
    fn a_file_is_whole_or_as_it_was_and_keeps_its_mode() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("archive");
        write(&path).expect("a new one");
        let usual = directory.path().join("usual");
        fs::write(&usual, "").expect("written");
        let mode = |path: &Path| path.metadata().expect("there").mode() & 0o777;
        assert_eq!(mode(&path), mode(&usual), "the umask counts");
        fs::remove_file(&usual).expect("removed");
        fs::set_permissions(&path, Permissions::from_mode(0o600)).expect("changed");
        fs::write(&path, "old").expect("written");
        let mut given_up = OutputFile::begin(&path).expect("begun");
        given_up.write_all(b"half").expect("written");
        drop(given_up);
        assert_eq!(fs::read_to_string(&path).expect("read"), "old");
        write(&path).expect("replaced");
        assert_eq!(fs::read_to_string(&path).expect("read"), "new");
        assert_eq!(path.metadata().expect("there").mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(&directory).expect("read").count(), 1, "nothing is left beside it");
    }

    #[test]
    fn a_link_stays_one_and_a_directory_is_refused() {
        let directory = tempfile::tempdir().expect("a directory");
        let at = |name: &str| directory.path().join(name);
        fs::write(at("real"), "old").expect("written");
        symlink("real", at("link")).expect("linked");
        write(&at("link")).expect("written");
        assert!(at("link").is_symlink());
        assert_eq!(fs::read_to_string(at("real")).expect("read"), "new");
        let refused = write(directory.path()).expect_err("a directory");
        assert!(refused.chain().ends_with("is a directory"), "{}", refused.chain());
    }

    #[test]
    fn a_pipe_is_written_to_and_stays_one() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("pipe");
        rustix::fs::mknodat(CWD, &path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).expect("made");
        let reader = std::thread::spawn({
            let path = path.clone();
            move || fs::read_to_string(path).expect("read")
        });
        write(&path).expect("written");
        assert_eq!(reader.join().expect("it ends"), "new");
        assert!(path.symlink_metadata().expect("there").file_type().is_fifo());
    }
}
