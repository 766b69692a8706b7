//! Where a container's image comes from: the store, the registry or place that its name says, or this program itself.

use loam_image::parse_source;
use loam_model::{ContainerSpec, ErrorKind, Failure, Image, ImageSource, PullOptions, PullProgress, shown};

use crate::flags::{ContainerFlags, PullPolicy};
use crate::transport::{self, Takes};
use crate::wiring::Wiring;
use crate::{progress, render};

/// The names of the image that this program carries.
const BUILT_IN: [&str; 2] = ["hello", "hello:latest"];

/// Finds the image of a container, and fetches it when the store lacks it or the flags ask for it.
pub(crate) fn obtain(wiring: &Wiring, flags: &ContainerFlags) -> Result<Image, Failure> {
    let name = flags.image();
    match flags.pull {
        PullPolicy::Always => fetch_aloud(wiring, flags, false),
        PullPolicy::Never => wiring.images()?.resolve(name),
        // A place is not a name: the store can't say whether it has what is there.
        PullPolicy::Missing if is_place(name) => fetch_aloud(wiring, flags, false),
        PullPolicy::Missing => match wiring.images()?.resolve(name) {
            Ok(image) if fits(&image, flags.platform.as_deref()) => Ok(image),
            Ok(_) => fetch_aloud(wiring, flags, false),
            Err(failure) if failure.kind() == ErrorKind::NotFound => fetch_aloud(wiring, flags, true),
            Err(failure) => Err(failure),
        },
    }
}

/// Fetches a container's image, and says so: nobody has asked for that in so many words. `missing` says that the store
/// has no such image.
fn fetch_aloud(wiring: &Wiring, flags: &ContainerFlags, missing: bool) -> Result<Image, Failure> {
    let options = PullOptions { platform: flags.platform.clone(), ..PullOptions::default() };
    let progress: Box<dyn PullProgress> =
        if flags.quiet { Box::new(progress::Quiet) } else { progress::shown() };
    let begin = |understood: &str| {
        if !flags.quiet {
            render::note(&format!("fetching {understood}"));
        }
    };
    fetch_from(wiring, flags.image(), &options, progress.as_ref(), begin, missing)
}

/// Fetches an image into the store.
pub(crate) fn fetch(
    wiring: &Wiring,
    name: &str,
    options: &PullOptions,
    progress: &dyn PullProgress,
) -> Result<Image, Failure> {
    fetch_from(wiring, name, options, progress, |_| {}, false)
}

/// The same; `begin` is told what a registry is going to be asked for.
fn fetch_from(
    wiring: &Wiring,
    name: &str,
    options: &PullOptions,
    progress: &dyn PullProgress,
    begin: impl FnOnce(&str),
    missing: bool,
) -> Result<Image, Failure> {
    if BUILT_IN.contains(&name) {
        return wiring.install_built_in();
    }
    transport::check(name, Takes::Sources)?;
    let source = parse_source(name)?;
    let ImageSource::Registry(written) = &source else {
        return wiring.images()?.pull(&source, options, progress);
    };
    // What can't be understood the pull itself has a sentence for.
    let understood = wiring.stands_for(written)?.unwrap_or_else(|| name.to_owned());
    begin(&understood);
    let pulled = wiring.images()?.pull(&source, options, progress);
    pulled.map_err(|failure| as_asked_for(name, &understood, missing, failure))
}

/// The failure of a pull, with the image's name as it was asked for and as it was understood.
fn as_asked_for(name: &str, understood: &str, missing: bool, failure: Failure) -> Failure {
    let said = failure.chain().contains(understood);
    let (name, understood) = (shown(name), shown(understood));
    let message = match (missing, name == understood) {
        (true, same) if same || said => format!("there is no image `{name}` here, and it can't be fetched"),
        (true, _) => format!("there is no image `{name}` here, and `{understood}` can't be fetched"),
        (false, _) if said => return failure,
        (false, true) => format!("`{name}` can't be fetched"),
        (false, false) => format!("`{name}` can't be fetched as `{understood}`"),
    };
    failure.within(message)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_that_cannot_be_had_is_named_as_it_was_asked_for_and_as_it_was_understood() {
        let whole = "docker.io/library/nonesuch:latest";
        let said = |name: &str, missing, cause: &str| {
            let cause = Failure::new(ErrorKind::Unavailable, cause).hint("look at the network");
            let failure = as_asked_for(name, whole, missing, cause);
            assert_eq!(
                (failure.kind(), failure.hint_text()),
                (ErrorKind::Unavailable, Some("look at the network"))
            );
            failure.chain()
        };
        let unreachable = "`r` can't be reached";
        insta::assert_snapshot!(said("nonesuch", true, unreachable), @"there is no image `nonesuch` here, and `docker.io/library/nonesuch:latest` can't be fetched: `r` can't be reached");
        insta::assert_snapshot!(said(whole, true, unreachable), @"there is no image `docker.io/library/nonesuch:latest` here, and it can't be fetched: `r` can't be reached");
        insta::assert_snapshot!(said("nonesuch", false, unreachable), @"`nonesuch` can't be fetched as `docker.io/library/nonesuch:latest`: `r` can't be reached");
        insta::assert_snapshot!(said(whole, false, unreachable), @"`docker.io/library/nonesuch:latest` can't be fetched: `r` can't be reached");
        let unknown = format!("`{whole}` does not exist");
        insta::assert_snapshot!(said("nonesuch", true, &unknown), @"there is no image `nonesuch` here, and it can't be fetched: `docker.io/library/nonesuch:latest` does not exist");
        insta::assert_snapshot!(said("nonesuch", false, &unknown), @"`docker.io/library/nonesuch:latest` does not exist");
    }
}
