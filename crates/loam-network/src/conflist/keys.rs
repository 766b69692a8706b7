//! The keys of a list beside its plugins.

use loam_cni::protocol::Version;
use serde_json::{Map, Value};

use super::{ConflistError, invalid};

/// A text; empty when it is absent.
pub(super) fn text<'a>(object: &'a Map<String, Value>, key: &str) -> Result<&'a str, ConflistError> {
    match object.get(key) {
        None | Some(Value::Null) => Ok(""),
        Some(Value::String(text)) => Ok(text),
        Some(_) => Err(invalid(format!("`{key}` is not a text"))),
    }
}

/// Yes or no, also as a text in any case; no when it is absent.
pub(super) fn flag(object: &Map<String, Value>, key: &str) -> Result<bool, ConflistError> {
    match object.get(key) {
        None | Some(Value::Null) => Ok(false),
        Some(Value::Bool(flag)) => Ok(*flag),
        Some(Value::String(text)) if text.eq_ignore_ascii_case("true") => Ok(true),
        Some(Value::String(text)) if text.eq_ignore_ascii_case("false") => Ok(false),
        Some(_) => Err(invalid(format!("`{key}` is neither true nor false"))),
    }
}

/// The versions of `cniVersion` and `cniVersions` that we know, the newest first.
pub(super) fn versions(object: &Map<String, Value>) -> Result<Vec<Version>, ConflistError> {
    let single = text(object, "cniVersion")?;
    let several = match object.get("cniVersions") {
        None | Some(Value::Null) => {
            return Version::parse(single).map(|one| vec![one]).map_err(ConflistError::Protocol);
        }
        Some(Value::Array(several)) => several,
        Some(_) => return Err(invalid("`cniVersions` is not a list")),
    };
    let mut known = Vec::new();
    for value in several {
        let text = value.as_str().ok_or_else(|| invalid("a version is not a text"))?;
        if !is_version(text) {
            return Err(invalid(format!("`{}` is not a version", text.escape_default())));
        }
        known.extend(Version::parse(text).ok());
    }
    known.extend(Version::parse(single).ok().filter(|_| !single.is_empty()));
    known.sort_unstable_by(|one, other| other.cmp(one));
    known.dedup();
    Ok(known)
}

/// Whether a text is three numbers with dots between.
fn is_version(text: &str) -> bool {
    let parts: Vec<&str> = text.split('.').collect();
    parts.len() == 3 && parts.iter().all(|part| part.bytes().all(|b| b.is_ascii_digit()) && !part.is_empty())
}
