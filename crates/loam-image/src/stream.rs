//! One blob on its way from a source into a directory, held against what was promised of it.

use loam_model::{ErrorKind, Result};
use loam_unpack::{Destination, Means, UnpackResult, UnpackedLayer, sniff, unpack_layer};

use crate::error::wrap;
use crate::intake::Intake;

/// Unpacks a blob into an empty directory, and holds it against its promises; gives the layer, and the bytes of the blob.
/// `what` is the beginning of messages.
pub(crate) fn unpack_stream(
    mut intake: Intake<'_>,
    destination: Destination,
    means: Means<'_>,
    what: &str,
) -> Result<(UnpackedLayer, u64)> {
    match run(&mut intake, destination, means, what) {
        Ok(layer) => {
            let blob_size = intake.finish().map_err(|failure| wrap(failure, what))?;
            Ok((layer, blob_size))
        }
        Err(error) => {
            let failure = error.into_failure(what.to_owned());
            let failure = if failure.to_string() == what { failure } else { wrap(failure, what) };
            // Bytes that make no sense are most often not the right bytes; that is then the truer cause.
            if failure.kind() == ErrorKind::Invalid
                && intake.has_promises()
                && let Err(broken) = intake.finish()
            {
                return Err(wrap(broken, what));
            }
            Err(failure)
        }
    }
}

fn run(intake: &mut Intake<'_>, destination: Destination, means: Means<'_>, what: &str) -> UnpackResult {
    let compression = sniff(intake.start()?)?;
    unpack_layer(intake, compression, destination, means, what)
}
