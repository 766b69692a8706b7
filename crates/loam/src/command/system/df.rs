//! `loam system df`.

use clap::{Args, ValueEnum};
use loam_model::StoreUsage;
use serde::Serialize;

use super::Outcome;
use crate::exit::Exit;
use crate::table::Table;
use crate::wiring::Wiring;
use crate::{human, output};

/// The flags of `system df`.
#[derive(Args, Debug)]
pub(crate) struct Df {
    /// Print a table, json, or prometheus (its text format)
    #[arg(
        long,
        short = 'o',
        visible_alias = "format",
        value_name = "FORMAT",
        default_value = "table",
        hide_possible_values = true
    )]
    output: Form,
}

/// In which form the figures are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Form {
    /// For people
    Table,
    /// For programs
    Json,
    /// For Prometheus
    Prometheus,
}

/// The figures as programs get them.
#[derive(Serialize)]
struct Figures {
    #[serde(flatten)]
    usage: StoreUsage,
    committed_bytes: u64,
}

impl Df {
    pub(super) fn run(self, wiring: &Wiring) -> Outcome {
        let usage = wiring.upkeep()?.usage()?;
        match self.output {
            Form::Table => output::print(&table(&usage))?,
            Form::Json => {
                let committed_bytes = usage.committed_bytes();
                output::print_json(&Figures { usage, committed_bytes })?;
            }
            Form::Prometheus => output::print(&prometheus(&usage))?,
        }
        Ok(Exit::SUCCESS)
    }
}

fn table(usage: &StoreUsage) -> String {
    let mut table = Table::new(&["TYPE", "TOTAL", "IN USE", "SIZE", "RECLAIMABLE"]);
    table.row([
        "Images".to_owned(),
        usage.images.to_string(),
        usage.images_in_use.to_string(),
        human::bytes(usage.layer_bytes),
        human::bytes(usage.reclaimable_bytes),
    ]);
    table.row([
        "Containers".to_owned(),
        usage.snapshots.to_string(),
        String::new(),
        human::bytes(usage.snapshot_bytes),
    ]);
    format!(
        "{}\n{} committed to layers and disk limits, {} of it to disk limits; {} of {} are free\n",
        table.render(),
        human::bytes(usage.committed_bytes()),
        human::bytes(usage.limit_bytes),
        human::bytes(usage.available_bytes),
        human::bytes(usage.capacity_bytes),
    )
}

/// The text format of Prometheus, version 0.0.4.
fn prometheus(usage: &StoreUsage) -> String {
    let figures = [
        ("images", "Images in the store.", usage.images),
        ("images_in_use", "Images that a container stands on.", usage.images_in_use),
        ("layers", "Layers, each counted once.", usage.layers),
        ("layer_bytes", "Bytes of all layers.", usage.layer_bytes),
        ("reclaimable_bytes", "Bytes of layers that nothing needs.", usage.reclaimable_bytes),
        ("snapshots", "Writable file systems of containers.", usage.snapshots),
        ("snapshot_bytes", "Bytes that containers have written.", usage.snapshot_bytes),
        (
            "walked_snapshots",
            "Writable file systems that nothing counts, so that they are walked.",
            usage.walked_snapshots,
        ),
        ("limit_bytes", "Sum of the containers' disk limits.", usage.limit_bytes),
        ("committed_bytes", "Bytes of layers and disk limits.", usage.committed_bytes()),
        ("capacity_bytes", "Bytes of the store's file system.", usage.capacity_bytes),
        ("available_bytes", "Bytes of it that are free.", usage.available_bytes),
    ];
    let line = |(name, help, value): (&str, &str, u64)| {
        format!(
            "# HELP loam_store_{name} {help}\n# TYPE loam_store_{name} gauge\nloam_store_{name} {value}\n"
        )
    };
    figures.into_iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn usage() -> StoreUsage {
        StoreUsage {
            images: 3,
            images_in_use: 1,
            layers: 7,
            layer_bytes: 300 << 20,
            reclaimable_bytes: 100 << 20,
            snapshots: 2,
            snapshot_bytes: 5 << 20,
            walked_snapshots: 1,
            limit_bytes: 2 << 30,
            capacity_bytes: 20 << 30,
            available_bytes: 15 << 30,
        }
    }

    #[test]
    fn people_see_a_table_and_a_sentence() {
        insta::assert_snapshot!(table(&usage()), @r"
        TYPE        TOTAL  IN USE  SIZE       RECLAIMABLE
        Images      3      1       300.0 MiB  100.0 MiB
        Containers  2              5.0 MiB

        2.2 GiB committed to layers and disk limits, 2.0 GiB of it to disk limits; 15.0 GiB of 20.0 GiB are free
        ");
    }

    #[test]
    fn prometheus_gets_a_gauge_for_each_figure() {
        let text = prometheus(&usage());
        assert_eq!(text.lines().count(), 36);
        assert!(
            text.ends_with(
                "# TYPE loam_store_available_bytes gauge\nloam_store_available_bytes 16106127360\n"
            )
        );
    }
}
