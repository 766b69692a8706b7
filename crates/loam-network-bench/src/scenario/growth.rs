//! ADD with more and more attachments present.

mod bare;

use std::time::Instant;

use serde::{Deserialize, Serialize};

use crate::container::Container;
use crate::measure::{Cost, Samples, measured};
use crate::report::GrowthPoint;
use crate::scenario::latency::REST;
use crate::worker::Ground;

/// How often ADD is measured at each number: machines that change their speed make medians of fewer differ by a third.
const PROBES: usize = 9;

/// How far it went, and why not further.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Growth {
    pub(crate) points: Vec<GrowthPoint>,
    pub(crate) failure: Option<String>,
}

/// Adds attachments and measures further ones on the way. Nothing is removed: the worker ends after it, and all of it
/// goes with the worker.
pub(crate) fn grow(ground: &mut Ground) -> Growth {
    let mut growth = Growth::default();
    let begun = Instant::now();
    let mut kept = Vec::new();
    for step in ground.plan.growth_steps() {
        // The resident is the first.
        while kept.len() + 1 < step {
            if begun.elapsed() > ground.plan.growth_limit {
                let seconds = ground.plan.growth_limit.as_secs();
                growth.failure =
                    Some(format!("ended with {} attachments present, after {seconds} s", kept.len() + 1));
                return growth;
            }
            match ground.attach() {
                Ok(attached) => kept.push(attached),
                Err(error) => {
                    growth.failure = Some(format!("with {} attachments present: {error}", kept.len() + 1));
                    return growth;
                }
            }
        }
        match probe(ground) {
            Ok(probed) => {
                let point = GrowthPoint::new(step, probed, growth.points.first());
                growth.points.push(point);
            }
            Err(error) => {
                growth.failure = Some(format!("with {step} attachments present: {error}"));
                return growth;
            }
        }
    }
    growth
}

/// Medians in milliseconds.
#[derive(Clone, Copy, Debug)]
struct Probed {
    add: f64,
    cpu: f64,
    /// Of a bare pair, where it could be timed.
    bare: Option<f64>,
}

impl GrowthPoint {
    fn new(present: usize, probed: Probed, first: Option<&GrowthPoint>) -> Self {
        let Probed { add, cpu, bare } = probed;
        let (first_add, first_bare) = first.map_or((add, bare), |first| (first.add, first.bare));
        let bare_ratio = bare.zip(first_bare).map(|(now, first)| now / first);
        Self { present, add, cpu, ratio: add / first_add, bare, bare_ratio }
    }
}

/// Some ADDs, each followed by DEL and, where there is a bridge, by a bare pair.
fn probe(ground: &mut Ground) -> Result<Probed, String> {
    let (mut wall, mut cpu, mut bare) = (Samples::default(), Samples::default(), Samples::default());
    let bridge = bare::bridge_of(&ground.resident.result);
    for _ in 0..PROBES {
        let mut container = rested(ground)?;
        let (added, Cost { wall: took, cpu: used }) =
            measured(|| ground.chain.add(&container.endpoint)).map_err(|error| error.to_string())?;
        let result = added.map_err(|error| ground.undo(&container, error.to_string()))?;
        wall.push(took);
        cpu.push(used);
        container.verify(&result)?;
        ground.chain.del(&container.endpoint, Some(&result)).map_err(|error| error.to_string())?;
        end(&mut container)?;
        if let Some(bridge) = bridge {
            let mut container = rested(ground)?;
            // What can't be told beside it is not the contender's failure.
            bare::time_pair(bridge, &container).into_iter().for_each(|took| bare.push(took));
            end(&mut container)?;
        }
    }
    let median = |samples: &Samples| samples.median().unwrap_or_default();
    Ok(Probed { add: median(&wall), cpu: median(&cpu), bare: bare.median() })
}

/// A container, when what the last one has left to the kernel is done.
fn rested(ground: &mut Ground) -> Result<Container, String> {
    let container = ground.container()?;
    std::thread::sleep(REST);
    Ok(container)
}

fn end(container: &mut Container) -> Result<(), String> {
    container.end().map_err(|error| format!("ending the container: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ratios_are_to_the_first() {
        let probed = |add, bare| Probed { add, cpu: add, bare };
        let first = GrowthPoint::new(1, probed(2.0, Some(1.0)), None);
        assert_eq!((first.ratio, first.bare_ratio), (1.0, Some(1.0)));
        let later = GrowthPoint::new(500, probed(3.0, Some(1.6)), Some(&first));
        assert_eq!((later.present, later.ratio, later.bare_ratio), (500, 1.5, Some(1.6)));
        let alone = GrowthPoint::new(500, probed(3.0, None), Some(&first));
        assert_eq!((alone.bare, alone.bare_ratio), (None, None));
    }
}
