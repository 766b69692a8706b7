//! Where a container's image comes from: the store, the registry or place that its name says, or this program itself.

use loam_image::parse_source;
use loam_model::{ContainerSpec, ErrorKind, Failure, Image, ImageSource, PullOptions, PullProgress};

use crate::flags::{ContainerFlags, PullPolicy};
use crate::progress;
use crate::wiring::Wiring;

/// The names of the image that this program carries.
const BUILT_IN: [&str; 2] = ["hello", "hello:latest"];

/// Finds the image of a container, and fetches it when the store lacks it or the flags ask for it.
pub(crate) fn obtain(wiring: &Wiring, flags: &ContainerFlags) -> Result<Image, Failure> {
    let name = flags.image();
    let options = PullOptions { platform: flags.platform.clone(), ..PullOptions::default() };
    let fetch = || fetch(wiring, name, &options, progress::shown().as_ref());
    match flags.pull {
        PullPolicy::Always => fetch(),
        PullPolicy::Never => wiring.images()?.resolve(name),
        // A place is not a name: the store can't say whether it has what is there.
        PullPolicy::Missing if is_place(name) => fetch(),
        PullPolicy::Missing => match wiring.images()?.resolve(name) {
            Ok(image) if fits(&image, flags.platform.as_deref()) => Ok(image),
            Ok(_) => fetch(),
            Err(failure) if failure.kind() == ErrorKind::NotFound => fetch(),
            Err(failure) => Err(failure),
        },
    }
}

/// Fetches an image into the store.
pub(crate) fn fetch(
    wiring: &Wiring,
    name: &str,
    options: &PullOptions,
    progress: &dyn PullProgress,
) -> Result<Image, Failure> {
    if BUILT_IN.contains(&name) {
        return wiring.install_built_in();
    }
    wiring.images()?.pull(&parse_source(name)?, options, progress)
}

/// Lets the spec name the image so that the name can be found again: an image from a place has another name in the
/// store.
pub(crate) fn name_in_spec(spec: &mut ContainerSpec, image: &Image) {
    if is_place(&spec.image) {
        spec.image = image.names.first().cloned().unwrap_or_else(|| image.id.to_string());
    }
}

fn is_place(name: &str) -> bool {
    parse_source(name).is_ok_and(|source| !matches!(source, ImageSource::Registry(_)))
}

/// Whether an image is of the wanted platform. A variant counts only when it is asked for.
fn fits(image: &Image, platform: Option<&str>) -> bool {
    let Some(wanted) = platform else { return true };
    image.platform == wanted || image.platform.strip_prefix(wanted).is_some_and(|rest| rest.starts_with('/'))
}
