//! A size, or a part of a file system.

use loam_model::StoreShare;

use super::{Parsed, quantity};

/// Parses a size such as `20g`, or a part such as `80%`.
pub(crate) fn parse_share(text: &str) -> Parsed<StoreShare> {
    let Some(number) = text.strip_suffix('%') else { return quantity::size(text).map(StoreShare::Bytes) };
    match number.parse() {
        Ok(percent @ 0..=100) => Ok(StoreShare::Percent(percent)),
        _ => Err("a part of the file system is from 0% to 100%".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_parts_are_told_apart() {
        assert_eq!(parse_share("20g"), Ok(StoreShare::Bytes(20 << 30)));
        assert_eq!(parse_share("80%"), Ok(StoreShare::Percent(80)));
        for text in ["", "%", "101%", "-1%", "1.5%", "x"] {
            assert!(parse_share(text).is_err(), "{text}");
        }
    }
}
