//! Plugins whose links not every kernel has; `tests/e2e/cni_links.rs` runs the same cases in a guest that has them.

use crate::{bridge_vlan, dummy, ipvlan, run_three_ways, vlan};

#[test]
fn dummy_links() {
    run_three_ways("optional_links::dummy_links", &dummy::cases());
}

#[test]
fn ipvlan_links() {
    run_three_ways("optional_links::ipvlan_links", &ipvlan::cases());
}

#[test]
fn vlan_links() {
    run_three_ways("optional_links::vlan_links", &vlan::cases());
}

#[test]
fn bridges_that_filter_vlans() {
    run_three_ways("optional_links::bridges_that_filter_vlans", &bridge_vlan::cases());
}
