//! `loam image history`.

use clap::Args;
use jiff::Timestamp;
use loam_model::{ErrorKind, Failure};
use serde::{Deserialize, Serialize};

use super::super::{FormatFlag, Outcome};
use crate::exit::Exit;
use crate::table::{Table, cut};
use crate::wiring::Wiring;
use crate::{human, output};

/// The widest that the command of a step is shown.
const COMMAND_WIDTH: usize = 60;

/// The flags of `image history`.
#[derive(Args, Debug)]
pub(crate) struct History {
    /// Print commands whole
    #[arg(long)]
    no_trunc: bool,
    #[command(flatten)]
    format: FormatFlag,
    /// A name or id
    image: String,
}

/// A step of the making of an image (image specification, config.md, `history`).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
struct Step {
    created: Option<String>,
    created_by: Option<String>,
    author: Option<String>,
    comment: Option<String>,
    empty_layer: bool,
    /// Bytes of the layer that the step made.
    #[serde(skip_deserializing)]
    size: u64,
    /// Its diff id.
    #[serde(skip_deserializing)]
    layer: Option<String>,
}

#[derive(Deserialize)]
struct Steps {
    #[serde(default)]
    history: Option<Vec<Step>>,
}

impl History {
    pub(super) fn run(self, wiring: &Wiring) -> Outcome {
        let store = wiring.images()?;
        let image = store.resolve(&self.image)?;
        let layers: Vec<(String, u64)> = wiring
            .upkeep()?
            .layers(&image.id)?
            .into_iter()
            .map(|layer| (layer.diff_id.to_string(), layer.size))
            .collect();
        let steps = steps(&store.raw_config(&image.id)?, &layers).map_err(|error| {
            let what = format!("the history of image `{}` can't be read", self.image);
            Failure::new(ErrorKind::Internal, what).caused_by(error)
        })?;
        if self.format.is_json() {
            output::print_json(&steps)?;
        } else {
            output::print(&table(&steps, Timestamp::now(), self.no_trunc))?;
        }
        Ok(Exit::SUCCESS)
    }
}

/// The steps, the last first, as people want to see them. Layers that no step speaks of get one each.
fn steps(config: &[u8], layers: &[(String, u64)]) -> serde_json::Result<Vec<Step>> {
    let mut steps = serde_json::from_slice::<Steps>(config)?.history.unwrap_or_default();
    let mut layers = layers.iter();
    for step in steps.iter_mut().filter(|step| !step.empty_layer) {
        if let Some((diff_id, size)) = layers.next() {
            (step.layer, step.size) = (Some(diff_id.clone()), *size);
        }
    }
    steps.extend(layers.map(|(diff_id, size)| Step {
        layer: Some(diff_id.clone()),
        size: *size,
        ..Step::default()
    }));
    steps.reverse();
    Ok(steps)
}

fn table(steps: &[Step], now: Timestamp, whole: bool) -> String {
    let mut table = Table::new(&["CREATED", "CREATED BY", "SIZE", "COMMENT"]);
    for step in steps {
        let command = step.created_by.as_deref().unwrap_or("<unknown>");
        // Lines and runs of spaces, which builders leave in, say nothing here.
        let command = command.split_whitespace().collect::<Vec<_>>().join(" ");
        table.row([
            step.created.as_deref().map_or_else(|| "unknown".to_owned(), |time| human::ago(time, now)),
            if whole { command } else { cut(&command, COMMAND_WIDTH) },
            human::bytes(step.size),
            step.comment.clone().unwrap_or_default(),
        ]);
    }
    table.render()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: &str = "2026-01-31T12:00:00Z";

    fn layers(sizes: &[u64]) -> Vec<(String, u64)> {
        sizes.iter().enumerate().map(|(index, size)| (format!("sha256:{index}"), *size)).collect()
    }

    #[test]
    fn a_line_for_each_step_the_last_first() {
        let config = br#"{"history": [
            {"created": "2026-01-01T00:00:00Z", "created_by": "/bin/sh -c #(nop) ADD\n   file:1 in / ", "comment": "base"},
            {"created": "2026-01-30T00:00:00Z", "created_by": "CMD [\"sh\"]", "empty_layer": true},
            {"created_by": "RUN apt-get update && apt-get install --yes something-with-a-long-name"}
        ]}"#;
        let steps = steps(config, &layers(&[1 << 20, 2048, 1])).expect("history");
        insta::assert_snapshot!(table(&steps, NOW.parse().expect("a time"), false), @r#"
        CREATED      CREATED BY                                                    SIZE     COMMENT
        unknown      <unknown>                                                     1 B
        unknown      RUN apt-get update && apt-get install --yes something-with-…  2.0 KiB
        1 day ago    CMD ["sh"]                                                    0 B
        1 month ago  /bin/sh -c #(nop) ADD file:1 in /                             1.0 MiB  base
        "#);
    }

    #[test]
    fn an_image_without_history_has_its_layers() {
        for config in ["{}", r#"{"history": null}"#] {
            let steps = steps(config.as_bytes(), &layers(&[5, 6])).expect("no history");
            assert_eq!(steps.iter().map(|step| step.size).collect::<Vec<_>>(), [6, 5], "{config}");
        }
        assert!(steps(b"{", &[]).is_err());
    }
}
