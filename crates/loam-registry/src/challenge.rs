//! `WWW-Authenticate`: how a registry wants to be logged in to (RFC 9110, section 11.6.1).

use reqwest::Url;
use reqwest::header::{HeaderMap, WWW_AUTHENTICATE};

/// A way to log in that we know.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Challenge {
    /// User name and password with every request.
    Basic,
    /// A token from a token service.
    Bearer(TokenPlace),
}

/// Where tokens come from, and what for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct TokenPlace {
    /// The token service.
    pub(crate) realm: Url,
    /// The registry's name for itself.
    pub(crate) service: Option<String>,
    /// What the token shall allow.
    pub(crate) scope: String,
}

/// Scopes with further ones: each resource once, with all actions that are wanted for it.
pub(crate) fn join_scopes(scopes: &str, further: &[String]) -> String {
    let mut joined: Vec<(&str, Vec<&str>)> = Vec::new();
    let words = scopes.split(' ').chain(further.iter().map(String::as_str));
    for word in words.filter(|word| !word.is_empty()) {
        let (resource, actions) = word.rsplit_once(':').unwrap_or((word, ""));
        let position = joined.iter().position(|(known, _)| *known == resource).unwrap_or_else(|| {
            joined.push((resource, Vec::new()));
            joined.len() - 1
        });
        for action in actions.split(',') {
            if !joined[position].1.contains(&action) {
                joined[position].1.push(action);
            }
        }
    }
    let words: Vec<String> =
        joined.iter().map(|(resource, actions)| format!("{resource}:{}", actions.join(","))).collect();
    words.join(" ")
}

/// The best challenge of an answer, Bearer before Basic; `scope` is for those that name none. An error is the reason
/// why there is none, in words.
pub(crate) fn choose(headers: &HeaderMap, scope: &str) -> Result<Challenge, String> {
    let values = headers.get_all(WWW_AUTHENTICATE).iter().filter_map(|value| value.to_str().ok());
    let offers: Vec<Offer> = values.flat_map(offers).collect();
    if let Some(offer) = offers.iter().find(|offer| offer.scheme.eq_ignore_ascii_case("bearer")) {
        return bearer(offer, scope).map(Challenge::Bearer);
    }
    if offers.iter().any(|offer| offer.scheme.eq_ignore_ascii_case("basic")) {
        return Ok(Challenge::Basic);
    }
    match offers.first() {
        Some(offer) => {
            Err(format!("`{}` is neither Basic nor Bearer", crate::error::printable(&offer.scheme, 30)))
        }
        None => Err("it does not say how".to_owned()),
    }
}

fn bearer(offer: &Offer, scope: &str) -> Result<TokenPlace, String> {
    let realm = offer.parameter("realm").ok_or("it names no token service")?;
    let mut realm = Url::parse(realm).map_err(|_| "the token service's address is not valid")?;
    if !matches!(realm.scheme(), "http" | "https")
        || realm.set_username("").is_err()
        || realm.set_password(None).is_err()
    {
        return Err("the token service is not reached by HTTP".to_owned());
    }
    realm.set_fragment(None);
    Ok(TokenPlace {
        realm,
        service: offer.parameter("service").map(str::to_owned),
        scope: offer.parameter("scope").filter(|scope| !scope.is_empty()).unwrap_or(scope).to_owned(),
    })
}

/// One challenge: a scheme and its parameters.
#[derive(Debug, Default, PartialEq)]
struct Offer {
    scheme: String,
    parameters: Vec<(String, String)>,
}

impl Offer {
    fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }
}

