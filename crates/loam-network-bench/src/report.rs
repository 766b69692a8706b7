//! What was measured. The JSON form is documented in `docs/network-bench.md`; its fields keep their meaning.

mod svg;
mod table;
pub(crate) mod targets;
mod text;

use std::collections::BTreeMap;

use serde::Serialize;

use crate::measure::{Samples, Summary};
use crate::plan::Plan;

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

/// A verb.
#[derive(Clone, Debug, Serialize)]
pub struct LatencyRow {
    /// The network's name.
    pub list: String,
    /// The contender's name.
    pub contender: String,
    /// `ADD`, `CHECK`, `DEL`, or `DEL, namespace gone`.
    pub verb: String,
    /// Wall time in milliseconds.
    pub wall: Option<Summary>,
    /// Processor time in milliseconds.
    pub cpu: Option<Summary>,
    /// Each wall time, in the order of measuring.
    pub samples: Samples,
    /// How it went.
    #[serde(flatten)]
    pub outcome: Outcome,
}

/// ADD with so many attachments present.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, serde::Deserialize)]
pub struct GrowthPoint {
    /// How many are present.
    pub present: usize,
    /// Wall time of ADD in milliseconds, the median.
    pub add: f64,
    /// Processor time of ADD in milliseconds, the median.
    pub cpu: f64,
    /// Wall time as a multiple of that with one present.
    pub ratio: f64,
    /// Wall time of making and configuring a pair on the same bridge by three netlink requests, in milliseconds, the median:
    /// the kernel's share. `None` where there is no bridge.
    pub bare: Option<f64>,
    /// The same as a multiple of that with one present.
    pub bare_ratio: Option<f64>,
}

/// The growth of a contender.
#[derive(Clone, Debug, Serialize)]
pub struct GrowthRow {
    /// The network's name.
    pub list: String,
    /// The contender's name.
    pub contender: String,
    /// By number of attachments.
    pub points: Vec<GrowthPoint>,
    /// How it went.
    #[serde(flatten)]
    pub outcome: Outcome,
}

/// So many callers at once.
#[derive(Clone, Debug, Serialize)]
pub struct ParallelRow {
    /// The network's name.
    pub list: String,
    /// The contender's name.
    pub contender: String,
    /// How many callers.
    pub callers: usize,
    /// ADDs in a second, of all callers together.
    pub adds_per_second: Option<f64>,
    /// DELs in a second.
    pub dels_per_second: Option<f64>,
    /// How many calls there were.
    pub calls: usize,
    /// How many calls failed.
    pub errors: usize,
    /// How it went; the first error.
    #[serde(flatten)]
    pub outcome: Outcome,
}

/// What is there that was not there before.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, serde::Deserialize)]
pub struct Remains {
    /// How many of each kind: `link`, `address`, `route`, `rule`, `qdisc`, `file`.
    pub counts: BTreeMap<String, usize>,
    /// The first of them.
    pub lines: Vec<String>,
}

impl Remains {
    /// Whether nothing is left.
    pub fn is_empty(&self) -> bool {
        self.counts.is_empty()
    }
}

/// What is left after something.
#[derive(Clone, Debug, Serialize)]
pub struct LeftoverRow {
    /// The network's name.
    pub list: String,
    /// The contender's name.
    pub contender: String,
    /// After what.
    pub after: String,
    /// How many attachments there were.
    pub attachments: usize,
    /// How many of them were killed before ADD had ended.
    pub killed: Option<usize>,
    /// How many calls failed that should have cleaned up.
    pub errors: usize,
    /// What is left at once.
    pub at_once: Option<Remains>,
    /// What is left after five seconds.
    pub later: Option<Remains>,
    /// After how many milliseconds nothing was left.
    pub clean_after: Option<f64>,
    /// How it went; the first error.
    #[serde(flatten)]
    pub outcome: Outcome,
}

/// Whether a promise was kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// It was.
    Kept,
    /// It was not.
    Broken,
    /// It could not be tried.
    NotTried,
}

/// A promise.
#[derive(Clone, Debug, Serialize)]
pub struct PromiseRow {
    /// The network's name.
    pub list: String,
    /// The contender's name.
    pub contender: String,
    /// What is promised.
    pub promise: String,
    /// Whether it was kept.
    pub verdict: Verdict,
    /// What happened instead, or why it could not be tried.
    pub note: String,
}

/// A way that connections take.
#[derive(Clone, Debug, Serialize)]
pub struct DataPathRow {
    /// The network's name.
    pub list: String,
    /// The contender's name.
    pub contender: String,
    /// From where to where.
    pub path: String,
    /// Gigabits in a second.
    pub throughput: Option<Summary>,
    /// Microseconds until a byte has come back.
    pub round_trip: Option<Summary>,
    /// Microseconds until a connection has been made and a byte has come back.
    pub connection: Option<Summary>,
    /// How it went.
    #[serde(flatten)]
    pub outcome: Outcome,
}

/// Rules that are set at once.
#[derive(Clone, Debug, Serialize)]
pub struct RulesRow {
    /// The contender's name.
    pub contender: String,
    /// How many rules.
    pub rules: u16,
    /// For which container: `first`, or `with the same rules`.
    pub container: String,
    /// Wall time in milliseconds.
    pub wall: Option<Summary>,
    /// Processor time in milliseconds.
    pub cpu: Option<Summary>,
    /// Each wall time, in the order of measuring.
    pub samples: Samples,
    /// How it went.
    #[serde(flatten)]
    pub outcome: Outcome,
}

/// A target, and what was measured.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TargetRow {
    /// What is measured, of whom.
    pub what: String,
    /// What it shall be.
    pub target: String,
    /// What it is; `None` when it was not measured.
    pub measured: Option<String>,
    /// Whether it is as it shall be; `None` when it was not measured.
    pub met: Option<bool>,
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
