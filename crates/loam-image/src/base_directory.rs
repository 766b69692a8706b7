//! A layer that is unpacked below a directory of the layers beneath it, as Garden's droplets are on a stack: the annotation
//! `org.cloudfoundry.experimental.image.base-directory` of its descriptor names the directory.

use std::fmt;
use std::os::fd::OwnedFd;

use loam_model::{ErrorKind, Failure, Result, shown};
use loam_unpack::{Destination, Unpacked};
use rustix::fs::{Mode, OFlags, ResolveFlags};

use crate::document::Descriptor;
use crate::error::{failed, invalid};
use crate::staging::StagedLayer;

const ANNOTATION: &str = "org.cloudfoundry.experimental.image.base-directory";
/// The deepest directory: nobody's real one is as deep.
const DEEPEST: usize = 64;

/// Such a directory: plain names with `/` between them, at least one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BaseDirectory(String);

impl fmt::Display for BaseDirectory {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl BaseDirectory {
    /// The directory that a descriptor names; `None` for the root.
    pub(crate) fn of(layer: &Descriptor) -> Result<Option<Self>> {
        let Some(text) = layer.annotation(ANNOTATION) else { return Ok(None) };
        let names: Vec<&str> = text.split('/').filter(|name| !matches!(*name, "" | ".")).collect();
        if names.contains(&"..") || text.contains('\0') || names.len() > DEEPEST || text.len() > 4096 {
            let what = format!("layer `{}` can't be unpacked below `{}`", layer.digest, shown(text));
            return Err(invalid(what));
        }
        Ok((!names.is_empty()).then(|| Self(names.join("/"))))
    }

    /// Makes the directory in a staged layer that is still empty, and gives that as the place to unpack to.
    pub(crate) fn destination(&self, staged: &StagedLayer) -> Result<Destination> {
        let destination = staged.destination()?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut files = destination.files;
        for name in self.0.split('/') {
            files = rustix::fs::mkdirat(&files, name, Mode::from_raw_mode(0o755))
                .and_then(|()| rustix::fs::openat(&files, name, flags, Mode::empty()))
                .map_err(|error| failed(format!("the directory `{self}` of a layer can't be made"), error))?;
        }
        Ok(Destination { files, ..destination })
    }

    /// Lets what was unpacked be seen from the root of the layer; the directories on the way get their attributes from
    /// the layers beneath.
    pub(crate) fn lift(&self, unpacked: &mut Unpacked) {
        let lifted = |path: &[u8]| match path {
            b"" => self.0.clone().into_bytes(),
            path => [self.0.as_bytes(), b"/", path].concat(),
        };
        for path in &mut unpacked.implicit {
            *path = lifted(path);
        }
        for link in &mut unpacked.dangling {
            (link.path, link.target) = (lifted(&link.path), lifted(&link.target));
        }
        let above = self.0.match_indices('/').map(|(end, _)| self.0.as_bytes()[..end].to_vec());
        unpacked.implicit.extend([Vec::new()].into_iter().chain(above));
    }

    /// Checks that the layers beneath, the topmost first, have the directory.
    pub(crate) fn check(&self, below: &[OwnedFd]) -> Result<()> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let beneath = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        let has = |layer: &OwnedFd| {
            loam_sys::openat2(layer, self.0.as_bytes(), flags, Mode::empty(), beneath).is_ok()
        };
        if below.iter().any(has) {
            return Ok(());
        }
        let what = format!("base directory not found in parent layer: `/{}`", shown(&self.0));
        Err(Failure::new(ErrorKind::Invalid, what))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Result<Option<String>> {
        let json = serde_json::json!({
            "digest": format!("sha256:{}", "0".repeat(64)), "annotations": { ANNOTATION: text },
        });
        let descriptor: Descriptor = serde_json::from_value(json).expect("a descriptor");
        Ok(BaseDirectory::of(&descriptor)?.map(|base| base.to_string()))
    }

    #[test]
    fn directories_are_plain_and_stay_below_the_root() {
        assert_eq!(of("/home//vcap/./").expect("plain").as_deref(), Some("home/vcap"));
        assert_eq!(of("/").expect("the root"), None);
        for bad in ["../etc", "/a/../../b", "a\0b", &"a/".repeat(100)] {
            assert!(of(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn what_was_unpacked_is_lifted() {
        let mut unpacked = Unpacked { implicit: vec![vec![], b"x".to_vec()], ..Unpacked::default() };
        BaseDirectory("home/vcap/app".to_owned()).lift(&mut unpacked);
        let implicit: Vec<&[u8]> = unpacked.implicit.iter().map(Vec::as_slice).collect();
        assert_eq!(implicit, [&b"home/vcap/app"[..], b"home/vcap/app/x", b"", b"home", b"home/vcap"]);
    }
}
