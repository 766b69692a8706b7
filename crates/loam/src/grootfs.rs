//! The way to the GrootFS door: its words have a form of their own, and so has all that it prints.

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

use crate::render;
use crate::wiring::{self, GrootfsHost};

/// The name of the command, and of this program when it stands in for GrootFS.
const NAME: &str = "grootfs";

/// The words that are GrootFS's, when this program was called by its name or with that as the first word.
pub(crate) fn words(mut arguments: impl Iterator<Item = OsString>) -> Option<Vec<OsString>> {
    let program = arguments.next()?;
    let mut rest: Vec<OsString> = arguments.collect();
    if Path::new(&program).file_name().is_some_and(|name| name == NAME) {
        return Some(rest);
    }
    if rest.first().is_some_and(|word| word == NAME) { Some(rest.split_off(1)) } else { None }
}

/// Does what they say.
pub(crate) fn run(words: Vec<OsString>) -> ExitCode {
    if let Err(failure) = wiring::turn_features_off() {
        return render::failure(&failure).into();
    }
    loam_grootfs::run(words, &GrootfsHost, &mut std::io::stdout()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_door_is_found_by_name_and_by_word() {
        let words = |line: &str| words(line.split(' ').map(OsString::from));
        let rest = Some(vec!["--store".into(), "/s".into(), "list".into()]);
        assert_eq!(words("/x/grootfs --store /s list"), rest);
        assert_eq!(words("loam grootfs --store /s list"), rest);
        assert_eq!(words("loam run grootfs"), None);
        assert_eq!(words("loam"), None);
    }
}
