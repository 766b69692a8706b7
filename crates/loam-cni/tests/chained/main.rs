//! The chained plugins beside the reference plugins: the same chain must give the same results and the same state of the
//! kernel, and each must be able to remove what the other made.

#![expect(clippy::print_stdout, reason = "a test that can't run says so")]

mod bandwidth;
mod firewall;
mod killed;
mod machine;
mod optional_links;
mod portmap;
mod read_only;
mod sbr;
mod several_states;
mod tuning;
mod vrf;
mod watch;
