//! What networkers give ([`loam_garden_wire`]), and what is asked of it beyond its form.

use loam_garden_wire::UpAnswer;
use serde_json::Value;

use super::error::NetworkerError;
use crate::result::is_word;

/// The error for what an action gave.
pub(super) fn form(action: &'static str) -> impl Fn(String) -> NetworkerError {
    move |what| NetworkerError::Form { action, what }
}

/// Reads what `up` gave. Search domains become words of a line.
pub(super) fn up(answer: Option<&Value>) -> Result<UpAnswer, NetworkerError> {
    let answer = UpAnswer::read(answer).map_err(form("up"))?;
    match answer.search_domains.iter().find(|domain| !is_word(domain)) {
        Some(domain) => Err(form("up")(format!("search domain `{}` is no name", loam_model::shown(domain)))),
        None => Ok(answer),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn answers_that_can_t_be_used_are_told() {
        for (answer, said) in [
            (json!([]), "it is no object"),
            (
                json!({"search_domains": ["a\nnameserver 192.0.2.1"]}),
                "search domain `a\\nnameserver 192.0.2.1` is no name",
            ),
        ] {
            let expected = format!("what action `up` gave can't be used: {said}");
            assert_eq!(up(Some(&answer)).expect_err(said).to_string(), expected);
        }
        assert_eq!(up(None).expect("nothing"), UpAnswer::default());
    }
}
