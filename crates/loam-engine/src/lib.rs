//! The engine: containers, their life cycle, state, locks and recovery. It joins the seams.
//!
//! What comes in: specs ([`ContainerSpec`](loam_model::ContainerSpec)) and names from the doors, and at the start an
//! [`EngineConfig`], the state database and the adapters of the [`Seams`]. What goes out: calls to those adapters,
//! files below the two directories, and plain types for the doors to show. The engine never prints, and reads neither
//! the environment nor the home directory.
//!
//! ```text
//! ROOT/loam.db                  rows of the table `container`
//! ROOT/containers/ID/           0700: `lock`, `log` and rotated logs
//! RUN/loam-init                 0755: process 1 of containers that ask for one
//! RUN/containers/ID/            0711: `config.json` (0600), `hosts`, `resolv.conf`, `hostname` (0644),
//!                               `owner` (0600, locked), and what the shim makes: `shim.sock`, `exit.json`, `rootfs`, `mounts`
//! ```
//!
//! **Life cycle.** `creating → created → starting → running ⇄ paused → stopped → removing → gone`. A step is written
//! to the row before its effects, and everything that a step makes is found from the container's id alone: the
//! snapshot, the attachment, the shim, the cgroup, the two directories. So any later command can finish or undo what a
//! killed one left ([`Engine::settle`]).
//!
//! **Locks.** Whoever changes a container holds `flock` on its `lock` file; the lock dies with its process. A row in
//! `creating`, `starting` or `removing` whose lock is free was left by a dead command. Nobody holds the lock while
//! waiting for a container to end. While files of a stopped container are copied, the archive process alone holds it,
//! and a forced removal ends that process: the other end of a copy may stall for ever. Whoever waits is told for whom.

mod config;
mod connect;
mod copy;
mod create;
mod directories;
mod end;
mod engine;
mod etc;
mod exec;
mod inspect;
mod list;
mod lock;
mod lock_holder;
mod logs;
mod names;
mod networks;
mod peers;
mod record;
mod remove;
mod resolv;
mod settle;
mod signals;
mod sources;
mod start;
mod state;
mod stop;
mod store;
mod teardown;
mod update;
mod validate;
mod wait;

pub use config::{EngineConfig, Notes, Seams};
pub use create::CreatedContainer;
pub use engine::Engine;
pub use exec::{Control, RunningExec};
pub use inspect::{ContainerDetail, EffectiveSettings, ImageFacts, SeccompFacts};
pub use list::ContainerSummary;
pub use logs::{LogLine, LogOptions, LogReader, LogStream};
pub use networks::{NetworkDetail, NetworkFinding, NetworkMember};
pub use record::NetworkFacts;
pub use signals::{signal_name, signal_number};
pub use start::{StartOptions, Started};
pub use state::{ContainerState, UnknownState};
pub use store::SCHEMA;
pub use wait::Attached;
