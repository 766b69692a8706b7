//! The memory that engines take beside their containers.

use anyhow::Result;

use super::Contender;
use crate::bench::arena::Arena;
use crate::bench::measure::Row;
use crate::bench::peers::Net;
use crate::shell::note;

/// What an engine itself takes for each idle container: the proportional set size of everything in the arena beyond
/// what was there before, less the containers' own processes.
pub(super) fn memory(contenders: &mut [Contender]) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for contender in contenders.iter_mut() {
        let name = contender.peer.name();
        if !contender.peer.is_engine() {
            continue;
        }
        let Some((start, remove)) = contender.peer.stay(&contender.arena, Net::None) else { continue };
        note(&format!("memory of {name}"));
        let before = engine_pss_kib(&contender.arena);
        let mut started = 0;
        for count in [1, 50] {
            let scenario = format!("memory per container at {count}, KiB");
            let mut row = Row::new(&scenario, name);
            while started < count && row.missing.is_none() {
                match contender.arena.sh(&start.replace("{}", &started.to_string())) {
                    Ok(_) => started += 1,
                    Err(error) => row.missing = Some(format!("{error:#}")),
                }
            }
            contender.arena.settled_cpu_us()?;
            let share = (engine_pss_kib(&contender.arena) - before) / f64::from(count);
            if row.missing.is_none() {
                row.wall.push(share);
            }
            rows.push(row);
        }
        for number in 0..started {
            let removed = contender.arena.sh(&remove.replace("{}", &number.to_string()));
            if let (Err(error), 0) = (removed, number) {
                note(&format!("{name} could not remove what it started: {error:#}"));
            }
        }
    }
    rows.sort_by_key(|row: &Row| row.scenario.len());
    Ok(rows)
}

fn engine_pss_kib(arena: &Arena) -> f64 {
    let mut sum = 0.0;
    for pid in arena.pids() {
        let comm = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        if matches!(comm.trim(), "sleep" | "busybox" | "xtask") {
            continue;
        }
        let rollup = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
        let pss = rollup
            .lines()
            .find_map(|line| line.strip_prefix("Pss:")?.split_whitespace().next()?.parse::<f64>().ok());
        sum += pss.unwrap_or_default();
    }
    sum
}
