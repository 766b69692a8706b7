//! `loam diff` and `loam image diff`: what has changed, as Docker and Podman print it.

use std::path::Path;

use clap::Args;
use loam_model::{ChangeKind, FileChange, TreeOf, escaped};
use serde::Serialize;

use super::{FormatFlag, Outcome};
use crate::exit::Exit;
use crate::output;
use crate::wiring::Wiring;

/// What the engine puts into a container's root file system, besides its mounts.
const MADE_HERE: [&str; 6] = ["/dev", "/proc", "/sys", "/etc/hosts", "/etc/hostname", "/etc/resolv.conf"];

/// The flags of `diff`.
#[derive(Args, Debug)]
pub(crate) struct Diff {
    #[command(flatten)]
    format: FormatFlag,
    /// A name or id
    container: String,
}

/// The flags of `image diff`.
#[derive(Args, Debug)]
pub(crate) struct DiffImage {
    #[command(flatten)]
    format: FormatFlag,
    /// A name or id; alone, what its topmost layer has changed is shown
    image: String,
    /// The image that is compared with it: what has changed from the first to the second is shown
    other: Option<String>,
}

/// Podman's form of the same. Names that are not UTF-8 show U+FFFD.
#[derive(Debug, Default, PartialEq, Serialize)]
struct Lists {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    changed: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    added: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    deleted: Vec<String>,
}

impl Diff {
    pub(super) fn run(self, wiring: &Wiring) -> Outcome {
        let detail = wiring.engine()?.inspect(&self.container)?;
        let mounts = detail.spec.mounts.iter().map(|mount| mount.target.as_str());
        let passed_over: Vec<&Path> = MADE_HERE.into_iter().chain(mounts).map(Path::new).collect();
        let (image, container) = (TreeOf::Image(&detail.image.id), TreeOf::Container(&detail.id));
        print(&wiring.trees()?.changes(image, container, &passed_over)?, &self.format)
    }
}

impl DiffImage {
    pub(super) fn run(self, wiring: &Wiring) -> Outcome {
        let store = wiring.images()?;
        let image = store.resolve(&self.image)?.id;
        let other = self.other.map(|name| store.resolve(&name)).transpose()?.map(|image| image.id);
        let (before, after) = match &other {
            None => (TreeOf::BelowTopOf(&image), TreeOf::Image(&image)),
            Some(other) => (TreeOf::Image(&image), TreeOf::Image(other)),
        };
        print(&wiring.trees()?.changes(before, after, &[])?, &self.format)
    }
}

fn print(changes: &[FileChange], format: &FormatFlag) -> Outcome {
    if format.is_json() {
        output::print_json(&lists(changes))?;
    } else {
        output::print(&changes.iter().map(line).collect::<String>())?;
    }
    Ok(Exit::SUCCESS)
}

fn line(change: &FileChange) -> String {
    format!("{} {}\n", change.kind.letter(), escaped(&String::from_utf8_lossy(&change.path)))
}

fn lists(changes: &[FileChange]) -> Lists {
    let mut lists = Lists::default();
    for change in changes {
        let list = match change.kind {
            ChangeKind::Added => &mut lists.added,
            ChangeKind::Changed => &mut lists.changed,
            ChangeKind::Deleted => &mut lists.deleted,
        };
        list.push(String::from_utf8_lossy(&change.path).into_owned());
    }
    lists
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_letter_and_a_path_for_people_and_lists_for_programs() {
        let change = |kind, path: &str| FileChange { kind, path: path.as_bytes().to_vec() };
        let changes = [change(ChangeKind::Changed, "/etc"), change(ChangeKind::Added, "/etc/a\nb")];
        assert_eq!(changes.iter().map(line).collect::<String>(), "C /etc\nA /etc/a\\nb\n");
        let json = serde_json::to_string(&lists(&changes)).expect("JSON");
        assert_eq!(json, r#"{"changed":["/etc"],"added":["/etc/a\nb"]}"#);
    }
}
