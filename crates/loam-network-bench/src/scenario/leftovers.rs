//! What is there after DEL that was not there before ADD.

use serde::{Deserialize, Serialize};

use crate::report::Remains;
use crate::state::{Snapshot, settle};
use crate::worker::Ground;

/// How many containers come and go.
const CONTAINERS: usize = 5;

/// What is left after something.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Left {
    pub(crate) after: String,
    pub(crate) attachments: usize,
    pub(crate) killed: Option<usize>,
    pub(crate) errors: usize,
    pub(crate) first_error: Option<String>,
    pub(crate) at_once: Option<Remains>,
    pub(crate) later: Option<Remains>,
    pub(crate) clean_after: Option<f64>,
}

impl Left {
    pub(crate) fn new(after: &str, attachments: usize) -> Self {
        Self { after: after.to_owned(), attachments, ..Self::default() }
    }

    pub(crate) fn failed(&mut self, message: String) {
        self.errors += 1;
        self.first_error.get_or_insert(message);
    }

    /// Looks at once and until nothing is left.
    pub(crate) fn look(&mut self, before: &Snapshot) -> Result<(), String> {
        self.at_once = Some(Snapshot::take()?.since(before));
        let (later, clean_after) = settle(before)?;
        self.later = Some(later);
        self.clean_after = clean_after;
        Ok(())
    }
}

/// Looks after DEL with the namespaces there, and after DEL when they have gone.
pub(crate) fn look(ground: &mut Ground) -> Vec<Left> {
    [("DEL", false), ("DEL, namespace gone", true)]
        .map(|(after, gone)| {
            let mut left = Left::new(after, CONTAINERS);
            if let Err(failure) = after_del(ground, gone, &mut left) {
                left.failed(failure);
            }
            left
        })
        .into()
}

fn after_del(ground: &mut Ground, gone: bool, left: &mut Left) -> Result<(), String> {
    let before = Snapshot::before()?;
    let attached: Result<Vec<_>, String> = (0..CONTAINERS).map(|_| ground.attach()).collect();
    for mut attached in attached? {
        let mut endpoint = attached.container.endpoint.clone();
        if gone {
            attached.container.end().map_err(|error| format!("ending the container: {error}"))?;
            endpoint = endpoint.gone();
        }
        if let Err(error) = ground.chain.del(&endpoint, Some(&attached.result)) {
            left.failed(error.to_string());
        }
    }
    left.look(&before)
}
