//! The scenarios that each contender has a worker of its own for, with namespaces of its own.
//!
//! Growth's attachments all go when it ends, which is faster than to detach each. With the first rules on what containers may reach
//! chains come that every packet passes from then on, so that nothing may be measured behind them.

use super::figures::Figures;
use super::process;
use super::{Bench, BenchError, start};
use crate::plan::Scenario;
use crate::report::{GrowthRow, Outcome, Report, RulesRow};
use crate::scenario::growth::Growth;
use crate::scenario::rules::{Bulk, RULES};
use crate::worker::{Prepared, Task};

/// Those that are measured here.
pub(super) const APART: [Scenario; 2] = [Scenario::Growth, Scenario::Rules];

/// Growth of every list and contender that were fit.
pub(super) fn growth(
    bench: &Bench,
    fit: &[(usize, String)],
    report: &mut Report,
    note: &mut dyn FnMut(&str),
) -> Result<(), BenchError> {
    for (index, name) in fit {
        let list = &bench.lists[*index];
        note(&format!("{}: growth of {name}", list.name()));
        let Some(contender) = bench.contenders.iter().find(|one| one.name == *name) else { continue };
        let mut worker = start(bench, contender)?;
        let grown = worker
            .ask::<Prepared>(*index, Task::Prepare)
            .and_then(|_| worker.ask::<Growth>(*index, Task::Growth))
            .unwrap_or_else(|failure| Growth { points: Vec::new(), failure: Some(failure) });
        drop(worker);
        let reached = grown.points.last().map_or(0, |point| point.present);
        std::thread::sleep(process::TEARDOWN * u32::try_from(reached).unwrap_or_default());
        report.growth.push(GrowthRow {
            list: list.name().to_owned(),
            contender: name.clone(),
            points: grown.points,
            outcome: Outcome { failure: grown.failure },
        });
    }
    Ok(())
}

/// Rules of the contenders that have any: our own functions. They are of no list: they are measured with the first.
pub(super) fn rules(
    bench: &Bench,
    fit: &[(usize, String)],
    report: &mut Report,
    note: &mut dyn FnMut(&str),
) -> Result<(), BenchError> {
    note("rules");
    for (index, name) in fit.iter().filter(|(index, _)| *index == 0) {
        let contender = bench.contenders.iter().find(|one| one.name == *name);
        let Some(contender) = contender.filter(|one| one.is_in_process()) else { continue };
        let mut worker = start(bench, contender)?;
        let mut figures = [Figures::default(), Figures::default()];
        let mut failure = worker.ask::<Prepared>(*index, Task::Prepare).err();
        // The first round warms up.
        for round in 0..=bench.plan.rounds {
            if failure.is_some() {
                break;
            }
            match worker.ask::<Bulk>(*index, Task::Rules) {
                Ok(bulk) if round > 0 => {
                    figures[0].push(bulk.first);
                    figures[1].push(bulk.again);
                }
                Ok(_) => {}
                Err(reason) => failure = Some(reason),
            }
        }
        drop(worker);
        std::thread::sleep(process::TEARDOWN);
        for (container, figures) in ["first", "with the same rules"].into_iter().zip(figures) {
            report.rules.push(RulesRow {
                contender: name.clone(),
                rules: RULES,
                container: container.to_owned(),
                wall: figures.wall.summary(),
                cpu: figures.cpu.summary(),
                samples: figures.wall,
                outcome: Outcome { failure: failure.clone() },
            });
        }
    }
    Ok(())
}
