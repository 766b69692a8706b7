//! The kernel's words for its errors, as a sentence needs them.

use std::borrow::Cow;

/// How the standard library ends the kernel's words.
const BEGIN: &str = " (os error ";

/// A text without the numbers that the standard library puts behind the kernel's words (`No such file or directory (os
/// error 2)`): they tell a person nothing. What is quoted is left as it is, as far as a quote ends right behind it.
pub fn without_error_numbers(text: &str) -> Cow<'_, str> {
    if !text.contains(BEGIN) {
        return Cow::Borrowed(text);
    }
    let mut said = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(BEGIN) {
        let (words, number) = rest.split_at(at);
        said.push_str(words);
        rest = match behind_number(&number[BEGIN.len()..]) {
            Some(behind) => behind,
            None => {
                said.push_str(BEGIN);
                &number[BEGIN.len()..]
            }
        };
    }
    said.push_str(rest);
    Cow::Owned(said)
}

/// What follows a number and its parenthesis, when that is what the text begins with.
fn behind_number(text: &str) -> Option<&str> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let behind = text[digits..].strip_prefix(')')?;
    let ends = behind.is_empty() || behind.starts_with([':', ';', ',', '.', ')', ' ', '\n']);
    (digits > 0 && ends).then_some(behind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_behind_the_kernel_s_words_are_left_out() {
        let error = std::io::Error::from_raw_os_error(2);
        assert_eq!(without_error_numbers(&error.to_string()), "No such file or directory");
        let errno = rustix::io::Errno::PERM;
        for (text, expected) in [
            (format!("`x` can't be read: {error}"), "`x` can't be read: No such file or directory"),
            (format!("a: {error}; b: {errno}"), "a: No such file or directory; b: Operation not permitted"),
            (
                format!("failed ({errno}): {error}\n"),
                "failed (Operation not permitted): No such file or directory\n",
            ),
            ("said (os error x)".to_owned(), "said (os error x)"),
            ("said (os error )".to_owned(), "said (os error )"),
            ("`a (os error 2)` is a name".to_owned(), "`a (os error 2)` is a name"),
            (String::new(), ""),
        ] {
            assert_eq!(without_error_numbers(&text), expected);
        }
    }
}
