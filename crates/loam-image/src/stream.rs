//! One blob on its way from a source into a directory, held against what was promised of it.

use loam_model::{Digest, ErrorKind, Result};
use loam_unpack::{Destination, Means, UnpackError, Unpackaged, Unpacked, sniff, unpack_layer};

use crate::error::wrap;
use crate::intake::Intake;

/// What came of it.
#[derive(Debug)]
pub(crate) struct Streamed {
    pub(crate) unpacked: Unpacked,
    /// The digest of the decompressed stream.
    pub(crate) diff_id: Digest,
    /// Bytes of the decompressed stream.
    pub(crate) length: u64,
    /// Bytes of the blob.
    pub(crate) blob_size: u64,
    /// Whether the tar can be put together again.
    pub(crate) is_recorded: bool,
}

/// Unpacks a blob into an empty directory, and holds it against its promises. `what` is the beginning of messages.
pub(crate) fn unpack_stream(
    mut intake: Intake<'_>,
    destination: Destination,
    means: Means<'_>,
    what: &str,
) -> Result<Streamed> {
    match run(&mut intake, destination, means, what) {
        Ok(Unpackaged { unpacked, is_recorded, diff_id, length }) => {
            let blob_size = intake.finish().map_err(|failure| wrap(failure, what))?;
            Ok(Streamed { unpacked, diff_id, length, blob_size, is_recorded })
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

fn run(
    intake: &mut Intake<'_>,
    destination: Destination,
    means: Means<'_>,
    what: &str,
) -> std::result::Result<Unpackaged, UnpackError> {
    let compression = sniff(intake.start()?)?;
    unpack_layer(intake, compression, destination, means, what)
}
