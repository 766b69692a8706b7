//! The ground of Loam: the system calls that no crate has, and all its unsafe code.
#![expect(unsafe_code, reason = "this crate exists so that no other needs unsafe code")]

mod allow_list;
pub mod bpf;
pub mod btrfs;
mod child_signal;
mod clone;
mod confinement;
mod covered_spawn;
mod descriptors;
mod disk_mount;
mod execute;
pub mod features;
mod held_process;
mod id_mapped_mount;
pub mod kernel;
mod loop_device;
mod magic_link;
mod mount_attributes;
mod namespaces;
mod own_process;
mod panics;
mod process_stat;
mod processes;
mod processor_time;
pub mod project_quota;
mod resolution;
#[cfg(test)]
mod sandbox;
mod scheduling;
mod signal_queue;
mod tap;
mod write_back;

pub use allow_list::{CheckedCall, allow_only};
pub use child_signal::ChildSignal;
pub use clone::{CloneFlags, Spawned, spawn};
pub use confinement::{join_new_session_keyring, load_seccomp_filter};
pub use covered_spawn::cover_in_child;
pub use descriptors::{close_all_but, move_to};
pub use disk_mount::{DiskError, mount_disk};
pub use execute::{execute, leave, reset_signals};
pub use held_process::HeldProcess;
pub use id_mapped_mount::{set_mount_id_mapping, set_mount_read_only, user_namespace};
pub use magic_link::magic_link;
pub use mount_attributes::{MountChange, MountPropagation, change_mount};
pub use namespaces::{bring_loopback_up, new_network_namespace, unshare_cgroup, unshare_time_for_children};
pub use own_process::{close_from, new_mount_namespace, release_free_memory, set_file_access_ids};
pub use panics::end_at_panic;
pub use process_stat::{Stat, process_stat, start_time};
pub use processes::{open_process, send_signal};
pub use processor_time::processor_time;
pub use resolution::{open_in_root, openat2};
pub use scheduling::{SchedulerSettings, set_io_priority, set_personality, set_scheduler};
pub use signal_queue::SignalQueue;
pub use tap::{TapSettings, make_tap};
pub use write_back::begin_write_back;
