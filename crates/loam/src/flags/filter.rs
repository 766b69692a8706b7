//! `ps --filter KEY=VALUE`.

use std::str::FromStr;

use loam_engine::ContainerSummary;
use loam_model::{Digest, Failure};

/// One filter of a list of containers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Filter {
    /// `name=TEXT`: the name contains it.
    Name(String),
    /// `id=DIGITS`: the id begins with them.
    Id(String),
    /// `label=KEY[=VALUE]`.
    Label(String, Option<String>),
    /// `status=STATE`.
    Status(String),
    /// `ancestor=IMAGE`: the image as the spec named it, or, once that is known, the id of the image of that name.
    Ancestor(String, Option<Digest>),
}

impl Filter {
    /// Whether a container passes.
    pub(crate) fn accepts(&self, container: &ContainerSummary) -> bool {
        match self {
            Filter::Name(text) => container.name.as_str().contains(text.as_str()),
            Filter::Id(text) => container.id.as_str().starts_with(text.as_str()),
            Filter::Label(key, value) => match (container.labels.get(key), value) {
                (Some(found), Some(value)) => found == value,
                (found, None) => found.is_some(),
                (None, Some(_)) => false,
            },
            Filter::Status(text) => container.state.as_str() == text,
            Filter::Ancestor(text, id) => {
                container.image == *text || id.as_ref() == Some(&container.image_id)
            }
        }
    }

    /// Looks up what the filter names: several names, and each beginning of an id, stand for one image.
    pub(crate) fn look_up(
        &mut self,
        image: impl FnOnce(&str) -> Result<Option<Digest>, Failure>,
    ) -> Result<(), Failure> {
        if let Filter::Ancestor(name, id) = self {
            *id = image(name)?;
        }
        Ok(())
    }

    /// Whether containers pass that do not run, so that they are to be listed too.
    pub(crate) fn wants_stopped(&self) -> bool {
        matches!(self, Filter::Status(_))
    }
}

impl FromStr for Filter {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        const STATES: [&str; 7] =
            ["creating", "created", "starting", "running", "paused", "stopped", "removing"];
        let (key, value) = text.split_once('=').ok_or("a filter is KEY=VALUE")?;
        let owned = || value.to_owned();
        match key {
            "name" => Ok(Filter::Name(owned())),
            "id" => Ok(Filter::Id(owned())),
            "ancestor" => Ok(Filter::Ancestor(owned(), None)),
            "label" => Ok(match value.split_once('=') {
                Some((key, value)) => Filter::Label(key.to_owned(), Some(value.to_owned())),
                None => Filter::Label(owned(), None),
            }),
            // Docker's word.
            "status" if value == "exited" => Ok(Filter::Status("stopped".to_owned())),
            "status" if STATES.contains(&value) => Ok(Filter::Status(owned())),
            "status" => Err(format!("a status is one of {}, or exited for stopped", STATES.join(", "))),
            _ => Err("containers can be filtered by name, id, label, status and ancestor".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_are_a_key_and_a_value() {
        for (text, expected) in [
            ("name=web", Filter::Name("web".into())),
            ("label=a", Filter::Label("a".into(), None)),
            ("label=a=b=c", Filter::Label("a".into(), Some("b=c".into()))),
            ("status=exited", Filter::Status("stopped".into())),
        ] {
            assert_eq!(text.parse(), Ok(expected), "{text}");
        }
        for text in ["", "name", "status=well", "colour=red"] {
            assert!(text.parse::<Filter>().is_err(), "{text}");
        }
    }
}
