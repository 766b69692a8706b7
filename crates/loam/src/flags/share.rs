//! A size, or a part of a file system.

use loam_model::StoreShare;

use super::{Parsed, quantity};

/// Parses a size such as `20g`, or a part such as `80%`. A number alone may be either, but for 0: who writes `80` hardly
/// means so many bytes.
pub(crate) fn parse_share(text: &str) -> Parsed<StoreShare> {
    if text.bytes().all(|byte| byte.is_ascii_digit()) && text.bytes().any(|byte| byte != b'0') {
        return Err(
            "a part of the file system needs a %, such as 80%, and a size a unit, such as 20g".to_owned()
        );
    }
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
        assert_eq!(parse_share("0"), Ok(StoreShare::Bytes(0)));
        assert_eq!(parse_share("80b"), Ok(StoreShare::Bytes(80)));
        for text in ["80", "", "%", "101%", "-1%", "1.5%", "x"] {
            assert!(parse_share(text).is_err(), "{text}");
        }
    }
}
