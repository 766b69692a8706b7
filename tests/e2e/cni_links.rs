//! The CNI plugins on kernels that have all link types: the first case of each from the conformance suite of `loam-cni`, through
//! functions, the built program and Debian's plugins. On an emulated machine a case takes half a minute.

use loam_tests::{Need, needs};

use self::case::Case;

#[allow(dead_code, reason = "the suite needs more of it")]
#[path = "../../crates/loam-cni/tests/conformance/case.rs"]
mod case;
#[path = "../../crates/loam-cni/tests/conformance/dummy.rs"]
mod dummy;
#[path = "../../crates/loam-cni/tests/conformance/ipvlan.rs"]
mod ipvlan;
#[allow(dead_code, reason = "the suite needs more of it")]
#[path = "../../crates/loam-cni/tests/conformance/lab.rs"]
mod lab;
#[path = "../../crates/loam-cni/tests/conformance/observation.rs"]
mod observation;
#[path = "../../crates/loam-cni/tests/conformance/state.rs"]
mod state;
#[expect(clippy::print_stdout, reason = "a test that can't run says so")]
#[path = "../../crates/loam-cni/tests/conformance/three_ways.rs"]
mod three_ways;
#[path = "../../crates/loam-cni/tests/conformance/vlan.rs"]
mod vlan;

/// Runs the first case where the kernel can.
fn run(test: &str, need: Need, cases: &[Case]) {
    if !needs::met(&[need]) {
        return;
    }
    needs::record_run();
    three_ways::run_three_ways(test, &cases[..1]);
}

#[test]
fn dummy_links_for_addresses() {
    run("cni_links::dummy_links_for_addresses", Need::DummyLinks, &dummy::cases());
}

#[test]
fn ipvlan_links_in_each_mode() {
    run("cni_links::ipvlan_links_in_each_mode", Need::IpvlanLinks, &ipvlan::cases());
}

#[test]
fn vlan_links_of_a_master() {
    run("cni_links::vlan_links_of_a_master", Need::VlanLinks, &vlan::cases());
}
