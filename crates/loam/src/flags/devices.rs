//! Limits on devices and huge pages: `DEVICE:NUMBER`, `PAGE=SIZE`.

use std::path::PathBuf;

use loam_model::BlockWeight;

use super::{Parsed, quantity};

/// Parses `DEVICE:WEIGHT`.
pub(super) fn device_weight(text: &str) -> Parsed<BlockWeight> {
    let (device, number) = split(text)?;
    let weight = number.parse().map_err(|_| "a weight is a whole number".to_owned())?;
    Ok(BlockWeight { device, weight })
}

/// Parses `DEVICE:SIZE`, such as `/dev/vda:1m`.
pub(super) fn bytes(text: &str) -> Parsed<(PathBuf, u64)> {
    let (device, size) = split(text)?;
    Ok((device, quantity::size(size)?))
}

/// Parses `DEVICE:NUMBER`.
pub(super) fn operations(text: &str) -> Parsed<(PathBuf, u64)> {
    let (device, number) = split(text)?;
    let number = number.parse().map_err(|_| "operations are a whole number".to_owned())?;
    Ok((device, number))
}

/// Parses `PAGE=SIZE`, such as `2MB=64m`. The page's size is written as the runtime specification has it.
pub(super) fn hugepages(text: &str) -> Parsed<(String, u64)> {
    let malformed = || "a limit on huge pages is PAGE=SIZE, such as 2MB=64m".to_owned();
    let (page, limit) = text.split_once('=').ok_or_else(malformed)?;
    let number = ["KB", "MB", "GB"].iter().find_map(|unit| page.strip_suffix(unit)).ok_or_else(malformed)?;
    if number.is_empty() || number.len() > 6 || !number.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(malformed());
    }
    Ok((page.to_owned(), quantity::size(limit)?))
}

/// The device is before the last colon: a path may have some.
fn split(text: &str) -> Parsed<(PathBuf, &str)> {
    match text.rsplit_once(':') {
        Some((device, number)) if device.starts_with('/') => Ok((device.into(), number)),
        _ => Err("a device is an absolute path, with a colon and a number behind it".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_has_a_number_behind_it() {
        assert_eq!(bytes("/dev/a:b:1m"), Ok((PathBuf::from("/dev/a:b"), 1 << 20)));
        assert_eq!(operations("/dev/vda:100"), Ok((PathBuf::from("/dev/vda"), 100)));
        assert_eq!(device_weight("/dev/vda:10").map(|weight| weight.weight), Ok(10));
        for bad in ["", "/dev/vda", "vda:1", "/dev/vda:", "/dev/vda:-1"] {
            assert!(bytes(bad).is_err() && operations(bad).is_err(), "{bad}");
        }
        for bad in ["65536", "-1", "x", ""] {
            assert!(device_weight(&format!("/d:{bad}")).is_err(), "{bad}");
        }
    }

    #[test]
    fn huge_pages_have_a_size_and_a_limit() {
        assert_eq!(hugepages("2MB=64m"), Ok(("2MB".to_owned(), 64 << 20)));
        assert_eq!(hugepages("1GB=0"), Ok(("1GB".to_owned(), 0)));
        for bad in ["", "2MB", "2M=1", "MB=1", "2mb=1", "2MB=x", "../x/2MB=1", "-2MB=1"] {
            assert!(hugepages(bad).is_err(), "{bad}");
        }
    }
}
