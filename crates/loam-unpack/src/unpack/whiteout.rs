//! Whiteouts (image specification, layer.md, "Whiteouts"): entries that hide what lower layers have.

use rustix::fs::{FileType, Mode};
use rustix::io::Errno;

use super::tree::{is_directory, stat};
use super::{Cost, UnpackError, Unpacking};

/// Marks a directory as opaque.
const OPAQUE: &[u8] = b".wh..wh..opq";
/// Other names of this kind are leftovers of aufs.
const AUFS: &[u8] = b".wh..wh.";

impl Unpacking<'_> {
    pub(super) fn whiteout(
        &mut self,
        path: &[u8],
        parent: &[u8],
        name: &[u8],
        hidden: &[u8],
    ) -> Result<(), UnpackError> {
        if name == OPAQUE {
            self.directory(parent, path)?;
            return self.make_opaque(parent);
        }
        if name.starts_with(AUFS) {
            return Ok(());
        }
        if matches!(hidden, b"" | b"." | b"..") {
            return Err(UnpackError::entry(path, "is a whiteout of nothing"));
        }
        let _charge = self.budget.take(Cost::node(self.budget.block()))?;
        let fd = self.directory(parent, path)?;
        match rustix::fs::mknodat(&*fd, hidden, FileType::CharacterDevice, Mode::empty(), 0) {
            Ok(()) => Ok(()),
            // A whiteout hides what lower layers have, never what this one has, whichever came first.
            Err(Errno::EXIST) => {
                if is_directory(&stat(&fd, hidden, path)?) {
                    let separator: &[u8] = if parent.is_empty() { b"" } else { b"/" };
                    self.make_opaque(&[parent, separator, hidden].concat())?;
                }
                Ok(())
            }
            Err(error) => Err(UnpackError::system(path, "made", error)),
        }
    }
}
