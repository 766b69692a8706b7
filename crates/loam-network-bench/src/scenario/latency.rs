//! ADD, CHECK and DEL, one at a time.

use std::time::Duration;

use loam_cni::protocol::Version;
use serde::{Deserialize, Serialize};

use crate::measure::{Cost, measured};
use crate::worker::Ground;

/// How long the kernel is given to take namespaces down, so that the next contender does not wait for it.
pub(crate) const REST: Duration = Duration::from_millis(60);

/// A verb's name in the report, and what it took or why it failed.
pub(crate) type Figure = (String, Result<Cost, String>);

/// One round.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Cycle {
    pub(crate) figures: Vec<Figure>,
}

/// The names, in the order of the report.
pub(crate) const VERBS: [&str; 4] = ["ADD", "CHECK", "DEL", "DEL, namespace gone"];

/// Attaches, verifies and detaches a container; then attaches another one, which is detached when its namespace has
/// gone, as runtimes do that stop the container first.
pub(crate) fn cycle(ground: &mut Ground) -> Result<Cycle, String> {
    let mut figures = Vec::new();
    with_namespace(ground, &mut figures)?;
    // One that fails CHECK can detach all the same.
    if figures.iter().all(|(verb, figure)| figure.is_ok() || verb == VERBS[1]) {
        without_namespace(ground, &mut figures)?;
    }
    std::thread::sleep(REST);
    Ok(Cycle { figures })
}

fn with_namespace(ground: &mut Ground, figures: &mut Vec<Figure>) -> Result<(), String> {
    let container = ground.container()?;
    let Some(result) = add(ground, &container, figures)? else { return Ok(()) };
    let endpoint = &container.endpoint;
    let chain = &ground.chain;
    let check = match chain.version >= Version::V0_4_0 {
        false => Err(format!("version {} has no CHECK", chain.version.as_str())),
        true => {
            let (checked, cost) = timed(|| chain.check(endpoint, &result))?;
            checked.map(|()| cost).map_err(|error| error.to_string())
        }
    };
    figures.push((VERBS[1].into(), check));
    let (removed, cost) = timed(|| chain.del(endpoint, Some(&result)))?;
    let still_there = removed.is_ok() && container.has_interface()?;
    let figure = match removed {
        Err(error) => Err(error.to_string()),
        Ok(()) if still_there => Err("DEL succeeded, but the interface is still there".into()),
        Ok(()) => Ok(cost),
    };
    figures.push((VERBS[2].into(), figure));
    Ok(())
}

fn without_namespace(ground: &mut Ground, figures: &mut Vec<Figure>) -> Result<(), String> {
    let mut container = ground.container()?;
    let Some(result) = add(ground, &container, figures)? else { return Ok(()) };
    container.end().map_err(|error| format!("ending the container: {error}"))?;
    let endpoint = container.endpoint.gone();
    let (removed, cost) = timed(|| ground.chain.del(&endpoint, Some(&result)))?;
    figures.push((VERBS[3].into(), removed.map(|()| cost).map_err(|error| error.to_string())));
    Ok(())
}

fn add(
    ground: &Ground,
    container: &crate::container::Container,
    figures: &mut Vec<Figure>,
) -> Result<Option<loam_cni::CniResult>, String> {
    let (added, cost) = timed(|| ground.chain.add(&container.endpoint))?;
    match added {
        Ok(result) => {
            let verified = container.verify(&result);
            let honest = verified.is_ok();
            figures.push((VERBS[0].into(), verified.map(|()| cost)));
            Ok(honest.then_some(result))
        }
        Err(error) => {
            figures.push((VERBS[0].into(), Err(ground.undo(container, error.to_string()))));
            Ok(None)
        }
    }
}

fn timed<T>(function: impl FnOnce() -> T) -> Result<(T, Cost), String> {
    measured(function).map_err(|error| format!("the kernel does not tell processor time: {error}"))
}
