//! `--env`, `--env-file`, `--label` and `--label-file`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::Args;
use loam_model::{Failure, LabelMap, shown};

use super::Parsed;
use super::words::read_text;

/// The flags that set environment variables.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct EnvironmentFlags {
    /// Set an environment variable; without a value it is taken from here
    #[arg(short = 'e', long = "env", value_name = "KEY[=VALUE]")]
    pub(crate) variables: Vec<String>,
    /// Read environment variables from a file, one a line
    #[arg(long, value_name = "FILE")]
    pub(crate) env_file: Vec<PathBuf>,
}

impl EnvironmentFlags {
    /// All variables, files first; one without a value that is not set here either is left out.
    pub(crate) fn collect(&self) -> Result<Vec<String>, Failure> {
        let here = |key: &str| std::env::var(key).ok();
        let mut variables = Vec::new();
        for file in &self.env_file {
            let text = read_text("environment file", file)?;
            for line in lines(&text) {
                variables.extend(variable(line, here).map_err(|sentence| in_file(file, &sentence))?);
            }
        }
        for text in &self.variables {
            variables.extend(variable(text, here).map_err(invalid)?);
        }
        Ok(variables)
    }
}

/// Joins labels from files and flags; the last of a key wins.
pub(crate) fn labels(files: &[PathBuf], texts: &[String]) -> Result<LabelMap, Failure> {
    let mut labels = BTreeMap::new();
    for file in files {
        for line in lines(&read_text("label file", file)?) {
            labels.extend([label(line).map_err(|sentence| in_file(file, &sentence))?]);
        }
    }
    for text in texts {
        labels.extend([label(text).map_err(invalid)?]);
    }
    Ok(labels)
}

fn invalid(sentence: String) -> Failure {
    Failure::new(loam_model::ErrorKind::Invalid, sentence)
}

fn in_file(file: &std::path::Path, sentence: &str) -> Failure {
    invalid(format!("`{}` is not well formed: {sentence}", file.display()))
}

/// The lines of a file that say something.
fn lines(text: &str) -> impl Iterator<Item = &str> {
    let lines = text.lines().map(|line| line.trim_start_matches('\u{feff}').trim_start());
    lines.filter(|line| !line.is_empty() && !line.starts_with('#'))
}

/// One variable as `KEY=VALUE`; a bare key is looked up.
fn variable(text: &str, here: impl Fn(&str) -> Option<String>) -> Parsed<Option<String>> {
    let key = text.split('=').next().unwrap_or(text);
    if key.is_empty() || key.contains(char::is_whitespace) || text.contains('\0') {
        return Err(format!("`{}` is not KEY=VALUE or KEY", shown(text)));
    }
    if text.contains('=') {
        return Ok(Some(text.to_owned()));
    }
    Ok(here(key).map(|value| format!("{key}={value}")))
}

/// One label; without a value it is empty.
fn label(text: &str) -> Parsed<(String, String)> {
    let (key, value) = text.split_once('=').unwrap_or((text, ""));
    match key.is_empty() {
        true => Err(format!("`{}` is not a label: KEY[=VALUE]", shown(text))),
        false => Ok((key.to_owned(), value.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bare_key_is_looked_up() {
        let here = |key: &str| (key == "HERE").then(|| "1".to_owned());
        for (text, expected) in [
            ("A=b", Some("A=b")),
            ("A=", Some("A=")),
            ("A=b=c d", Some("A=b=c d")),
            ("HERE", Some("HERE=1")),
            ("GONE", None),
        ] {
            assert_eq!(variable(text, here), Ok(expected.map(str::to_owned)), "{text}");
        }
        for text in ["", "=x", "A B=1"] {
            assert!(variable(text, here).is_err(), "{text}");
        }
    }

    #[test]
    fn files_have_comments_and_empty_lines() {
        let text = "\u{feff}A=1\n\n  # no\n  B=2 # kept\n";
        assert_eq!(lines(text).collect::<Vec<_>>(), ["A=1", "B=2 # kept"]);
    }

    #[test]
    fn labels_may_be_empty() {
        let texts = ["a=1".to_owned(), "b".to_owned(), "a=2=3".to_owned()];
        let labels = labels(&[], &texts).expect("valid");
        assert_eq!(
            labels.into_iter().collect::<Vec<_>>(),
            [("a".into(), "2=3".into()), ("b".into(), String::new())]
        );
        assert!(label("=x").is_err());
    }
}
