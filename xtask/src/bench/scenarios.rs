//! What is measured: each scenario over all engines.

mod exec;
mod memory;
mod pull;
mod rounds;
mod starts;

use std::path::Path;

use anyhow::Result;

use super::Options;
use super::arena::{Arena, Disk};
use super::peers::{self, Net, Peer, REGISTRY};
use super::report::Report;
use super::store;
use crate::fixtures;
use crate::shell::note;
use exec::exec;
use memory::memory;
use pull::pull;
pub(super) use rounds::measure;
use rounds::rounds;
use starts::starts;

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
    let mut contenders = prepare(present, &disk, &registry, &mut report)?;
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

/// Makes a place for each engine, with a registry beside it. The report names versions, and those that can't be made ready.
fn prepare(
    present: Vec<Box<dyn Peer>>,
    disk: &Disk,
    registry: &Path,
    report: &mut Report,
) -> Result<Vec<Contender>> {
    let mut contenders = Vec::new();
    for peer in present {
        note(&format!("making a place for {}", peer.name()));
        let mut arena = Arena::make(peer.name(), &disk.mount)?;
        arena.beside(&fixtures::registry_command(registry, REGISTRY, &arena.state)?)?;
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
    Ok(contenders)
}
