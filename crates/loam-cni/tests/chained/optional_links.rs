//! Plugins whose links not every kernel has. The first test also runs in the guest of `./x vm-test`, whose kernel has them, by
//! `tests/e2e/cni_links.rs`. To run all needs such a kernel.

use loam_testkit::lab::Sandbox;

use crate::vrf;

/// Whether this kernel has links of type `vrf`; says so by name when not.
fn has_vrf(test: &str) -> bool {
    let can = rustix::process::geteuid().is_root() && {
        let script = "ip link add probe type vrf table 9 2>/dev/null && echo known || true";
        Sandbox::new().command(&["sh", "-ec", script]).contains("known")
    };
    if !can {
        println!("skipped: {test}: needs root and links of type vrf");
    }
    can
}

#[test]
fn a_vrf_takes_addresses_and_routes_along() {
    let name = "optional_links::a_vrf_takes_addresses_and_routes_along";
    if has_vrf(name) {
        vrf::addresses_and_routes_are_taken_along(name);
    }
}

#[test]
fn a_vrf_goes_with_its_last_member() {
    let name = "optional_links::a_vrf_goes_with_its_last_member";
    if has_vrf(name) {
        vrf::a_vrf_goes_with_its_last_member(name);
    }
}

#[test]
fn a_vrf_that_can_t_be_is_named() {
    let name = "optional_links::a_vrf_that_can_t_be_is_named";
    if has_vrf(name) {
        vrf::what_can_t_be_is_named(name);
    }
}
