//! What a worker is told, and what it says of a list that was prepared.

use serde::{Deserialize, Serialize};

use crate::contender::Contender;
use crate::list::MeasuredList;
use crate::plan::Plan;

/// What a worker is for.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Setup {
    pub(crate) contender: Contender,
    pub(crate) lists: Vec<MeasuredList>,
    pub(crate) plan: Plan,
    /// The arguments that make this program the caller that is killed.
    pub(crate) caller: Vec<String>,
}

/// What is to be done with one of the lists.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Request {
    pub(crate) list: usize,
    pub(crate) task: Task,
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Task {
    /// Finds the version and what the contender lacks, and makes an attachment that stays.
    Prepare,
    /// Removes the attachment that stayed.
    Retire,
    Latency,
    Growth,
    Parallel {
        callers: usize,
    },
    Leftovers,
    Kills,
    Promises,
    DataPath,
    Rules,
}

/// How the contender is called with a list.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Prepared {
    pub(crate) version: String,
    pub(crate) lacks: Vec<String>,
    pub(crate) uncounted: Vec<String>,
}
