//! What is measured: each scenario's rounds over all engines.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Result, ensure};

use super::Options;
use super::arena::{Arena, Disk};
use super::measure::Row;
use super::peers::{self, Net, Peer, REGISTRY};
use super::report::Report;
use super::runner::Request;
use super::store;
use crate::fixtures;
use crate::shell::note;

/// An engine in its place.
pub(super) struct Contender {
    pub(super) peer: Box<dyn Peer>,
    pub(super) arena: Arena,
}

/// Runs every scenario that is wanted.
pub(crate) fn measure_all(options: &Options, programs: &Path, directory: &Path) -> Result<Report> {
    let disk = Disk::make(directory)?;
    let registry = fixtures::registry_storage()?;
    let (present, missing) = peers::present(&options.engines, programs);
    let mut report = Report::new(missing);
    let mut contenders = Vec::new();
    for peer in present {
        note(&format!("making a place for {}", peer.name()));
        let mut arena = Arena::make(peer.name(), &disk.mount)?;
        arena.beside(&fixtures::registry_command(&registry, REGISTRY, &arena.state)?)?;
        arena.sh(&format!(
            "for i in $(seq 100); do curl -sf http://{REGISTRY}/v2/ >/dev/null && exit 0; sleep 0.05; done; exit 1"
        ))?;
        peers::configure(&arena)?;
        match peer.prepare(&mut arena) {
            Ok(()) => {
                report.versions.insert(peer.name().to_owned(), peer.version());
                contenders.push(Contender { peer, arena });
            }
            Err(error) => report.missing.push(format!("{} ({error:#})", peer.name())),
        }
    }
    for (name, net) in [("run-none", Net::None), ("run-bridge", Net::Bridge)] {
        if options.wants(name) {
            let commands = |c: &Contender| c.peer.run(&c.arena, net);
            report.rows.extend(rounds(name, options.rounds, &mut contenders, commands)?);
        }
    }
    if options.wants("exec") {
        report.rows.extend(exec(options.rounds, &mut contenders)?);
    }
    if options.wants("starts") {
        report.rows.extend(starts(&mut contenders)?);
    }
    if options.wants("memory") {
        report.rows.extend(memory(&mut contenders)?);
    }
    if options.wants("create") {
        report.rows.extend(store::creations(options.rounds, &mut contenders)?);
    }
    if options.wants("prune") {
        report.rows.extend(store::pruning(&mut contenders)?);
    }
    if options.wants("growth") {
        report.rows.extend(store::growth(options.rounds, &mut contenders)?);
    }
    // The last: it takes the images away.
    if options.wants("pull") {
        for image in fixtures::BENCHMARK_IMAGES.iter().filter(|image| options.wants_image(image)) {
            report.rows.extend(pull(image, (options.rounds / 5).max(3), &mut contenders)?);
        }
    }
    Ok(report)
}

/// Measures one command line an engine, a warm-up first, then round by round.
fn rounds(
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
pub(super) fn measure(arena: &mut Arena, line: &str, parallel: usize, total: usize) -> Result<(f64, f64)> {
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

fn exec(count: usize, contenders: &mut [Contender]) -> Result<Vec<Row>> {
    for contender in contenders.iter_mut().filter(|contender| contender.peer.exec(&contender.arena).is_some())
    {
        if let Some((start, _)) = contender.peer.stay(&contender.arena, Net::None) {
            // One that can't be started has no figures for exec, and says why there.
            let _said_later = contender.arena.sh(&start.replace("{}", "0")).is_err();
        }
    }
    let rows = rounds("exec", count, contenders, |c| c.peer.exec(&c.arena));
    for contender in contenders.iter_mut().filter(|contender| contender.peer.exec(&contender.arena).is_some())
    {
        if let Some((_, remove)) = contender.peer.stay(&contender.arena, Net::None) {
            let _said_before = contender.arena.sh(&remove.replace("{}", "0")).is_err();
        }
    }
    rows
}

/// Fifty containers on a bridge network, one after another and four at a time.
fn starts(contenders: &mut [Contender]) -> Result<Vec<Row>> {
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

fn pull(image: &str, count: usize, contenders: &mut [Contender]) -> Result<Vec<Row>> {
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

/// What an engine itself takes for each idle container: the proportional set size of everything in the arena beyond
/// what was there before, less the containers' own processes.
fn memory(contenders: &mut [Contender]) -> Result<Vec<Row>> {
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

fn last_line(text: &str) -> &str {
    text.trim_end().lines().last().unwrap_or_default()
}

#[expect(clippy::cast_precision_loss, reason = "microseconds of a few minutes are exact in 53 bits")]
fn milliseconds(microseconds: u64) -> f64 {
    microseconds as f64 / 1000.0
}
