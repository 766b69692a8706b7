//! `loam system check`.

use clap::Args;
use loam_model::{CheckedLayer, LayerState};
use serde::Serialize;

use super::{FormatFlag, Outcome};
use crate::exit::Exit;
use crate::output;
use crate::wiring::Wiring;

/// The flags of `system check`.
#[derive(Args, Debug)]
pub(crate) struct Check {
    /// Say nothing of layers that are whole
    #[arg(short, long)]
    quiet: bool,
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

impl Check {
    pub(super) fn run(self, wiring: &Wiring) -> Outcome {
        let (mut count, mut layers) = (Count::default(), Vec::new());
        wiring.upkeep()?.check(&mut |layer| {
            count.add(layer);
            if self.format.is_json() {
                layers.push(layer.clone());
            } else if !self.quiet || layer.state != LayerState::Whole {
                output::print_line(&line(layer))?;
            }
            Ok(())
        })?;
        if self.format.is_json() {
            output::print_json(&layers)?;
        } else {
            let Count { whole, unverifiable, damaged } = count;
            output::print_line(&format!(
                "{whole} whole, {unverifiable} can't be verified, {damaged} damaged"
            ))?;
        }
        Ok(if count.damaged == 0 { Exit::SUCCESS } else { Exit::FOUND_WRONG })
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
        let mut count = Count::default();
        count.add(&layer);
        assert_eq!(count, Count { damaged: 1, ..Count::default() });
    }
}
