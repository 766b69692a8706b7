//! Text in a buffer of fixed size, and bytes of strangers made fit to be shown.

use core::fmt::{self, Write};

/// Text that grows in a buffer; what does not fit is left out.
pub struct Text<'a> {
    bytes: &'a mut [u8],
    length: usize,
}

impl<'a> Text<'a> {
    /// An empty text.
    pub fn new(bytes: &'a mut [u8]) -> Self {
        Self { bytes, length: 0 }
    }

    /// The text so far.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }

    /// Appends bytes as they are.
    pub fn push(&mut self, bytes: &[u8]) {
        let count = bytes.len().min(self.bytes.len() - self.length);
        self.bytes[self.length..self.length + count].copy_from_slice(&bytes[..count]);
        self.length += count;
    }
}

impl Write for Text<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.push(text.as_bytes());
        Ok(())
    }
}

/// Bytes shown so that they can't do anything to a terminal.
pub struct Shown<'a>(pub &'a [u8]);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for byte in self.0 {
            match byte {
                b' '..=b'~' => formatter.write_char(char::from(*byte))?,
                byte => write!(formatter, "\\x{byte:02x}")?,
            }
        }
        Ok(())
    }
}

/// Reads a number at the beginning of a text, after spaces; gives it and the rest.
pub fn number(text: &[u8]) -> Option<(u64, &[u8])> {
    let text = text.trim_ascii_start();
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    if digits == 0 {
        return None;
    }
    let value = text[..digits]
        .iter()
        .try_fold(0u64, |value, digit| value.checked_mul(10)?.checked_add(u64::from(digit - b'0')))?;
    Some((value, &text[digits..]))
}

/// The text up to the first zero byte.
pub fn until_zero(bytes: &[u8]) -> &[u8] {
    bytes.split(|byte| *byte == 0).next().unwrap_or(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_that_does_not_fit_is_cut() {
        let mut buffer = [0; 4];
        let mut text = Text::new(&mut buffer);
        write!(text, "abc{}", 456).expect("never fails");
        assert_eq!(text.as_bytes(), b"abc4");
    }

    #[test]
    fn control_characters_are_escaped() {
        assert_eq!(Shown(b"a\x1b[2J\xff").to_string(), "a\\x1b[2J\\xff");
    }

    #[test]
    fn numbers_are_read_after_spaces_and_bounded() {
        assert_eq!(number(b"  42 x"), Some((42, &b" x"[..])));
        assert_eq!(number(b"x"), None);
        assert_eq!(number(b"99999999999999999999999"), None);
    }
}
