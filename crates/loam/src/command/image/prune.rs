//! `loam image prune`.

use std::time::Duration;

use clap::Args;
use loam_model::{PruneRequest, Pruned, StoreShare, escaped};

use super::super::{FormatFlag, Outcome};
use crate::exit::Exit;
use crate::flags::{parse_duration, parse_share};
use crate::wiring::Wiring;
use crate::{human, output};

/// The flags of `image prune`.
#[derive(Args, Debug)]
pub(crate) struct Prune {
    /// Also images that have a name; without it, only those whose name another image took
    #[arg(short, long)]
    all: bool,
    /// Only images that were neither pulled nor used for so long, such as 36h or 30d
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    unused_for: Option<Duration>,
    /// Only as long as layers and the containers' disk limits take more than this, such as 20g, or 80% of the file system
    #[arg(long, value_name = "SIZE|PERCENT", value_parser = parse_share)]
    threshold: Option<StoreShare>,
    /// For scripts written for other engines: nothing is asked either way
    #[arg(short, long)]
    force: bool,
    #[command(flatten)]
    format: FormatFlag,
}

impl Prune {
    pub(super) fn run(self, wiring: &Wiring) -> Outcome {
        let Self { all: named, unused_for, threshold, .. } = self;
        let pruned = wiring.upkeep()?.prune(&PruneRequest { named, unused_for, threshold })?;
        if self.format.is_json() {
            output::print_json(&pruned)?;
        } else {
            output::print(&text(&pruned))?;
        }
        Ok(Exit::SUCCESS)
    }
}

fn text(pruned: &Pruned) -> String {
    let untagged = pruned.untagged.iter().map(|name| format!("untagged {}\n", escaped(name)));
    let deleted = pruned.deleted.iter().map(|id| format!("deleted {id}\n"));
    let end = format!("{} reclaimed\n", human::bytes(pruned.bytes));
    untagged.chain(deleted).chain([end]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_went_is_named() {
        let id = format!("sha256:{}", "a".repeat(64));
        let pruned = Pruned {
            untagged: vec!["mine:1".to_owned()],
            deleted: vec![id.parse().expect("a digest")],
            layers: Vec::new(),
            bytes: 2048,
        };
        assert_eq!(text(&pruned), format!("untagged mine:1\ndeleted {id}\n2.0 KiB reclaimed\n"));
        assert_eq!(text(&Pruned::default()), "0 B reclaimed\n");
    }
}
