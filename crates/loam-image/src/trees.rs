//! The files of images and containers, without a mount: compared and copied by walking the layers.

mod attributes;
mod compare;
mod copy;
mod data;
mod directory;
mod same;
mod stack;

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::Path;

use loam_model::{
    ContainerId, CopiedOwners, Digest, ErrorKind, Failure, FileChange, Image, ImageConfig, ImageTrees,
    Result, TreeOf,
};
use rustix::fs::{Mode, OFlags};

use crate::error::failed;
use crate::staging::open_directory;
use crate::store::no_image;
use crate::{LayerStore, catalog};
use stack::Stack;

impl ImageTrees for LayerStore {
    fn changes(
        &self,
        before: TreeOf<'_>,
        after: TreeOf<'_>,
        passed_over: &[&Path],
    ) -> Result<Vec<FileChange>> {
        compare::compare(&self.stack_of(before)?, &self.stack_of(after)?, passed_over)
    }

    fn copy_files(&self, image: &Digest, directory: BorrowedFd<'_>, owners: &CopiedOwners) -> Result<()> {
        copy::copy(&self.stack_of(TreeOf::Image(image))?, directory, owners)
    }

    fn copy_directory(&self, from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> Result<()> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let own = rustix::fs::openat(from, ".", flags, Mode::empty()).map_err(io::Error::from);
        let stack = own.and_then(|own| Stack::new(vec![own]));
        let stack = stack.map_err(|error| failed("the directory can't be opened", error))?;
        copy::copy(&stack, to, &CopiedOwners::default())
    }

    fn import_directory(&self, directory: &Path, name: &str, config: &ImageConfig) -> Result<Image> {
        self.import_files(directory, name, config)
    }
}

impl LayerStore {
    fn stack_of(&self, tree: TreeOf<'_>) -> Result<Stack> {
        let unopened = |error| failed("the layers can't be opened", error);
        match tree {
            TreeOf::Image(image) => Stack::new(self.image_layers(image, 0)?).map_err(unopened),
            TreeOf::BelowTopOf(image) => Stack::new(self.image_layers(image, 1)?).map_err(unopened),
            TreeOf::Container(container) => {
                Stack::new(self.container_layers(container)?).map(Stack::live).map_err(unopened)
            }
        }
    }

    /// Opens the layers of an image, the topmost first, without so many of the topmost.
    fn image_layers(&self, image: &Digest, without: usize) -> Result<Vec<OwnedFd>> {
        let id = image.to_string();
        let (known, directories) = self.database.read(|connection| {
            Ok((catalog::image(connection, &id)?.is_some(), catalog::directories(connection, &id)?))
        })?;
        if !known {
            return Err(no_image(image));
        }
        let wanted = directories.iter().skip(without);
        wanted.map(|directory| open_layer(&self.places.diff(directory))).collect()
    }

    /// Opens what a container has written, and below that the layers of its image.
    fn container_layers(&self, container: &ContainerId) -> Result<Vec<OwnedFd>> {
        let unsupported = |why: &str| {
            let message = format!("what container `{}` has changed can't be told: {why}", container.short());
            Failure::new(ErrorKind::Unsupported, message)
        };
        let plan = self.plan(container, None)?;
        if plan.disk.is_some() {
            return Err(unsupported("its disk limit keeps its files in a file system of their own"));
        }
        let upper = plan.upper.unwrap_or_default();
        if upper.with_file_name("shifted").exists() {
            return Err(unsupported("without idmapped mounts all files were given to its users"));
        }
        [upper].iter().chain(&plan.lower).map(|path| open_layer(path)).collect()
    }
}

fn open_layer(path: &Path) -> Result<OwnedFd> {
    open_directory(path)
        .map_err(|error| failed(format!("the layer `{}` can't be opened", path.display()), error))
}

#[cfg(test)]
mod tests;
