//! The `dhcp` plugin against real servers (dnsmasq, busybox's udhcpd) and against one that lies, over a bridge on a host of
//! the test's own.
#![expect(clippy::print_stdout, reason = "a test that can't run says so")]

mod lab;
mod server;

mod daemon;
mod handover;
mod keeper;
mod lease;
mod reach;
mod trouble;
