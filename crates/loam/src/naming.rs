//! Failures of what has to do with a place: the registry or the files that are named in them may be those of many images.

use loam_model::{Failure, shown};

/// Puts a sentence before a failure, of what could not be done because of it, unless it names all of `words` itself.
pub(crate) fn naming<const N: usize>(
    words: [&str; N],
    sentence: impl FnOnce([String; N]) -> String,
) -> impl FnOnce(Failure) -> Failure {
    move |failure| {
        let (chain, words) = (failure.chain(), words.map(shown));
        if words.iter().all(|word| chain.contains(&format!("`{word}`"))) {
            return failure;
        }
        failure.within(sentence(words))
    }
}

#[cfg(test)]
mod tests {
    use loam_model::ErrorKind;

    use super::*;

    #[test]
    fn only_what_is_not_named_yet_is() {
        let said = |cause: &str| {
            let cause = Failure::new(ErrorKind::Unavailable, cause).hint("look at the network");
            let failure = naming(["r/a", "r/b"], |[a, b]| format!("`{a}` can't be copied to `{b}`"))(cause);
            assert_eq!(failure.hint_text(), Some("look at the network"));
            failure.chain()
        };
        assert_eq!(said("`r` can't be reached"), "`r/a` can't be copied to `r/b`: `r` can't be reached");
        assert_eq!(said("`r/b` is full"), "`r/a` can't be copied to `r/b`: `r/b` is full");
        assert_eq!(said("`r/a` and `r/b` differ"), "`r/a` and `r/b` differ");
    }
}
