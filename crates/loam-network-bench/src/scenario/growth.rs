//! ADD with more and more attachments present.

use std::time::Instant;

use serde::{Deserialize, Serialize};

use crate::measure::{Cost, Samples, measured};
use crate::report::GrowthPoint;
use crate::scenario::latency::REST;
use crate::worker::Ground;

/// How often ADD is measured at each number.
const PROBES: usize = 5;

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
            Ok((add, cpu)) => {
                let ratio = add / growth.points.first().map_or(add, |first| first.add);
                growth.points.push(GrowthPoint { present: step, add, cpu, ratio });
            }
            Err(error) => {
                growth.failure = Some(format!("with {step} attachments present: {error}"));
                return growth;
            }
        }
    }
    growth
}

/// The medians of some ADDs, each followed by DEL.
fn probe(ground: &mut Ground) -> Result<(f64, f64), String> {
    let (mut wall, mut cpu) = (Samples::default(), Samples::default());
    for _ in 0..PROBES {
        let mut container = ground.container()?;
        std::thread::sleep(REST);
        let (added, Cost { wall: took, cpu: used }) =
            measured(|| ground.chain.add(&container.endpoint)).map_err(|error| error.to_string())?;
        let result = added.map_err(|error| ground.undo(&container, error.to_string()))?;
        wall.push(took);
        cpu.push(used);
        container.verify(&result)?;
        ground.chain.del(&container.endpoint, Some(&result)).map_err(|error| error.to_string())?;
        container.end().map_err(|error| format!("ending the container: {error}"))?;
    }
    Ok((wall.median().unwrap_or_default(), cpu.median().unwrap_or_default()))
}
