//! What a store of images costs: making containers, deep images, many images, and getting rid of them.

use std::collections::BTreeMap;

use anyhow::Result;

use super::measure::Row;
use super::scenarios::{Contender, measure};
use crate::shell::note;

/// The layers of the deep image: the most that overlayfs takes.
const DEPTH: usize = 500;
/// The images that are pruned.
const PRUNED: usize = 200;
/// The sizes of a growing store, in images.
const SIZES: [usize; 3] = [1, 100, 1000];

/// Containers made from the small image, and from one of 500 layers.
pub(super) fn creations(rounds: usize, contenders: &mut [Contender]) -> Result<Vec<Row>> {
    let mut rows = pairs("create", rounds, contenders, |contender| {
        contender.peer.create(&contender.arena, &contender.peer.small())
    });
    note(&format!("an image of {DEPTH} layers"));
    let mut failures = BTreeMap::new();
    for contender in contenders.iter_mut() {
        let Some(load) = contender.peer.load(&contender.arena, "deep") else { continue };
        let line = format!("{} && {load}", deep_layout(&contender.arena.state.display().to_string()));
        if let Err(error) = contender.arena.sh(&line) {
            failures.insert(contender.peer.name(), format!("{error:#}"));
        }
    }
    let scenario = format!("create, {DEPTH} layers");
    rows.extend(pairs(&scenario, rounds, contenders, |contender| {
        if failures.contains_key(contender.peer.name()) {
            return None;
        }
        contender.peer.create(&contender.arena, "deep")
    }));
    for (name, failure) in failures {
        let mut row = Row::new(&scenario, name);
        row.missing = Some(failure);
        rows.push(row);
    }
    Ok(rows)
}

/// Makes a layout `deep` of an image with many small layers, by umoci.
fn deep_layout(state: &str) -> String {
    format!(
        "cd {state} && rm -rf deep && umoci init --layout deep && umoci new --image deep:deep && \
         for i in $(seq {DEPTH}); do mkdir -p l && echo $i > l/f$i && tar -C l -cf l.tar f$i && rm l/f$i && \
         umoci raw add-layer --image deep:deep l.tar; done && \
         umoci config --image deep:deep --config.cmd true"
    )
}

/// Getting rid of many images that nothing needs.
pub(super) fn pruning(contenders: &mut [Contender]) -> Result<Vec<Row>> {
    let scenario = format!("prune {PRUNED} images");
    note(&scenario);
    let mut rows = Vec::new();
    for contender in contenders.iter_mut() {
        let (Some(import), Some(prune)) =
            (contender.peer.import(&contender.arena), contender.peer.prune(&contender.arena))
        else {
            continue;
        };
        let mut row = Row::new(&scenario, contender.peer.name());
        // A container keeps the small image, which other scenarios need.
        let small = contender.peer.small();
        let Some((keep, release)) = contender.peer.create(&contender.arena, &small) else { continue };
        let made = contender.arena.sh(&format!("{keep} && {}", imports(&import, 0, PRUNED)));
        match made.and_then(|_| measure(&mut contender.arena, &prune, 1, 1)) {
            Ok((wall, cpu)) => {
                row.wall.push(wall);
                row.cpu.push(cpu);
            }
            Err(error) => row.missing = Some(format!("{error:#}")),
        }
        contender.arena.sh(&release)?;
        rows.push(row);
    }
    Ok(rows)
}

/// Whether making a container takes longer in a store of many images. Importing a thousand takes the others many minutes.
pub(super) fn growth(rounds: usize, contenders: &mut [Contender]) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    let mut there = 0;
    for size in SIZES {
        for contender in contenders.iter_mut().filter(|contender| contender.peer.name() == "loam") {
            let Some(import) = contender.peer.import(&contender.arena) else { continue };
            contender.arena.sh(&imports(&import, there, size - 1))?;
        }
        there = size - 1;
        let scenario = format!("create, {size} images in the store");
        rows.extend(pairs(&scenario, rounds, contenders, |contender| {
            let image = contender.peer.small();
            (contender.peer.name() == "loam")
                .then(|| contender.peer.create(&contender.arena, &image))
                .flatten()
        }));
    }
    Ok(rows)
}

/// Imports images of a file each, numbered from `from` up to `until`.
fn imports(import: &str, from: usize, until: usize) -> String {
    let import = import.replace("{}", "$i");
    format!(
        "cd /tmp && for i in $(seq {} {until}); do echo $i > image-$i && tar -cf image-$i.tar image-$i && \
         {import} < image-$i.tar >/dev/null || exit 1; rm image-$i image-$i.tar; done",
        from + 1
    )
}

/// Measures one command line an engine, each followed by another that takes back what it made.
fn pairs(
    scenario: &str,
    count: usize,
    contenders: &mut [Contender],
    commands: impl Fn(&Contender) -> Option<(String, String)>,
) -> Vec<Row> {
    note(&format!("{scenario}: {count} rounds"));
    let mut rows: BTreeMap<&str, Row> = BTreeMap::new();
    for round in 0..=count {
        for contender in contenders.iter_mut() {
            let name = contender.peer.name();
            let Some((line, back)) = commands(contender) else { continue };
            let row = rows.entry(name).or_insert_with(|| Row::new(scenario, name));
            if row.missing.is_some() {
                continue;
            }
            match measure(&mut contender.arena, &line, 1, 1) {
                Ok((wall, cpu)) if round > 0 => {
                    row.wall.push(wall);
                    row.cpu.push(cpu);
                }
                Ok(_) => {}
                Err(error) => row.missing = Some(format!("{error:#}")),
            }
            if let Err(error) = contender.arena.sh(&back) {
                row.missing.get_or_insert(format!("{error:#}"));
            }
        }
    }
    rows.into_values().collect()
}
