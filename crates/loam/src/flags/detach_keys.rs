//! The keys that let a container go on alone: `ctrl-p,ctrl-q`.

use std::str::FromStr;

use loam_model::shown;

/// A sequence of keys, as the bytes that a terminal sends for them; empty when there is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DetachKeys(pub(crate) Vec<u8>);

impl Default for DetachKeys {
    fn default() -> Self {
        Self(vec![16, 17])
    }
}

impl FromStr for DetachKeys {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Ok(Self(Vec::new()));
        }
        text.split(',').map(key).collect::<Result<_, _>>().map(Self)
    }
}

fn key(text: &str) -> Result<u8, String> {
    let invalid =
        || format!("`{}` is not a key: a letter, or ctrl- and one of a-z @ [ \\ ] ^ _", shown(text));
    let single = |text: &str| match text.as_bytes() {
        [byte] => Some(*byte),
        _ => None,
    };
    match text.strip_prefix("ctrl-") {
        None => single(text).filter(u8::is_ascii_graphic).ok_or_else(invalid),
        Some(text) => match single(text).ok_or_else(invalid)? {
            byte @ b'a'..=b'z' => Ok(byte - b'a' + 1),
            byte @ (b'@' | b'['..=b'_') => Ok(byte - b'@'),
            _ => Err(invalid()),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_the_bytes_of_a_terminal() {
        for (text, expected) in [
            ("ctrl-p,ctrl-q", &[16, 17][..]),
            ("ctrl-@", &[0]),
            ("ctrl-[,x", &[27, b'x']),
            ("ctrl-_", &[31]),
            ("", &[]),
        ] {
            assert_eq!(text.parse(), Ok(DetachKeys(expected.to_vec())), "{text}");
        }
        for text in ["ctrl-", "ctrl-P", "ctrl-pq", "ab", ",", "ctrl-1", "ü"] {
            assert!(text.parse::<DetachKeys>().is_err(), "{text}");
        }
    }
}
