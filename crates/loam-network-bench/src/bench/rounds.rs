//! The scenarios of one list, round by round, each contender once in each round.

use std::collections::BTreeMap;

use super::Bench;
use super::apart::APART;
use super::figures::Figures;
use super::process::Worker;
use crate::measure::Samples;
use crate::plan::Scenario;
use crate::report::{
    DataPathRow, LatencyRow, LeftoverRow, Outcome, ParallelRow, PromiseRow, Report, Verdict,
};
use crate::scenario::data_path::PathFigures;
use crate::scenario::latency::{Cycle, VERBS};
use crate::scenario::leftovers::Left;
use crate::scenario::parallel::Together;
use crate::scenario::promises::Promise;
use crate::worker::Task;

/// Measures whatever is wanted with a list.
pub(super) fn measure(
    bench: &Bench,
    list: usize,
    workers: &mut [&mut Worker],
    report: &mut Report,
    note: &mut dyn FnMut(&str),
) {
    let name = bench.lists[list].name();
    let wanted = |scenario: &Scenario| !APART.contains(scenario) && bench.plan.wants(*scenario);
    for scenario in Scenario::ALL.into_iter().filter(wanted) {
        note(&format!("{name}: {}", scenario.name()));
        let mut turn = Turn { bench, list, name, report };
        match scenario {
            Scenario::Latency => turn.latency(workers),
            Scenario::Parallel => turn.parallel(workers),
            Scenario::Leftovers => turn.leftovers(workers, Task::Leftovers),
            Scenario::Kills => turn.leftovers(workers, Task::Kills),
            Scenario::Promises => turn.promises(workers),
            Scenario::DataPath => turn.data_path(workers),
            Scenario::Growth | Scenario::Rules => {}
        }
    }
}

struct Turn<'a> {
    bench: &'a Bench,
    list: usize,
    name: &'a str,
    report: &'a mut Report,
}

impl Turn<'_> {
    fn latency(&mut self, workers: &mut [&mut Worker]) {
        let mut figures: BTreeMap<(usize, usize), (Figures, Option<String>)> = BTreeMap::new();
        let mut failed = vec![false; workers.len()];
        // The first round warms up.
        for round in 0..=self.bench.plan.rounds {
            for (number, worker) in workers.iter_mut().enumerate() {
                if failed[number] {
                    continue;
                }
                let cycle = worker.ask::<Cycle>(self.list, Task::Latency);
                let cycle = cycle
                    .unwrap_or_else(|failure| Cycle { figures: vec![(VERBS[0].to_owned(), Err(failure))] });
                for (verb, figure) in cycle.figures {
                    let Some(place) = VERBS.iter().position(|known| *known == verb) else { continue };
                    let (row, first_failure) = figures.entry((place, number)).or_default();
                    match figure {
                        Ok(cost) if round > 0 => row.push(cost),
                        Ok(_) => {}
                        Err(failure) => {
                            // Without CHECK the rest can be measured all the same.
                            failed[number] |= verb != VERBS[1];
                            first_failure.get_or_insert(failure);
                        }
                    }
                }
            }
        }
        for ((place, number), (figures, failure)) in figures {
            self.report.latency.push(LatencyRow {
                list: self.name.to_owned(),
                contender: workers[number].name.clone(),
                verb: VERBS[place].to_owned(),
                wall: figures.wall.summary(),
                cpu: figures.cpu.summary(),
                samples: figures.wall,
                outcome: Outcome { failure },
            });
        }
    }

    fn parallel(&mut self, workers: &mut [&mut Worker]) {
        for callers in self.bench.plan.callers() {
            for worker in workers.iter_mut() {
                let together = worker
                    .ask::<Together>(self.list, Task::Parallel { callers })
                    .unwrap_or_else(|failure| Together { first_error: Some(failure), ..Together::default() });
                self.report.parallel.push(ParallelRow {
                    list: self.name.to_owned(),
                    contender: worker.name.clone(),
                    callers,
                    adds_per_second: together.adds_per_second,
                    dels_per_second: together.dels_per_second,
                    calls: together.calls,
                    errors: together.errors,
                    outcome: Outcome { failure: together.first_error },
                });
            }
        }
    }

    fn leftovers(&mut self, workers: &mut [&mut Worker], task: Task) {
        for worker in workers.iter_mut() {
            let rows = worker.ask::<Vec<Left>>(self.list, task).unwrap_or_else(|failure| {
                let after = if task == Task::Kills { "kill -9" } else { "DEL" };
                vec![Left { first_error: Some(failure), ..Left::new(after, 0) }]
            });
            self.report.leftovers.extend(rows.into_iter().map(|left| LeftoverRow {
                list: self.name.to_owned(),
                contender: worker.name.clone(),
                after: left.after,
                attachments: left.attachments,
                killed: left.killed,
                errors: left.errors,
                at_once: left.at_once,
                later: left.later,
                clean_after: left.clean_after,
                outcome: Outcome { failure: left.first_error },
            }));
        }
    }

    fn promises(&mut self, workers: &mut [&mut Worker]) {
        for worker in workers.iter_mut() {
            let promises = worker.ask::<Vec<Promise>>(self.list, Task::Promises).unwrap_or_else(|note| {
                vec![Promise { promise: "all promises".into(), verdict: Verdict::NotTried, note }]
            });
            self.report.promises.extend(promises.into_iter().map(|promise| PromiseRow {
                list: self.name.to_owned(),
                contender: worker.name.clone(),
                promise: promise.promise,
                verdict: promise.verdict,
                note: promise.note,
            }));
        }
    }

    fn data_path(&mut self, workers: &mut [&mut Worker]) {
        let mut figures: Vec<(String, usize, [Samples; 3], Option<String>)> = Vec::new();
        for _ in 0..(self.bench.plan.rounds / 2).max(1) {
            for (number, worker) in workers.iter_mut().enumerate() {
                let paths = worker.ask::<Vec<PathFigures>>(self.list, Task::DataPath);
                for (path, measured) in
                    paths.unwrap_or_else(|failure| vec![("all paths".into(), Err(failure))])
                {
                    let known = figures.iter().position(|row| row.0 == path && row.1 == number);
                    let place = known.unwrap_or_else(|| {
                        figures.push((path, number, Default::default(), None));
                        figures.len() - 1
                    });
                    let (_, _, samples, failure) = &mut figures[place];
                    match measured {
                        Ok(got) => {
                            samples[0].push(got.throughput);
                            samples[1].push(got.round_trip);
                            samples[2].push(got.connection);
                        }
                        Err(reason) => *failure = Some(reason),
                    }
                }
            }
        }
        for (path, number, [throughput, round_trip, connection], failure) in figures {
            self.report.data_path.push(DataPathRow {
                list: self.name.to_owned(),
                contender: workers[number].name.clone(),
                path,
                throughput: throughput.summary(),
                round_trip: round_trip.summary(),
                connection: connection.summary(),
                outcome: Outcome { failure },
            });
        }
    }
}
