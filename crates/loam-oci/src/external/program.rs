//! Finding a runtime program.

use std::path::{Path, PathBuf};

use loam_model::{ErrorKind, Failure, Result};
use rustix::fs::Access;

/// Where programs are when `PATH` says nothing.
pub(super) const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What this process has as `PATH`.
pub(super) fn search_path() -> String {
    std::env::var("PATH").ok().filter(|path| !path.is_empty()).unwrap_or_else(|| DEFAULT_PATH.to_owned())
}

/// Finds a program by path, or by name in `PATH`.
pub(super) fn find(program: &Path) -> Result<PathBuf> {
    find_in(program, &search_path())
}

fn find_in(program: &Path, search_path: &str) -> Result<PathBuf> {
    let shown: String = program.to_string_lossy().chars().take(200).flat_map(char::escape_debug).collect();
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
        Failure::new(ErrorKind::NotFound, message).hint("leave `--runtime` out for the embedded runtime")
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
        assert_eq!(find_in(Path::new("sh"), "/nowhere:/bin").expect("found"), Path::new("/bin/sh"));
        assert_eq!(find_in(Path::new("/bin/sh"), "").expect("found"), Path::new("/bin/sh"));
        let unknown = find_in(Path::new("run\nc"), "/nowhere").expect_err("unknown");
        insta::assert_snapshot!(unknown.to_string(), @r"unknown runtime `run\nc`: there is no such program in /nowhere");
        assert!(find_in(Path::new("/bin"), "/").is_err(), "a directory is not a program");
        assert!(find_in(Path::new("/etc/passwd"), "/").is_err(), "nor is what can't be executed");
    }
}
