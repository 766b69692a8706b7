//! `loam system check`.

use clap::Args;
use loam_model::{CheckedLayer, Failure, LayerState, RepairedLayer, escaped};
use serde::Serialize;

use super::{FormatFlag, Outcome};
use crate::exit::Exit;
use crate::flags::RegistryFlags;
use crate::wiring::Wiring;
use crate::{output, progress};

/// The flags of `system check`.
#[derive(Args, Debug)]
pub(crate) struct Check {
    /// Say nothing of layers that are whole
    #[arg(short, long)]
    quiet: bool,
    /// Fetch damaged layers again, from the registries that the names of their images say
    ///
    /// A container that runs on a damaged layer keeps the files that it has until it is started again; then it has the new
    /// ones. Exits with 1 when a layer stays damaged.
    #[arg(long)]
    repair: bool,
    #[command(flatten)]
    registry: RegistryFlags,
    #[command(flatten)]
    format: FormatFlag,
}

/// How many layers came out how.
#[derive(Debug, Default, PartialEq, Serialize)]
struct Count {
    whole: u64,
    unverifiable: u64,
    damaged: u64,
}

impl Count {
    fn add(&mut self, layer: &CheckedLayer) {
        match layer.state {
            LayerState::Whole => self.whole += 1,
            LayerState::Unverifiable => self.unverifiable += 1,
            LayerState::Damaged { .. } => self.damaged += 1,
        }
    }
}

/// A layer, and what became of it.
#[derive(Debug, Serialize)]
struct Looked {
    #[serde(flatten)]
    layer: CheckedLayer,
    #[serde(skip_serializing_if = "Option::is_none")]
    repair: Option<Repair>,
}

/// What came of a repair.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Repair {
    Done(RepairedLayer),
    Failed(String),
}

impl Check {
    pub(super) fn run(self, wiring: &Wiring) -> Outcome {
        let (mut count, mut layers) = (Count::default(), Vec::new());
        wiring.upkeep()?.check(&mut |layer| {
            count.add(layer);
            if !self.format.is_json() && (!self.quiet || layer.state != LayerState::Whole) {
                output::print_line(&line(layer))?;
            }
            layers.push(Looked { layer: layer.clone(), repair: None });
            Ok(())
        })?;
        let repaired = if self.repair { self.repair(wiring, &mut layers)? } else { 0 };
        if self.format.is_json() {
            output::print_json(&layers)?;
        } else {
            let Count { whole, unverifiable, damaged } = count;
            let end = if self.repair { format!(", {repaired} repaired") } else { String::new() };
            output::print_line(&format!(
                "{whole} whole, {unverifiable} can't be verified, {damaged} damaged{end}"
            ))?;
        }
        Ok(if count.damaged == repaired { Exit::SUCCESS } else { Exit::FOUND_WRONG })
    }

    /// Repairs what is damaged; gives how many layers are whole again.
    fn repair(&self, wiring: &Wiring, layers: &mut [Looked]) -> Result<u64, Failure> {
        let is_damaged = |looked: &&mut Looked| matches!(looked.layer.state, LayerState::Damaged { .. });
        let damaged: Vec<_> =
            layers.iter_mut().filter(is_damaged).map(|looked| looked.layer.diff_id.clone()).collect();
        let mut repaired = 0;
        let options = self.registry.options();
        let progress = progress::shown();
        wiring.upkeep()?.repair(&damaged, &options, progress.as_ref(), &mut |diff_id, outcome| {
            let repair = match outcome {
                Ok(layer) => {
                    repaired += 1;
                    Repair::Done(layer)
                }
                Err(failure) => Repair::Failed(failure.chain()),
            };
            if !self.format.is_json() {
                output::print_line(&repair_line(diff_id.short(), &repair))?;
            }
            if let Some(looked) = layers.iter_mut().find(|looked| looked.layer.diff_id == *diff_id) {
                looked.repair = Some(repair);
            }
            Ok(())
        })?;
        Ok(repaired)
    }
}

fn repair_line(id: &str, repair: &Repair) -> String {
    match repair {
        Repair::Failed(cause) => format!("{id}  not repaired: {}", escaped(cause)),
        Repair::Done(layer) => {
            let containers = layer.containers.iter().map(|id| format!("`{}`", id.short()));
            let mounts = layer.mounts.iter().map(|id| format!("the mounted image `{}`", id.short()));
            let users: Vec<String> = containers.chain(mounts).collect();
            let end = match users.is_empty() {
                true => String::new(),
                false => format!(
                    "; until started or mounted again, {} may have the damaged files",
                    users.join(", ")
                ),
            };
            format!("{id}  repaired from {}{end}", escaped(&layer.source))
        }
    }
}

fn line(layer: &CheckedLayer) -> String {
    let id = layer.diff_id.short();
    let images = layer.images.iter().map(|image| image.short()).collect::<Vec<_>>().join(", ");
    match &layer.state {
        LayerState::Whole => format!("{id}  whole"),
        LayerState::Unverifiable => format!("{id}  can't be verified: its archive replaced files of its own"),
        LayerState::Damaged { cause } => format!("{id}  damaged, of image {images}: {cause}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn damage_names_the_images() {
        let digest = |digit: &str| format!("sha256:{}", digit.repeat(64)).parse().expect("a digest");
        let state = LayerState::Damaged { cause: "its files have the digest `x`".to_owned() };
        let layer = CheckedLayer { diff_id: digest("1"), images: vec![digest("a"), digest("b")], state };
        assert_eq!(
            line(&layer),
            "111111111111  damaged, of image aaaaaaaaaaaa, bbbbbbbbbbbb: its files have the digest `x`"
        );
        let repaired = RepairedLayer { source: "r/x".to_owned(), ..RepairedLayer::default() };
        assert_eq!(repair_line("1", &Repair::Done(repaired.clone())), "1  repaired from r/x");
        let containers = vec![loam_model::ContainerId::from_random([1; 32])];
        let line = repair_line("1", &Repair::Done(RepairedLayer { containers, ..repaired }));
        assert!(
            line.ends_with("; until started or mounted again, `010101010101` may have the damaged files")
        );
        assert_eq!(repair_line("1", &Repair::Failed("x".to_owned())), "1  not repaired: x");
        let mut count = Count::default();
        count.add(&layer);
        assert_eq!(count, Count { damaged: 1, ..Count::default() });
    }
}
