//! Keys that an object of a configuration has twice, of which readers of JSON take one or the other.

use std::collections::BTreeSet;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};

/// The first key that the object under a key of the configuration has twice; `None` for what is no such object.
pub(crate) fn repeated_key(configuration: &[u8], object: &str) -> Option<String> {
    let mut found = None;
    let mut text = serde_json::Deserializer::from_slice(configuration);
    // What is not JSON is refused elsewhere.
    drop(text.deserialize_map(Outer { object, found: &mut found }));
    found
}

struct Outer<'a> {
    object: &'a str,
    found: &'a mut Option<String>,
}

impl<'de> Visitor<'de> for Outer<'_> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut seen = BTreeSet::new();
        while let Some(key) = map.next_key::<String>()? {
            if key == self.object {
                map.next_value_seed(Inner { seen: &mut seen, found: self.found })?;
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(())
    }
}

struct Inner<'a> {
    seen: &'a mut BTreeSet<String>,
    found: &'a mut Option<String>,
}

impl<'de> DeserializeSeed<'de> for Inner<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Inner<'_> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key::<String>()? {
            map.next_value::<IgnoredAny>()?;
            if !self.seen.insert(key.clone()) {
                self.found.get_or_insert(key);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_that_come_twice_are_found() {
        let found = |text: &str| repeated_key(text.as_bytes(), "sysctl");
        assert_eq!(found(r#"{"sysctl":{"a":"1","b":"2","a":"1"}}"#).as_deref(), Some("a"));
        assert_eq!(found(r#"{"sysctl":{"a":"1"},"x":1,"sysctl":{"a":"2"}}"#).as_deref(), Some("a"));
        for fine in [r#"{"sysctl":{"a":"1"},"x":{"a":1,"a":2}}"#, r#"{"sysctl":3}"#, "[]", "{", ""] {
            assert_eq!(found(fine), None, "{fine}");
        }
    }
}
