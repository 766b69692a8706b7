//! Text from outside, made fit to be shown.

use std::borrow::Cow;

/// The longest text that a message shows, in characters.
const LONGEST: usize = 200;

/// A text from outside as a message can show it: characters that a terminal would act on are escaped, and what is longer
/// than 200 characters is cut.
pub fn shown(text: &str) -> String {
    let mut shown: String = match text.char_indices().nth(LONGEST) {
        Some((end, _)) => escaped(&text[..end]).into_owned(),
        None => return escaped(text).into_owned(),
    };
    shown.push('…');
    shown
}

/// The same for bytes, such as those of a path; what is not UTF-8 shows as U+FFFD.
pub fn shown_bytes(bytes: &[u8]) -> String {
    // No character is longer than four bytes, so that the cut stays `shown`'s.
    shown(&String::from_utf8_lossy(&bytes[..bytes.len().min(LONGEST * 4 + 4)]))
}

/// A text with the characters escaped that a terminal would act on: control characters, and those that turn the
/// direction of writing and so what the text seems to say.
pub fn escaped(text: &str) -> Cow<'_, str> {
    if !text.contains(acts_on_a_terminal) {
        return Cow::Borrowed(text);
    }
    let mut safe = String::with_capacity(text.len() + 16);
    for character in text.chars() {
        match acts_on_a_terminal(character) {
            true => safe.extend(character.escape_default()),
            false => safe.push(character),
        }
    }
    Cow::Owned(safe)
}

fn acts_on_a_terminal(character: char) -> bool {
    let turns =
        matches!(character, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    character.is_control() || turns
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_would_act_on_is_escaped_and_the_rest_stays() {
        assert_eq!(shown("grüße \u{1b}[31m\n"), r"grüße \u{1b}[31m\n");
        assert_eq!(shown("a\u{202e}b"), r"a\u{202e}b");
        assert!(matches!(escaped("plain `text`"), Cow::Borrowed(_)));
        assert_eq!(shown_bytes(b"a\xffb\0"), "a\u{fffd}b\\u{0}");
    }

    #[test]
    fn long_text_is_cut() {
        let long = "ü".repeat(LONGEST);
        assert_eq!(shown(&long), long);
        assert_eq!(shown(&format!("{long}x")), format!("{long}…"));
        assert_eq!(shown_bytes("ü".repeat(5000).as_bytes()), format!("{long}…"));
    }
}
