//! Lists of options, `KEY[=VALUE],…`, as they stand in mounts.

use loam_model::shown;

use super::Parsed;

/// The options of a list, in order: key, and value if there is one.
pub(super) fn list(text: &str) -> impl Iterator<Item = (&str, Option<&str>)> {
    let options = text.split(',').filter(|option| !option.is_empty());
    options.map(|option| match option.split_once('=') {
        Some((key, value)) => (key, Some(value)),
        None => (option, None),
    })
}

/// The value that an option must have.
pub(super) fn needed<'a>(key: &str, value: Option<&'a str>) -> Parsed<&'a str> {
    value.filter(|value| !value.is_empty()).ok_or_else(|| format!("the option `{key}` needs a value"))
}

/// A switch: without a value it is on.
pub(super) fn switch(key: &str, value: Option<&str>) -> Parsed<bool> {
    match value {
        None | Some("true" | "1") => Ok(true),
        Some("false" | "0") => Ok(false),
        Some(_) => Err(format!("the option `{key}` is true or false")),
    }
}

/// What is said of an option that is not known.
pub(super) fn unknown<T>(key: &str) -> Parsed<T> {
    Err(format!("the option `{}` is not known", shown(key)))
}
