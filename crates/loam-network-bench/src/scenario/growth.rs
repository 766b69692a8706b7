//! ADD with more and more attachments present.

mod bare;

use std::time::Instant;

use serde::{Deserialize, Serialize};

use crate::measure::{Cost, Samples, measured};
use crate::report::GrowthPoint;
use crate::scenario::latency::REST;
use crate::worker::Ground;

/// How often ADD is measured at each number.
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
            Ok(point) => {
                let first = growth.points.first().unwrap_or(&point);
                let ratio = point.add / first.add;
                let bare_ratio = point.bare.zip(first.bare).map(|(now, first)| now / first);
                growth.points.push(GrowthPoint { present: step, ratio, bare_ratio, ..point });
            }
            Err(error) => {
                growth.failure = Some(format!("with {step} attachments present: {error}"));
                return growth;
            }
        }
    }
    growth
}

/// The medians of some ADDs, each followed by DEL and by a bare pair; numbers and ratios are left open.
fn probe(ground: &mut Ground) -> Result<GrowthPoint, String> {
    let (mut wall, mut cpu, mut bare) = (Samples::default(), Samples::default(), Samples::default());
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
        if let Some(bridge) = bare::bridge_of(&result).map_err(|error| error.to_string())? {
            let mut container = ground.container()?;
            std::thread::sleep(REST);
            bare.push(bare::attach(bridge, &container)?);
            container.end().map_err(|error| format!("ending the container: {error}"))?;
        }
    }
    Ok(GrowthPoint {
        present: 0,
        add: wall.median().unwrap_or_default(),
        cpu: cpu.median().unwrap_or_default(),
        ratio: 1.0,
        bare: bare.median(),
        bare_ratio: None,
    })
}
