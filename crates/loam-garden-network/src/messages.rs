//! Reading what Guardian says, which is in the forms of [`loam_garden_wire`].

use std::io::Read;

use serde::de::DeserializeOwned;

use crate::error::NetworkerError;

/// The longest input that is read. A thousand rules are a tenth of this.
const MAX_INPUT: u64 = 16 << 20;

/// Reads an action's input.
pub(crate) fn read<T: DeserializeOwned>(
    action: &'static str,
    input: &mut dyn Read,
) -> Result<T, NetworkerError> {
    let mut bytes = Vec::new();
    input.take(MAX_INPUT + 1).read_to_end(&mut bytes).map_err(NetworkerError::Input)?;
    if bytes.len() as u64 > MAX_INPUT {
        return Err(NetworkerError::TooLong(MAX_INPUT));
    }
    serde_json::from_slice(&bytes).map_err(|error| NetworkerError::Decode(action, error))
}
