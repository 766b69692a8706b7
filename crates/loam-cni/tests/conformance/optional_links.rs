//! Plugins whose links not every kernel has. Where there are none, the cases say so by name; of each plugin, the first also runs
//! in the guest of `./x vm-test`, whose kernel has them, by `tests/e2e/cni_links.rs`. To run all needs such a kernel.

use crate::{bridge_vlan, dhcp, dhcp_ipvlan, dummy, ipvlan, run_three_ways, vlan};

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

#[test]
fn leases_on_ipvlan_links() {
    let name = "optional_links::leases_on_ipvlan_links";
    if dhcp::have_server(name) {
        run_three_ways(name, &dhcp_ipvlan::cases());
    }
}
