//! The disk below the store, and what makes what was written survive a power cut (syncfs(2)).
//!
//! The kernel writes in the background as well, and a failure there is told to a later sync: once to each open file that was
//! there when it happened. So everybody who is about to write opens one of their own first, and syncs through it: a failure
//! that another pull of this process has heard of is news to this one all the same.

use std::os::fd::OwnedFd;

use loam_model::Result;

use crate::error::failed;
use crate::staging::{Places, open_directory};

/// The file system that the store's root is on, as one writer sees it.
#[derive(Debug)]
pub(crate) struct Disk {
    root: OwnedFd,
    /// The failure, should it come to that.
    unsynced: String,
}

impl Disk {
    /// From now on failures of writing in the background are heard of.
    pub(crate) fn watch(places: &Places) -> Result<Self> {
        let unsynced = format!("`{}` can't be synced to the disk", places.root.display());
        match open_directory(&places.root) {
            Ok(root) => Ok(Self { root, unsynced }),
            Err(error) => Err(failed(unsynced, error)),
        }
    }

    /// Makes everything written so far survive a power cut: one call for the whole file system, which costs less than
    /// one for each of thousands of files.
    pub(crate) fn sync(&self) -> Result<()> {
        rustix::fs::syncfs(&self.root).map_err(|error| failed(self.unsynced.clone(), error))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use loam_testkit::lab::{inside, succeed};

    use super::*;
    use crate::pull::Held;

    /// A file system whose device takes no more after a while, and says so only when it is written to in the background.
    #[test]
    fn every_pull_hears_that_something_could_not_be_written() {
        inside("disk::tests::every_pull_hears_that_something_could_not_be_written", || {
            let directory = tempfile::tempdir().expect("a temporary directory");
            let (below, root) = (directory.path().join("below"), directory.path().join("root"));
            for path in [&below, &root] {
                fs::create_dir(path).expect("made");
            }
            let (disk, below) = (below.join("disk").display().to_string(), below.display().to_string());
            succeed(&["mount", "-t", "tmpfs", "-o", "size=4m", "disk", &below]);
            succeed(&["truncate", "-s", "64M", &disk]);
            succeed(&["mkfs.ext4", "-q", "-F", "-O", "^has_journal", &disk]);
            succeed(&["mount", "-o", "loop", &disk, &root.display().to_string()]);
            let places = Places { root: root.clone() };
            let pulls = [(); 3].map(|()| Held::none(&places).expect("a pull"));
            fs::write(root.join("layer"), vec![1; 16 << 20]).expect("the page cache takes it");
            for pull in &pulls {
                let failure = pull.disk.sync().expect_err("it is not on the disk");
                assert!(failure.chain().contains("can't be synced"), "{}", failure.chain());
            }
            succeed(&["umount", "-l", &root.display().to_string()]);
            succeed(&["umount", "-l", &below]);
        });
    }
}
