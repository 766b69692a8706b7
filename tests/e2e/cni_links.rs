//! The CNI plugins on kernels that have all link types: one case of each plugin that not every kernel can run, from the suites of
//! `loam-cni` (`tests/conformance` and `tests/chained`), which have more of them. Functions, the built program and Debian's
//! plugins go through it. One case, because each starts some hundred programs, which takes an emulated machine half a minute
//! and more; all others run where `cargo test -p loam-cni` finds such a kernel.

use loam_tests::{Need, needs};

use self::case::Case;

#[path = "../../crates/loam-cni/tests/conformance/bridge_vlan.rs"]
mod bridge_vlan;
#[allow(dead_code, reason = "the suite needs more of it")]
#[path = "../../crates/loam-cni/tests/conformance/case.rs"]
mod case;
#[path = "../../crates/loam-cni/tests/conformance/dhcp_ipvlan.rs"]
mod dhcp_ipvlan;
#[path = "../../crates/loam-cni/tests/conformance/dummy.rs"]
mod dummy;
#[path = "../../crates/loam-cni/tests/conformance/ipvlan.rs"]
mod ipvlan;
#[allow(dead_code, reason = "the suite needs more of it")]
#[path = "../../crates/loam-cni/tests/conformance/lab.rs"]
mod lab;
#[allow(dead_code, reason = "the suite needs more of it")]
#[expect(clippy::print_stdout, reason = "a test that can't run says so")]
#[path = "../../crates/loam-cni/tests/chained/machine.rs"]
mod machine;
#[path = "../../crates/loam-cni/tests/conformance/observation.rs"]
mod observation;
#[allow(dead_code, reason = "the suite needs more of it")]
#[path = "../../crates/loam-cni/tests/conformance/service.rs"]
mod service;
#[path = "../../crates/loam-cni/tests/conformance/state.rs"]
mod state;
#[expect(clippy::print_stdout, reason = "a test that can't run says so")]
#[path = "../../crates/loam-cni/tests/conformance/three_ways.rs"]
mod three_ways;
#[path = "../../crates/loam-cni/tests/conformance/vlan.rs"]
mod vlan;
#[allow(dead_code, reason = "one of its cases is run here")]
#[path = "../../crates/loam-cni/tests/chained/vrf.rs"]
mod vrf;

/// Whether the kernel can; a test that goes on is recorded.
fn can_run(need: Need) -> bool {
    let met = needs::met(&[need]);
    if met {
        needs::record_run();
    }
    met
}

/// Runs the first case where the kernel can.
fn run(test: &str, need: Need, cases: &[Case]) {
    if can_run(need) {
        three_ways::run_three_ways(test, &cases[..1]);
    }
}

#[test]
fn a_vrf_takes_addresses_and_routes_along() {
    if can_run(Need::VrfLinks) {
        vrf::addresses_and_routes_are_taken_along("cni_links::a_vrf_takes_addresses_and_routes_along");
    }
}

#[test]
fn bridges_with_a_gateway_for_a_vlan() {
    run("cni_links::bridges_with_a_gateway_for_a_vlan", Need::VlanBridges, &bridge_vlan::cases());
}

#[test]
fn dummy_links_for_addresses() {
    run("cni_links::dummy_links_for_addresses", Need::DummyLinks, &dummy::cases());
}

#[test]
fn ipvlan_links_in_mode_l2() {
    run("cni_links::ipvlan_links_in_mode_l2", Need::IpvlanLinks, &ipvlan::cases());
}

#[test]
fn leases_on_ipvlan_links() {
    run("cni_links::leases_on_ipvlan_links", Need::IpvlanLinks, &dhcp_ipvlan::cases());
}

#[test]
fn vlan_links_with_a_number() {
    run("cni_links::vlan_links_with_a_number", Need::VlanLinks, &vlan::cases());
}
