//! What a person gets to read of a refusal.

use loam_model::Failure;

/// The longest sentence, with all its causes. Names of strangers are cut at 300 characters, and some escape to six each.
const LONGEST: usize = 8192;

/// Panics unless a refusal is a sentence that is fit for a terminal.
pub(crate) fn check(failure: &Failure) {
    check_text(&failure.chain());
    if let Some(hint) = failure.hint_text() {
        check_text(hint);
    }
}

/// The same for a text.
pub(crate) fn check_text(text: &str) {
    assert!(!text.trim().is_empty(), "a refusal says nothing");
    assert!(text.len() <= LONGEST, "a refusal has {} bytes: {text:.200}…", text.len());
    let bad = text.chars().find(|character| character.is_control());
    assert!(bad.is_none(), "a refusal holds the control character {bad:?}: {text:?}");
}
