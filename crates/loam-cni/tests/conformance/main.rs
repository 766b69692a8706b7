//! The plugins three ways: called as functions, as our program, and as Debian's `containernetworking-plugins`.
//!
//! A [`case::Case`] is a configuration, or a chain of them, and the verbs that it is called with; [`run_three_ways`] puts
//! each implementation through it on a host of its own, and compares results and the kernel's state after each verb.
//! Functions and program must agree in everything, also in the text of errors. Where the reference plugins differ, the
//! case names the difference, which `docs/cni-plugins.md` lists with its reason; one that is not there any more fails too.
#![expect(clippy::print_stdout, reason = "a test that can't run says so")]

mod case;
mod lab;
mod observation;
mod state;

mod bad_input;
mod bridge;
mod dummy;
mod host_device;
mod host_local;
mod ipvlan;
mod loopback;
mod macvlan;
mod ports;
mod ptp;
mod static_addresses;
mod tap;
mod vlan;

use std::path::PathBuf;

use loam_testkit::lab::inside;

use case::Case;
use lab::{Lab, Way};

/// Where the reference plugins are.
pub(crate) fn reference() -> Option<PathBuf> {
    ["/opt/cni/bin", "/usr/lib/cni"].map(PathBuf::from).into_iter().find(|path| path.join("bridge").exists())
}

/// Puts all implementations through the cases and compares what they did; `test` is the whole name of the test function,
/// such as `bridge::gateways`. Cases that need a link type that this kernel lacks are named and left out.
pub(crate) fn run_three_ways(test: &str, cases: &[Case]) {
    inside(test, || {
        let reference = reference();
        if reference.is_none() {
            println!("skipped: {test}: the comparison with the reference needs containernetworking-plugins");
        }
        for case in cases {
            if let Some(missing) = case.missing_link_type() {
                println!("skipped: {test}, {}: needs links of type {missing}", case.title);
                continue;
            }
            let function = case.run(&Lab::new(Way::Function));
            let program = case.run(&Lab::new(Way::Program));
            observation::assert_same(test, case, &function, &program);
            if let Some(reference) = reference.as_ref().filter(|_| case.is_for_the_reference()) {
                let theirs = case.run(&Lab::new(Way::Reference(reference.clone())));
                observation::assert_agree(test, case, &program, &theirs);
            }
        }
    });
}
