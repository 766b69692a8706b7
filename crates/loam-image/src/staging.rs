//! Things on disk that are not there yet, or no longer: staged layers and trash.

mod directory;
mod places;
mod random_id;
mod staged_layer;
mod sweep;
mod trash;

pub(crate) use directory::{entries, is_at, make_directory, open_directory_of_others};
pub(crate) use loam_unpack::open_directory;
pub(crate) use places::Places;
pub(crate) use random_id::random_id;
pub(crate) use staged_layer::StagedLayer;
pub(crate) use sweep::{report, sweep};
pub(crate) use trash::delete;
