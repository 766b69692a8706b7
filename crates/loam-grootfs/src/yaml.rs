//! YAML as the JSON that it stands for. Of the parsers that are kept up this one is small and brings no others.

use serde_json::{Map, Value};
use yaml_rust2::{Yaml, YamlLoader};

/// Reads a document; an empty one is `null`. What JSON has no word for (a key that is no text) is left out.
pub(crate) fn read(text: &str) -> Result<Value, yaml_rust2::ScanError> {
    let documents = YamlLoader::load_from_str(text)?;
    Ok(documents.first().map_or(Value::Null, value))
}

fn value(yaml: &Yaml) -> Value {
    match yaml {
        Yaml::Boolean(boolean) => Value::Bool(*boolean),
        Yaml::Integer(number) => Value::from(*number),
        Yaml::Real(text) => text.parse::<f64>().map_or_else(|_| Value::from(text.as_str()), Value::from),
        Yaml::String(text) => Value::from(text.as_str()),
        Yaml::Array(items) => items.iter().map(value).collect(),
        Yaml::Hash(pairs) => {
            let pair = |(key, item): (&Yaml, &Yaml)| Some((key.as_str()?.to_owned(), value(item)));
            Value::Object(pairs.iter().filter_map(pair).collect::<Map<_, _>>())
        }
        Yaml::Null | Yaml::BadValue | Yaml::Alias(_) => Value::Null,
    }
}
