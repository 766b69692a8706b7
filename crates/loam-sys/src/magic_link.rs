//! The links in `/proc` that lead to what a descriptor names.

use std::os::fd::{AsFd, AsRawFd};

/// A path that leads to what a descriptor of this process names, whatever has become of its name (proc(5),
/// `/proc/self/fd`). It is short, which some interfaces need, and good as long as the descriptor is open.
pub fn magic_link(descriptor: impl AsFd) -> String {
    format!("/proc/self/fd/{}", descriptor.as_fd().as_raw_fd())
}
