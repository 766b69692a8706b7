//! The plugins three ways: called as functions, as our program, and as Debian's `containernetworking-plugins`.
//!
//! A [`case::Case`] is a configuration, or a chain of them, and the verbs that it is called with; [`run_three_ways`] puts
//! each implementation through it on a host of its own, and compares results and the kernel's state after each verb.
//! Functions and program must agree in everything, also in the text of errors. Where the reference plugins differ, the
//! case names the difference, which `docs/cni-plugins.md` lists with its reason; one that is not there any more fails too.
#![expect(clippy::print_stdout, reason = "a test that can't run says so")]

mod case;
mod lab;
mod neighbours;
mod observation;
mod service;
mod state;
mod three_ways;

mod bad_input;
mod bridge;
mod bridge_vlan;
mod dhcp;
mod dhcp_ipvlan;
mod dummy;
mod host_device;
mod host_device_inside;
mod host_local;
mod ipvlan;
mod loopback;
mod macvlan;
mod optional_links;
mod ports;
mod ptp;
mod retired;
mod sender_check;
mod shared_bridge;
mod static_addresses;
mod tap;
mod vlan;

pub(crate) use three_ways::run_three_ways;
