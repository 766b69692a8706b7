//! Names of entries: relative, without `.` and `..`, bounded.

use super::UnpackError;

/// The kernel's limit on a path (PATH_MAX, less the final zero).
const PATH_LIMIT: usize = 4095;
/// The limit of every file system on a name.
const NAME_LIMIT: usize = 255;

/// The name as a path below the layer's root, without needless parts; empty for the root itself.
pub(crate) fn relative(name: &[u8]) -> Result<Vec<u8>, UnpackError> {
    // Some write the root itself so; below it nobody does who means well.
    if name.starts_with(b"/") && name != b"/" {
        return Err(UnpackError::entry(name, "has an absolute path"));
    }
    if name.contains(&0) {
        return Err(UnpackError::entry(name, "has a zero byte in its path"));
    }
    if name.len() > PATH_LIMIT {
        return Err(UnpackError::entry(name, format!("has a path longer than {PATH_LIMIT} bytes")));
    }
    let mut path = Vec::with_capacity(name.len());
    for part in name.split(|byte| *byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." => return Err(UnpackError::entry(name, "leaves the layer with `..`")),
            _ if part.len() > NAME_LIMIT => {
                return Err(UnpackError::entry(name, format!("has a name longer than {NAME_LIMIT} bytes")));
            }
            _ => {
                if !path.is_empty() {
                    path.push(b'/');
                }
                path.extend_from_slice(part);
            }
        }
    }
    Ok(path)
}

/// The directory and the last part of a path that is not empty.
pub fn parent_and_name(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|byte| *byte == b'/') {
        Some(slash) => (&path[..slash], &path[slash + 1..]),
        None => (b"", path),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn paths_stay_below_the_root() {
        assert_eq!(relative(b"./a//b/./c/").expect("fine"), b"a/b/c");
        for root in [&b"./"[..], b".", b"/"] {
            assert_eq!(relative(root).expect("the root"), b"");
        }
        assert_eq!(relative(b"...").expect("a name"), b"...");
        for bad in [&b"/a"[..], b"a/../b", b"..", b"a\0b", &[b'a'; 256], &b"a/".repeat(2100)] {
            assert!(relative(bad).is_err(), "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn a_relative_path_never_climbs(name in proptest::collection::vec(any::<u8>(), 0..40)) {
            if let Ok(path) = relative(&name) {
                prop_assert!(path.is_empty() || path.split(|b| *b == b'/').all(|p| !p.is_empty() && p != b"." && p != b".."));
                prop_assert!(!path.contains(&0));
            }
        }
    }
}
