//! Pulls from the registry beside each engine.

use std::collections::BTreeMap;

use anyhow::Result;

use super::Contender;
use super::rounds::measure;
use crate::bench::measure::Row;
use crate::shell::note;

/// Pulls an image in each round and makes the store forget it; the largest process is measured too.
pub(super) fn pull(image: &str, count: usize, contenders: &mut [Contender]) -> Result<Vec<Row>> {
    let scenario = format!("pull {image}");
    note(&format!("{scenario}: {count} rounds"));
    let mut rows: BTreeMap<&str, Row> = BTreeMap::new();
    for _round in 0..count {
        for contender in contenders.iter_mut() {
            let name = contender.peer.name();
            let Some((pull, forget)) = contender.peer.pull(&contender.arena, image) else { continue };
            let row = rows.entry(name).or_insert_with(|| Row::new(&scenario, name));
            if row.missing.is_some() {
                continue;
            }
            let peak = contender.arena.state.join("peak");
            let timed = format!("/usr/bin/time -f %M -o {} sh -c '{pull}'", peak.display());
            match measure(&mut contender.arena, &timed, 1, 1) {
                Ok((wall, cpu)) => {
                    row.wall.push(wall);
                    row.cpu.push(cpu);
                    let text = std::fs::read_to_string(&peak).unwrap_or_default();
                    if let Some(kib) = text.lines().last().and_then(|line| line.trim().parse::<f64>().ok()) {
                        row.peak_mib.push(kib / 1024.0);
                    }
                }
                Err(error) => row.missing = Some(format!("{error:#}")),
            }
            contender
                .arena
                .sh(&format!("{forget} >/dev/null 2>&1; sync -f {}", contender.arena.state.display()))?;
        }
    }
    Ok(rows.into_values().collect())
}
