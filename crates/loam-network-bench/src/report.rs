//! What was measured. The JSON form is documented in `docs/network-bench.md`; its fields keep their meaning.
//!
//! The rows of each scenario are a module of that scenario's name.

mod data_path;
mod growth;
mod latency;
mod leftovers;
mod parallel;
mod promises;
mod rules;
mod svg;
mod table;
pub(crate) mod targets;
mod text;

use serde::Serialize;

use crate::plan::Plan;
pub use data_path::DataPathRow;
pub use growth::{GrowthPoint, GrowthRow};
pub use latency::LatencyRow;
pub use leftovers::{LeftoverRow, Remains};
pub use parallel::ParallelRow;
pub use promises::{PromiseRow, Verdict};
pub use rules::RulesRow;
pub use targets::TargetRow;

/// All that was measured.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The version of this form.
    pub format: u32,
    /// Processor, number of processors, kernel.
    pub machine: String,
    /// How much was measured.
    pub plan: Plan,
    /// The contender that ratios are against.
    pub compared: Option<String>,
    /// Who was measured, and with what.
    pub contenders: Vec<ContenderReport>,
    /// What could not be counted on this machine.
    pub uncounted: Vec<String>,
    /// ADD, CHECK and DEL.
    pub latency: Vec<LatencyRow>,
    /// ADD with more and more attachments present.
    pub growth: Vec<GrowthRow>,
    /// Several callers at once.
    pub parallel: Vec<ParallelRow>,
    /// What is left.
    pub leftovers: Vec<LeftoverRow>,
    /// What is promised.
    pub promises: Vec<PromiseRow>,
    /// Connections.
    pub data_path: Vec<DataPathRow>,
    /// Rules on what containers may reach.
    pub rules: Vec<RulesRow>,
    /// What Loam's own plugins shall reach, and whether they do.
    pub targets: Vec<TargetRow>,
}

/// A contender with one of the lists.
#[derive(Clone, Debug, Serialize)]
pub struct ContenderReport {
    /// The network's name.
    pub list: String,
    /// The contender's name.
    pub contender: String,
    /// The version of the specification that it was called with.
    pub version: Option<String>,
    /// The plugins of the list that it lacks, and which were left out.
    pub lacks: Vec<String>,
    /// Why it could not be measured with this list.
    pub failure: Option<String>,
}

/// How something went: well, or with a sentence that says why not.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Outcome {
    /// Why there are no figures, or no more.
    pub failure: Option<String>,
}

impl Report {
    /// The version of the JSON form.
    pub(crate) const FORMAT: u32 = 1;

    /// A report about this machine, to be filled.
    pub(crate) fn empty(plan: Plan, compared: Option<String>) -> Self {
        Self {
            format: Self::FORMAT,
            machine: machine(),
            plan,
            compared,
            contenders: Vec::new(),
            uncounted: Vec::new(),
            latency: Vec::new(),
            growth: Vec::new(),
            parallel: Vec::new(),
            leftovers: Vec::new(),
            promises: Vec::new(),
            data_path: Vec::new(),
            rules: Vec::new(),
            targets: Vec::new(),
        }
    }

    /// The tables.
    pub fn text(&self) -> String {
        text::render(self)
    }

    /// The plots, on one sheet.
    pub fn svg(&self) -> String {
        svg::render(self)
    }
}

/// Processor, number of processors, kernel.
fn machine() -> String {
    let cpuinfo = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpuinfo.lines().find_map(|line| line.strip_prefix("model name"));
    let model = model.map_or("processor", |line| line.trim_start_matches([' ', '\t', ':']));
    let count = std::thread::available_parallelism().map_or(1, usize::from);
    format!("{count} x {model}, Linux {}", loam_sys::kernel::release())
}

#[cfg(test)]
pub(crate) mod sample;
