//! `images --filter KEY=VALUE`.

use std::mem::discriminant;
use std::str::FromStr;

use loam_model::ImageSummary;

use super::image_pattern::ImagePattern;

/// One filter of a list of images.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ImageFilter {
    /// `dangling=BOOLEAN`: no name points to it, or one does.
    Dangling(bool),
    /// `reference=NAME`.
    Reference(ImagePattern),
}

impl ImageFilter {
    /// Whether an image passes all kinds of filters; of several of one kind, one suffices, as Docker has it.
    pub(crate) fn accept(filters: &[Self], image: &ImageSummary) -> bool {
        let is_like = |one: &Self, other: &Self| discriminant(one) == discriminant(other);
        filters.iter().all(|kind| {
            filters.iter().filter(|filter| is_like(kind, filter)).any(|filter| filter.accepts(image))
        })
    }

    /// Whether an image passes.
    fn accepts(&self, image: &ImageSummary) -> bool {
        match self {
            ImageFilter::Dangling(dangling) => image.name.is_none() == *dangling,
            ImageFilter::Reference(pattern) => {
                image.name.as_deref().is_some_and(|name| pattern.accepts(name))
            }
        }
    }
}

impl FromStr for ImageFilter {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('=') {
            None => Err("a filter is KEY=VALUE".to_owned()),
            Some(("dangling", "true" | "1")) => Ok(ImageFilter::Dangling(true)),
            Some(("dangling", "false" | "0")) => Ok(ImageFilter::Dangling(false)),
            Some(("dangling", _)) => Err("dangling is true or false".to_owned()),
            Some(("reference", name)) => Ok(ImageFilter::Reference(name.parse()?)),
            Some(_) => Err("images can be filtered by dangling and reference".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_are_a_key_and_a_value() {
        for text in ["dangling=true", "dangling=0", "reference=debian:*"] {
            assert!(text.parse::<ImageFilter>().is_ok(), "{text}");
        }
        for text in ["", "dangling", "dangling=maybe", "reference=", "before=debian"] {
            assert!(text.parse::<ImageFilter>().is_err(), "{text}");
        }
    }
}
