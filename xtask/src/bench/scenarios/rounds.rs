//! Measuring a command line: round by round over all engines, and once.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};

use super::Contender;
use crate::bench::arena::Arena;
use crate::bench::measure::Row;
use crate::bench::runner::Request;
use crate::shell::note;

/// Measures one command line an engine, a warm-up first, then round by round.
pub(super) fn rounds(
    scenario: &str,
    count: usize,
    contenders: &mut [Contender],
    command: impl Fn(&Contender) -> Option<String>,
) -> Result<Vec<Row>> {
    note(&format!("{scenario}: {count} rounds"));
    let mut rows: BTreeMap<&str, Row> = BTreeMap::new();
    for round in 0..=count {
        for contender in contenders.iter_mut() {
            let name = contender.peer.name();
            let Some(line) = command(contender) else { continue };
            let row = rows.entry(name).or_insert_with(|| Row::new(scenario, name));
            if row.missing.is_some() {
                continue;
            }
            let measured = measure(&mut contender.arena, &line, 1, 1);
            match measured {
                Ok((wall, cpu)) if round > 0 => {
                    row.wall.push(wall);
                    row.cpu.push(cpu);
                }
                Ok(_) => {}
                Err(error) => row.missing = Some(format!("{error:#}")),
            }
        }
    }
    Ok(rows.into_values().collect())
}

/// Runs a command line `total` times, `parallel` at a time; wall and CPU time in milliseconds.
pub(in crate::bench) fn measure(
    arena: &mut Arena,
    line: &str,
    parallel: usize,
    total: usize,
) -> Result<(f64, f64)> {
    let before = arena.settled_cpu_us()?;
    // The shell that expands the line replaces itself with a single command.
    let exec =
        if line.contains("&&") || line.contains(';') { line.to_owned() } else { format!("exec {line}") };
    let request = Request { argv: vec!["sh".into(), "-c".into(), exec], parallel, total, background: false };
    let answer = arena.ask(&request)?;
    ensure!(answer.code == 0, "`{line}` failed with {}: {}", answer.code, last_line(&answer.output));
    let after = arena.settled_cpu_us()?;
    Ok((milliseconds(answer.wall_us), milliseconds(after - before)))
}

fn last_line(text: &str) -> &str {
    text.trim_end().lines().last().unwrap_or_default()
}

#[expect(clippy::cast_precision_loss, reason = "microseconds of a few minutes are exact in 53 bits")]
fn milliseconds(microseconds: u64) -> f64 {
    microseconds as f64 / 1000.0
}
