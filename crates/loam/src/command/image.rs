//! `loam image …`.

mod bundle;
mod copy;
mod history;
mod load;
mod mount;
mod pin;
mod prune;
mod save;
mod tree;

use clap::{Args, Subcommand};
use loam_model::{ErrorKind, Failure, Image, ImageStore};
use serde::Serialize;
use serde_json::Value;

use super::{Outcome, diff, each, images, pull, push, remote, rmi};
use crate::output;
use crate::wiring::Wiring;

/// What can be done with images.
#[derive(Debug, Subcommand)]
pub(crate) enum ImageCommand {
    /// Print everything that is known of images, as JSON
    Inspect(InspectImage),
    /// Make a bundle, which any OCI runtime runs, from an image
    ///
    /// The bundle has a copy of the image's files, and a configuration with few capabilities and the default seccomp
    /// filter. What the image calls volumes are directories of the bundle.
    #[command(override_usage = "loam image bundle [OPTIONS] IMAGE DIRECTORY [COMMAND]...")]
    Bundle(bundle::Bundle),
    /// Copy an image between registries, layouts and archives, without taking it in
    ///
    /// Everything stays byte for byte as it is, and keeps its digest; only an archive in Docker's format, which has
    /// uncompressed layers and no manifest, changes that. What the destination has already is not sent again.
    Copy(copy::Copy),
    /// Show what differs in the files of images: A added, C changed, D deleted
    Diff(diff::DiffImage),
    /// Show the steps that made an image
    History(history::History),
    /// List images
    Ls(images::Images),
    /// Remove images
    Rm(rmi::Rmi),
    /// Take images in from an archive that this or another engine wrote
    Load(load::Load),
    /// Mount images to look into their files, and print the paths
    ///
    /// The files are there read-only, with the image's owners, for root. Mounts are counted: an image stays mounted, and is
    /// neither removed nor pruned, until it was unmounted as often as it was mounted.
    Mount(mount::Mount),
    /// Protect images from pruning
    Pin(pin::Pin),
    /// Remove images that nothing needs
    Prune(prune::Prune),
    /// Fetch an image
    Pull(pull::Pull),
    /// Put an image into a registry, and print its digest there
    Push(push::Push),
    /// List the tags of a repository in a registry
    Tags(remote::Tags),
    /// Delete an image from its registry, with every tag that points to it
    ///
    /// The word is skopeo's: `rm` takes an image from this machine, `delete` from a registry, for everybody. What the
    /// registry stores for it goes with its next garbage collection.
    Delete(remote::Delete),
    /// Write images into an archive that Docker, podman and skopeo read, too
    Save(save::Save),
    /// Draw the layers of images, and what they share
    Tree(tree::Tree),
    /// Unmount images
    #[command(visible_alias = "umount")]
    Unmount(mount::Unmount),
    /// Protect images from pruning no longer
    Unpin(pin::Pin),
}

/// The arguments of `image inspect`.
#[derive(Args, Debug)]
pub(crate) struct InspectImage {
    /// Names or ids
    #[arg(required = true, value_name = "IMAGE")]
    images: Vec<String>,
}

impl ImageCommand {
    pub(super) fn run(self, wiring: &Wiring) -> Outcome {
        match self {
            ImageCommand::Inspect(command) => command.run(wiring),
            ImageCommand::Bundle(command) => command.run(wiring),
            ImageCommand::Copy(command) => command.run(wiring),
            ImageCommand::Diff(command) => command.run(wiring),
            ImageCommand::History(command) => command.run(wiring),
            ImageCommand::Ls(command) => command.run(wiring),
            ImageCommand::Rm(command) => command.run(wiring),
            ImageCommand::Load(command) => command.run(wiring),
            ImageCommand::Mount(command) => command.run(wiring),
            ImageCommand::Pin(command) => command.run(wiring, true),
            ImageCommand::Prune(command) => command.run(wiring),
            ImageCommand::Pull(command) => command.run(wiring),
            ImageCommand::Push(command) => command.run(wiring),
            ImageCommand::Tags(command) => command.run(wiring),
            ImageCommand::Delete(command) => command.run(wiring),
            ImageCommand::Save(command) => command.run(wiring),
            ImageCommand::Tree(command) => command.run(wiring),
            ImageCommand::Unmount(command) => command.run(wiring),
            ImageCommand::Unpin(command) => command.run(wiring, false),
        }
    }
}

impl InspectImage {
    fn run(self, wiring: &Wiring) -> Outcome {
        let store = wiring.images()?;
        let mut found = Vec::new();
        let exit = each(&self.images, |name| {
            found.push(image_detail(store, name)?);
            Ok(())
        })?;
        output::print_json(&found)?;
        Ok(exit)
    }
}

/// Everything that is known of an image.
#[derive(Serialize)]
pub(super) struct ImageDetail {
    /// What the store says.
    #[serde(flatten)]
    image: Image,
    /// The configuration as it came.
    raw_config: Value,
}

/// Looks an image up.
pub(super) fn image_detail(store: &dyn ImageStore, name: &str) -> Result<ImageDetail, Failure> {
    let image = store.resolve(name)?;
    let raw = store.raw_config(&image.id)?;
    let raw_config = serde_json::from_slice(&raw).map_err(|error| {
        let message = format!("the configuration of image `{name}` is not JSON");
        Failure::new(ErrorKind::Internal, message).caused_by(error)
    })?;
    Ok(ImageDetail { image, raw_config })
}