/// Reads a header value: challenges and their parameters are both separated by commas, so a word followed by a word
/// begins a challenge, and a word followed by `=` is a parameter of the last one.
fn offers(value: &str) -> Vec<Offer> {
    let mut offers: Vec<Offer> = Vec::new();
    let mut rest = value;
    loop {
        rest = rest.trim_start_matches([' ', '\t', ',']);
        let (word, after) = rest.split_at(rest.find(|c: char| !is_token(c)).unwrap_or(rest.len()));
        if word.is_empty() {
            return offers;
        }
        match (after.trim_start().strip_prefix('='), offers.last_mut()) {
            (Some(text), Some(offer)) => {
                let (parameter, after) = parameter_value(text.trim_start());
                offer.parameters.push((word.to_ascii_lowercase(), parameter));
                rest = after;
            }
            _ => {
                offers.push(Offer { scheme: word.to_owned(), parameters: Vec::new() });
                rest = after;
            }
        }
    }
}

/// Reads a word or a quoted string, and gives what follows it.
fn parameter_value(text: &str) -> (String, &str) {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find([',', ' ', '\t']).unwrap_or(text.len());
        return (text[..end].to_owned(), &text[end..]);
    };
    let mut value = String::new();
    let mut characters = quoted.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return (value, &quoted[at + 1..]),
            '\\' => value.extend(characters.next().map(|(_, escaped)| escaped)),
            other => value.push(other),
        }
    }
    (value, "")
}

fn is_token(character: char) -> bool {
    character.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(character)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use reqwest::header::HeaderValue;

    use super::*;

    fn chosen(values: &[&str]) -> Result<Challenge, String> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(WWW_AUTHENTICATE, HeaderValue::from_str(value).expect("valid header"));
        }
        choose(&headers, "repository:a/b:pull")
    }

    fn place(realm: &str, service: Option<&str>, scope: &str) -> Challenge {
        let realm = Url::parse(realm).expect("valid URL");
        Challenge::Bearer(TokenPlace { realm, service: service.map(str::to_owned), scope: scope.to_owned() })
    }

    #[test]
    fn bearer_is_preferred_wherever_it_stands() {
        let whole =
            r#"Bearer realm="https://auth.example/token?a=b",service="s.example",scope="repository:x:pull""#;
        let expected = place("https://auth.example/token?a=b", Some("s.example"), "repository:x:pull");
        for values in [
            &[whole][..],
            &[r#"Basic realm="x, y""#, whole][..],
            &[format!("Basic realm=\"z\", {whole}").as_str()][..],
        ] {
            assert_eq!(chosen(values), Ok(expected.clone()), "{values:?}");
        }
    }

    #[test]
    fn a_challenge_without_scope_gets_the_repositorys() {
        assert_eq!(
            chosen(&["bearer REALM=https://auth.example/token"]),
            Ok(place("https://auth.example/token", None, "repository:a/b:pull"))
        );
    }

    #[test]
    fn the_rest_is_refused_with_a_reason() {
        assert_eq!(chosen(&["Basic realm=x"]), Ok(Challenge::Basic));
        assert_eq!(chosen(&["Negotiate"]), Err("`Negotiate` is neither Basic nor Bearer".to_owned()));
        assert_eq!(chosen(&[]), Err("it does not say how".to_owned()));
        assert_eq!(chosen(&["Bearer service=x"]), Err("it names no token service".to_owned()));
        assert!(chosen(&["Bearer realm=\"file:///etc/passwd\""]).is_err());
    }

    #[test]
    fn scopes_are_joined_by_resource() {
        let further = ["repository:a:pull,push".to_owned(), "repository:b:pull".to_owned()];
        assert_eq!(join_scopes("repository:a:pull", &further), "repository:a:pull,push repository:b:pull");
        assert_eq!(join_scopes("", &further[1..]), "repository:b:pull");
        assert_eq!(join_scopes("registry:catalog:*", &[]), "registry:catalog:*");
    }

    #[test]
    fn escapes_in_quotes_are_undone() {
        let found = offers(r#"Bearer realm="a\"b,c" , x = y"#);
        assert_eq!(found[0].parameter("realm"), Some("a\"b,c"));
        assert_eq!(found[0].parameter("x"), Some("y"));
    }

    proptest! {
        #[test]
        fn no_header_makes_it_panic_or_hang(value in "\\PC{0,100}") {
            let _offers = offers(&value);
        }
    }
}
