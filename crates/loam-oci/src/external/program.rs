//! Finding a runtime program.

use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use loam_model::{ErrorKind, Failure, Result, shown_bytes};
use rustix::fs::Access;

/// Where programs are when the caller does not say.
pub(super) const DEFAULT_SEARCH_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Finds a program by path, or by name in a search path.
pub(super) fn find(program: &Path, search_path: &str) -> Result<PathBuf> {
    let shown = shown_bytes(program.as_os_str().as_bytes());
    if program.components().count() > 1 {
        if is_program(program) {
            return Ok(program.to_owned());
        }
        let message = format!("unknown runtime `{shown}`: there is no such program");
        return Err(Failure::new(ErrorKind::NotFound, message));
    }
    let places = search_path
        .split(':')
        .filter(|place| place.starts_with('/'))
        .map(|place| Path::new(place).join(program));
    places.into_iter().find(|path| is_program(path)).ok_or_else(|| {
        let message = format!("unknown runtime `{shown}`: there is no such program in {search_path}");
        Failure::new(ErrorKind::NotFound, message).hint("the embedded runtime needs no program")
    })
}

fn is_program(path: &Path) -> bool {
    path.is_file() && rustix::fs::access(path, Access::EXEC_OK).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_found_by_name_and_path() {
        assert_eq!(find(Path::new("sh"), "/nowhere:/bin").expect("found"), Path::new("/bin/sh"));
        assert_eq!(find(Path::new("/bin/sh"), "").expect("found"), Path::new("/bin/sh"));
        let unknown = find(Path::new("run\nc"), "/nowhere").expect_err("unknown");
        insta::assert_snapshot!(unknown.to_string(), @r"unknown runtime `run\nc`: there is no such program in /nowhere");
        assert!(find(Path::new("/bin"), "/").is_err(), "a directory is not a program");
        assert!(find(Path::new("/etc/passwd"), "/").is_err(), "nor is what can't be executed");
    }
}
