//! `images NAME`: which images a name stands for, in whole or in part.

use std::str::FromStr;

/// A name with or without host, path, tag and digest, in which `*` and `?` stand for what is no `/`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ImagePattern(String);

impl ImagePattern {
    /// Whether it matches the name of an image, from the beginning or from behind a `/`, with tag and digest or without.
    pub(crate) fn accepts(&self, name: &str) -> bool {
        let starts = std::iter::once(0).chain(name.match_indices('/').map(|(slash, _)| slash + 1));
        starts.map(|start| &name[start..]).any(|end| {
            let without_digest = end.split_once('@').map_or(end, |(before, _)| before);
            // What is behind the last colon is a port where it has a `/`.
            let tagged = without_digest.rsplit_once(':').filter(|(_, tag)| !tag.contains('/'));
            let without_tag = tagged.map_or(without_digest, |(path, _)| path);
            [end, without_digest, without_tag].iter().any(|form| matches(self.0.as_bytes(), form.as_bytes()))
        })
    }
}

impl FromStr for ImagePattern {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.is_empty() { Err("a name is not empty".to_owned()) } else { Ok(Self(text.to_owned())) }
    }
}

/// Matches in linear space; going back only to the last star, as what a star stands for has no `/`.
fn matches(pattern: &[u8], text: &[u8]) -> bool {
    let (mut at, mut next) = (0, 0);
    let mut star = None;
    while next < text.len() {
        match pattern.get(at) {
            Some(b'*') => {
                star = Some((at, next));
                at += 1;
            }
            Some(wanted) if *wanted == text[next] || (*wanted == b'?' && text[next] != b'/') => {
                (at, next) = (at + 1, next + 1);
            }
            _ => match star {
                Some((before, taken)) if text[taken] != b'/' => {
                    star = Some((before, taken + 1));
                    (at, next) = (before + 1, taken + 1);
                }
                _ => return false,
            },
        }
    }
    pattern[at..].iter().all(|rest| *rest == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_matched_in_whole_or_from_a_slash() {
        let name = "registry.example:5000/library/debian:12";
        for (pattern, expected) in [
            ("debian", true),
            ("debian:12", true),
            ("library/debian", true),
            ("registry.example:5000/library/debian", true),
            ("registry.example:5000/library/debian:12", true),
            ("registry.example:5000/*/debian", true),
            ("deb*", true),
            ("d?bian:*", true),
            ("*/debian", true),
            ("*", true),
            ("deb", false),
            ("debian:1", false),
            ("library", false),
            ("registry*", false),
            ("registry.example", false),
            ("registry.example?5000?library/debian", false),
            ("*a:13", false),
        ] {
            let pattern: ImagePattern = pattern.parse().expect("not empty");
            assert_eq!(pattern.accepts(name), expected, "{pattern:?}");
        }
        let digest = format!("h/app@sha256:{}", "0".repeat(64));
        assert!(
            ["app", "h/app", &digest]
                .map(|text| text.parse::<ImagePattern>())
                .iter()
                .flatten()
                .all(|pattern| pattern.accepts(&digest))
        );
        assert!("".parse::<ImagePattern>().is_err());
    }
}
