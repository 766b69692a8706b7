//! What differs from one tree to another.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use loam_model::{ChangeKind, FileChange, Result};
use rustix::fs::FileType;

use super::same::{Side, is_same};
use super::stack::{Entry, Listing, Place, Stack};
use crate::pack::join;

/// Compares two trees. Directories that both have from the same layers are not looked into.
pub(super) fn compare(before: &Stack, after: &Stack, passed_over: &[&Path]) -> Result<Vec<FileChange>> {
    let passed_over = passed_over.iter().filter_map(|path| path.as_os_str().as_bytes().strip_prefix(b"/"));
    let mut comparison =
        Comparison { before, after, passed_over: passed_over.collect(), changes: BTreeMap::new() };
    let mut waiting = vec![(Some(before.root()), after.root())];
    while let Some((old, new)) = waiting.pop() {
        if old.as_ref().is_some_and(|old| before.is_same(old, after, &new)) {
            continue;
        }
        comparison.directory(old.as_ref(), &new, &mut waiting)?;
    }
    let full = |path: Vec<u8>| [b"/", &path[..]].concat();
    Ok(comparison.changes.into_iter().map(|(path, kind)| FileChange { path: full(path), kind }).collect())
}

/// Directories that are still to be compared; what was not there before has only the second.
type Waiting = Vec<(Option<Place>, Place)>;

struct Comparison<'a> {
    before: &'a Stack,
    after: &'a Stack,
    passed_over: Vec<&'a [u8]>,
    changes: BTreeMap<Vec<u8>, ChangeKind>,
}

impl Comparison<'_> {
    fn directory(&mut self, old: Option<&Place>, new: &Place, waiting: &mut Waiting) -> Result<()> {
        let olds = old.map_or_else(|| Ok(Listing::empty()), |old| self.before.list(old))?;
        let news = self.after.list(new)?;
        for (was, is) in pairs(&olds.entries, &news.entries) {
            let name = was.or(is).map(|entry| &entry.name[..]).unwrap_or_default();
            let path = join(&new.path, name);
            if self.passed_over.contains(&&path[..]) {
                continue;
            }
            let place = is.and_then(|is| is.place(new));
            match (was, is) {
                (Some(was), Some(is)) => {
                    let before = old.and_then(|old| was.place(old));
                    let sides = (
                        Side { stack: self.before, listing: &olds, entry: was, place: before.as_ref() },
                        Side { stack: self.after, listing: &news, entry: is, place: place.as_ref() },
                    );
                    if !is_same(&path, &sides.0, &sides.1)? {
                        self.note(&path, ChangeKind::Changed);
                    }
                    waiting.extend(place.map(|place| (before, place)));
                }
                (None, Some(is)) if is.kind() != FileType::Socket => {
                    self.note(&path, ChangeKind::Added);
                    waiting.extend(place.map(|place| (None, place)));
                }
                (Some(_), None) => self.note(&path, ChangeKind::Deleted),
                (None, _) => {}
            }
        }
        Ok(())
    }

    /// Takes note of a change, and that the directories above it have changed.
    fn note(&mut self, path: &[u8], kind: ChangeKind) {
        self.changes.insert(path.to_vec(), kind);
        let mut rest = path;
        while let Some(slash) = rest.iter().rposition(|byte| *byte == b'/') {
            rest = &rest[..slash];
            if self.changes.contains_key(rest) {
                break;
            }
            self.changes.insert(rest.to_vec(), ChangeKind::Changed);
        }
    }
}

/// Pairs the entries of two directories by their names.
fn pairs<'a>(olds: &'a [Entry], news: &'a [Entry]) -> Vec<(Option<&'a Entry>, Option<&'a Entry>)> {
    let (mut olds, mut news) = (olds.iter().peekable(), news.iter().peekable());
    let mut pairs = Vec::new();
    loop {
        let order = match (olds.peek(), news.peek()) {
            (None, None) => return pairs,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(old), Some(new)) => old.name.cmp(&new.name),
        };
        let old = if order == Ordering::Greater { None } else { olds.next() };
        let new = if order == Ordering::Less { None } else { news.next() };
        pairs.push((old, new));
    }
}
