//! What a worker makes once for a list, and scenarios work on.

use loam_cni::CniResult;
use loam_cni::protocol::code;

use super::message::{Prepared, Setup};
use crate::chain::{Chain, Way};
use crate::container::Container;
use crate::list::MeasuredList;
use crate::plan::Plan;
use crate::state;

/// An attachment that is there.
#[derive(Debug)]
pub(crate) struct Attached {
    pub(crate) container: Container,
    pub(crate) result: CniResult,
}

/// What scenarios stand on: a chain, and an attachment that stays, so that what a network has once for all is there.
#[derive(Debug)]
pub(crate) struct Ground {
    pub(crate) plan: Plan,
    pub(crate) chain: Chain,
    pub(crate) resident: Attached,
    pub(crate) caller: Vec<String>,
    name: String,
    made: u16,
}

impl Ground {
    /// A container that is not attached.
    pub(crate) fn container(&mut self) -> Result<Container, String> {
        self.made = self.made % 10_000 + 1;
        make(&format!("{}-{}", self.name, self.made), self.made)
    }

    /// A container that is attached, and holds what the plugins say.
    pub(crate) fn attach(&mut self) -> Result<Attached, String> {
        let container = self.container()?;
        match self.chain.add(&container.endpoint) {
            Ok(result) => {
                container.verify(&result)?;
                Ok(Attached { container, result })
            }
            Err(error) => Err(self.undo(&container, error.to_string())),
        }
    }

    /// Calls DEL after an ADD that failed, as a runtime has to; the message, with what DEL says when it fails too.
    pub(crate) fn undo(&self, container: &Container, message: String) -> String {
        match self.chain.del(&container.endpoint, None) {
            Ok(()) => message,
            Err(second) => format!("{message}; and then {second}"),
        }
    }

    /// Detaches, and lets the container go.
    pub(crate) fn detach(&self, mut attached: Attached) -> Result<(), String> {
        let removed = self.chain.del(&attached.container.endpoint, Some(&attached.result));
        attached.container.end().map_err(|error| format!("ending the container: {error}"))?;
        removed.map_err(|error| error.to_string())
    }

    /// Removes the attachment that stayed.
    pub(super) fn retire(self) -> Result<(), String> {
        let mut resident = self.resident;
        let removed = self.chain.del(&resident.container.endpoint, Some(&resident.result));
        resident.container.end().map_err(|error| error.to_string())?;
        removed.map_err(|error| error.to_string())
    }
}

fn make(id: &str, number: u16) -> Result<Container, String> {
    Container::make(id, number).map_err(|error| format!("making a network namespace: {error}"))
}

/// Tries the versions of a list, the newest first, until the plugins take one.
pub(crate) fn prepare(setup: &Setup, list: &MeasuredList, way: &Way) -> Result<(Ground, Prepared), String> {
    let mut refused = String::from("no version of the list is known");
    for version in list.versions().iter().copied() {
        let chain = Chain::new(list, way.clone(), version, setup.plan.time_limit)?;
        let container = make(&format!("{}-resident", list.name()), 0)?;
        match chain.add(&container.endpoint) {
            Ok(result) => {
                container.verify(&result)?;
                let prepared = Prepared {
                    version: version.as_str().to_owned(),
                    lacks: chain.lacks.clone(),
                    uncounted: state::uncounted().into_iter().map(str::to_owned).collect(),
                };
                let ground = Ground {
                    plan: setup.plan.clone(),
                    chain,
                    resident: Attached { container, result },
                    caller: setup.caller.clone(),
                    name: list.name().to_owned(),
                    made: 0,
                };
                return Ok((ground, prepared));
            }
            Err(error) => {
                refused = error.to_string();
                // Some plugins of the chain may have taken the version; what they did is undone.
                let undone = chain.del(&container.endpoint, None);
                if error.error.code != code::INCOMPATIBLE_VERSION {
                    let second =
                        undone.err().map(|second| format!("; and then {second}")).unwrap_or_default();
                    return Err(format!("{refused}{second}"));
                }
            }
        }
    }
    Err(refused)
}
