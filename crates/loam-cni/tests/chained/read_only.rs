//! Hosts whose kernel settings can't be changed.

use loam_testkit::lab::{inside, succeed};

use crate::machine::Machine;

/// Whoever finds a bridge takes it as it is, so that one which listens to advertised routes must not stay.
#[test]
fn a_bridge_that_can_t_be_closed_to_routers_does_not_stay() {
    inside("read_only::a_bridge_that_can_t_be_closed_to_routers_does_not_stay", || {
        let machine = Machine::new(None);
        succeed(&["mount", "--bind", "/proc/sys", "/proc/sys"]);
        succeed(&["mount", "-o", "remount,bind,ro", "/proc/sys"]);
        for _ in 0..2 {
            let error = machine.call("ADD", "bridge", &machine.bridge()).expect_err("nothing can be set");
            assert!(error["msg"].as_str().is_some_and(|text| text.contains("`br0`")), "{error:#}");
            assert!(!machine.host.command(&["ip", "-o", "link"]).contains("br0"));
        }
        succeed(&["umount", "/proc/sys"]);
        machine.attach();
    });
}
