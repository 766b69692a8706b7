//! Asking the workers in turn, and putting what they say into the report.

mod apart;
mod figures;
mod process;
mod rounds;

use std::io;

use crate::contender::Contender;
use crate::list::MeasuredList;
use crate::plan::{Plan, Scenario};
use crate::report::{ContenderReport, Report, targets};
use crate::worker::{Prepared, Setup, Task};
use process::Worker;

/// Why nothing was measured.
#[derive(Debug, thiserror::Error)]
pub enum BenchError {
    /// Namespaces are root's to make.
    #[error("networks can be measured by root only")]
    NotRoot,
    /// There is nobody to measure.
    #[error("there is nothing to measure")]
    Nothing,
    /// A worker can't be started.
    #[error("starting the worker of `{0}` failed")]
    Start(String, #[source] io::Error),
}

/// How this program is executed again.
#[derive(Clone, Debug)]
pub struct Reentry {
    /// The arguments with which it calls [`crate::serve`].
    pub worker: Vec<String>,
    /// The arguments with which it calls [`crate::call_once`].
    pub caller: Vec<String>,
}

/// What is to be measured.
#[derive(Clone, Debug)]
pub struct Bench {
    /// Who is measured.
    pub contenders: Vec<Contender>,
    /// The contender that ratios are against.
    pub compared: Option<String>,
    /// The configuration lists.
    pub lists: Vec<MeasuredList>,
    /// How much is measured.
    pub plan: Plan,
    /// How this program is executed again.
    pub reentry: Reentry,
}

/// Measures; `note` is told what is going on.
pub fn run(bench: &Bench, note: &mut dyn FnMut(&str)) -> Result<Report, BenchError> {
    if !rustix::process::geteuid().is_root() {
        return Err(BenchError::NotRoot);
    }
    if bench.contenders.is_empty() || bench.lists.is_empty() {
        return Err(BenchError::Nothing);
    }
    let mut report = Report::empty(bench.plan.clone(), bench.compared.clone());
    let mut workers = bench.contenders.iter().map(|one| start(bench, one)).collect::<Result<Vec<_>, _>>()?;
    let mut fit = Vec::new();
    for (index, list) in bench.lists.iter().enumerate() {
        note(&format!("{}: preparing", list.name()));
        let mut able: Vec<&mut Worker> = Vec::new();
        for worker in &mut workers {
            let row = prepare(worker, index, list, &mut report.uncounted);
            if row.failure.is_none() {
                fit.push((index, worker.name.clone()));
                able.push(worker);
            }
            report.contenders.push(row);
        }
        rounds::measure(bench, index, &mut able, &mut report, note);
        for worker in able {
            // What it could not remove goes with it.
            let _goes_with_the_worker = worker.ask::<()>(index, Task::Retire).is_err();
        }
    }
    drop(workers);
    if bench.plan.wants(Scenario::Rules) {
        apart::rules(bench, &fit, &mut report, note)?;
    }
    if bench.plan.wants(Scenario::Growth) {
        apart::growth(bench, &fit, &mut report, note)?;
    }
    report.targets = targets::judge(&report);
    Ok(report)
}

fn start(bench: &Bench, contender: &Contender) -> Result<Worker, BenchError> {
    let setup = Setup {
        contender: contender.clone(),
        lists: bench.lists.clone(),
        plan: bench.plan.clone(),
        caller: bench.reentry.caller.clone(),
    };
    Worker::start(&bench.reentry.worker, &setup)
        .map_err(|error| BenchError::Start(contender.name.clone(), error))
}

fn prepare(
    worker: &mut Worker,
    index: usize,
    list: &MeasuredList,
    uncounted: &mut Vec<String>,
) -> ContenderReport {
    let mut row = ContenderReport {
        list: list.name().to_owned(),
        contender: worker.name.clone(),
        version: None,
        lacks: Vec::new(),
        failure: None,
    };
    match worker.ask::<Prepared>(index, Task::Prepare) {
        Ok(prepared) => {
            row.version = Some(prepared.version);
            row.lacks = prepared.lacks;
            for kind in
                prepared.uncounted.into_iter().filter(|kind| !uncounted.contains(kind)).collect::<Vec<_>>()
            {
                uncounted.push(kind);
            }
        }
        Err(failure) => row.failure = Some(failure),
    }
    row
}
