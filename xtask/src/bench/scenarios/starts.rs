//! Many starts, some of them at once.

use anyhow::Result;

use super::Contender;
use super::rounds::measure;
use crate::bench::measure::Row;
use crate::bench::peers::Net;
use crate::shell::note;

/// Fifty containers on a bridge network, one after another and four at a time.
pub(super) fn starts(contenders: &mut [Contender]) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for (scenario, parallel) in [("50 starts, 1 at a time", 1), ("50 starts, 4 at a time", 4)] {
        note(scenario);
        for contender in contenders.iter_mut() {
            let name = contender.peer.name();
            if !contender.peer.is_engine() {
                continue;
            }
            let Some((start, remove)) = contender.peer.stay(&contender.arena, Net::Bridge) else { continue };
            let mut row = Row::new(scenario, name);
            match measure(&mut contender.arena, &start, parallel, 50) {
                Ok((wall, cpu)) => {
                    row.wall.push(wall);
                    row.cpu.push(cpu);
                }
                Err(error) => row.missing = Some(format!("{error:#}")),
            }
            rows.push(row);
            for number in 0..50 {
                let removed = contender.arena.sh(&remove.replace("{}", &number.to_string()));
                if removed.is_err() && number == 0 {
                    note(&format!("{name} could not remove what it started"));
                }
            }
        }
    }
    Ok(rows)
}
