//! Measures CNI plugins: any plugin or chain, called in-process when it is ours, or as programs.
//!
//! What comes in: configuration lists ([`MeasuredList`]), who is measured ([`Contender`]) and how much ([`Plan`]). What
//! goes out: a [`Report`], which is rendered as text and as SVG, and serialized as JSON.
//!
//! Each contender has a worker, a process of its own in mount and network namespaces of its own, so that
//! nothing of the host is touched, and so that all that the worker and its children use of the processor is the
//! contender's. The program that calls [`run`] is executed again as worker ([`serve`]); a worker executes it once more
//! as the caller that is killed ([`call_once`]). The workers are asked in turn, so that what else the machine does
//! meets all contenders alike. Nothing is left when a worker has ended, however it ended.
//!
//! A scenario is a module of `scenario`, a variant of [`Scenario`] and of the worker's requests, and a part of the
//! report.

mod bench;
mod caller;
mod chain;
mod container;
mod contender;
mod list;
mod measure;
mod orphans;
mod place;
mod plan;
mod random;
mod report;
mod scenario;
mod state;
mod traffic;
mod worker;

pub use bench::{Bench, BenchError, Reentry, run};
pub use caller::call_once;
pub use contender::Contender;
pub use list::MeasuredList;
pub use loam_network::ConflistError;
pub use measure::{Samples, Summary};
pub use plan::{Plan, Scenario, UnknownScenario};
pub use report::{
    ContenderReport, DataPathRow, GrowthPoint, GrowthRow, LatencyRow, LeftoverRow, Outcome, ParallelRow,
    PromiseRow, Remains, Report, RulesRow, TargetRow, Verdict,
};
pub use worker::serve;
