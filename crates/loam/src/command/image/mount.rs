//! `loam image mount` and `unmount`.

use std::path::Path;

use clap::Args;
use loam_model::{ErrorKind, Failure, Image, MountedImage, RootfsPlan, Unmounted, escaped};
use loam_rootfs::{IdMaps, kind_of, mount_root};
use rustix::io::Errno;
use rustix::mount::{MountFlags, UnmountFlags};

use super::super::{FormatFlag, Outcome, each};
use crate::exit::Exit;
use crate::table::Table;
use crate::wiring::Wiring;
use crate::{output, render};

/// The flags of `image mount`.
#[derive(Args, Debug)]
pub(crate) struct Mount {
    #[command(flatten)]
    format: FormatFlag,
    /// Names or ids; without any, the images that are mounted are listed
    #[arg(value_name = "IMAGE")]
    images: Vec<String>,
}

/// The flags of `image unmount`.
#[derive(Args, Debug)]
pub(crate) struct Unmount {
    /// Unmount all images that are mounted, however often
    #[arg(short, long, conflicts_with = "images")]
    all: bool,
    /// Unmount although it was mounted more often, or files are open
    #[arg(short, long)]
    force: bool,
    /// Names or ids
    #[arg(required_unless_present = "all", value_name = "IMAGE")]
    images: Vec<String>,
}

impl Mount {
    pub(super) fn run(self, wiring: &Wiring) -> Outcome {
        if self.images.is_empty() {
            return self.list(wiring);
        }
        let (store, mounts) = (wiring.images()?, wiring.mounts()?);
        each(&self.images, |name| {
            let path = mounts.mount(&store.resolve(name)?.id, &mut mount)?;
            output::print_line(&path.display().to_string())
        })
    }

    fn list(&self, wiring: &Wiring) -> Outcome {
        let mounted = wiring.mounts()?.mounted()?;
        if self.format.is_json() {
            output::print_json(&mounted)?;
        } else {
            output::print(&table(&mounted))?;
        }
        Ok(Exit::SUCCESS)
    }
}

impl Unmount {
    pub(super) fn run(self, wiring: &Wiring) -> Outcome {
        let (store, mounts) = (wiring.images()?, wiring.mounts()?);
        let names = match self.all {
            true => mounts.mounted()?.into_iter().map(|mounted| mounted.image.to_string()).collect(),
            false => self.images,
        };
        each(&names, |name| {
            let image = store.resolve(name)?;
            let force = self.force || self.all;
            match mounts.unmount(&image.id, force, &mut |path| unmount(path, self.force)) {
                Err(failure) if failure.kind() == ErrorKind::NotFound => Err(not_mounted(name)),
                Err(failure) => Err(failure),
                Ok(Unmounted::Gone) => output::print_line(&shown(&image)),
                Ok(Unmounted::Held(count)) => {
                    let times = if count == 1 { "once".to_owned() } else { format!("{count} times") };
                    render::notice(&format!("`{name}` stays, as it was mounted {times} more"));
                    output::print_line(&shown(&image))
                }
            }
        })
    }
}

fn shown(image: &Image) -> String {
    image.id.to_string()
}

fn not_mounted(name: &str) -> Failure {
    Failure::new(ErrorKind::NotFound, format!("the image `{}` is not mounted", loam_model::shown(name)))
}

/// Mounts an image's files. Its set-user-id programs and devices are for looking at.
fn mount(plan: &RootfsPlan, target: &Path) -> Result<(), Failure> {
    drop(mount_root(plan, None, &mut IdMaps::default(), target)?);
    let flags = MountFlags::BIND | MountFlags::RDONLY | MountFlags::NOSUID | MountFlags::NODEV;
    rustix::mount::mount_remount(target, flags, "").map_err(|errno| {
        // What may do too much is not left there.
        rustix::mount::unmount(target, UnmountFlags::DETACH).ok();
        let message = format!("the mount at `{}` can't be restricted", target.display());
        Failure::new(kind_of(errno), message).caused_by(errno)
    })
}

fn unmount(path: &Path, force: bool) -> Result<(), Failure> {
    let flags = if force { UnmountFlags::DETACH } else { UnmountFlags::empty() };
    rustix::mount::unmount(path, flags | UnmountFlags::NOFOLLOW).map_err(|errno| {
        let message = format!("`{}` can't be unmounted", path.display());
        match errno {
            Errno::BUSY => Failure::new(ErrorKind::Conflict, format!("{message}: it is in use"))
                .hint("end the programs that have files of it open, or use --force"),
            errno => Failure::new(kind_of(errno), message).caused_by(errno),
        }
    })
}

fn table(mounted: &[MountedImage]) -> String {
    let mut table = Table::new(&["IMAGE ID", "NAME", "COUNT", "PATH"]);
    for one in mounted {
        table.row([
            one.image.short().to_owned(),
            one.names.first().map_or_else(|| "<none>".to_owned(), |name| escaped(name).into_owned()),
            one.count.to_string(),
            one.path.display().to_string(),
        ]);
    }
    table.render()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_for_each_mounted_image() {
        let image = format!("sha256:{}", "a".repeat(64)).parse().expect("a digest");
        let names = vec!["mine:1".to_owned()];
        let mounted = MountedImage { image, names, path: "/s/mounts/aa".into(), count: 2 };
        insta::assert_snapshot!(table(&[mounted]), @r"
        IMAGE ID      NAME    COUNT  PATH
        aaaaaaaaaaaa  mine:1  2      /s/mounts/aa
        ");
    }
}
