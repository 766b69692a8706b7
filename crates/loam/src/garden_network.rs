//! The way to the external networker's door: Guardian's words come last, after options of the operator's.

use std::ffi::OsString;
use std::process::ExitCode;

use crate::render;
use crate::wiring::{self, GardenNetworkHost};

/// The name of the command.
const NAME: &str = "garden-network";

/// The words that are the door's, when its name is the first word.
pub(crate) fn words(arguments: impl Iterator<Item = OsString>) -> Option<Vec<OsString>> {
    let mut rest: Vec<OsString> = arguments.skip(1).collect();
    if rest.first().is_some_and(|word| word == NAME) { Some(rest.split_off(1)) } else { None }
}

/// Does what they say.
pub(crate) fn run(words: Vec<OsString>) -> ExitCode {
    if let Err(failure) = wiring::turn_features_off() {
        return render::failure(&failure).into();
    }
    let (mut input, mut output, mut errors) = (std::io::stdin(), std::io::stdout(), std::io::stderr());
    loam_garden_network::run(words, &GardenNetworkHost, &mut input, &mut output, &mut errors).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_door_is_found_by_its_word() {
        let words = |line: &str| words(line.split(' ').map(OsString::from));
        assert_eq!(words("loam garden-network --action up"), Some(vec!["--action".into(), "up".into()]));
        assert_eq!(words("loam run garden-network"), None);
        assert_eq!(words("loam"), None);
    }
}
