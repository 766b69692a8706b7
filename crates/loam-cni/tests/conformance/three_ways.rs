//! A case, three ways.

use loam_testkit::lab::{inside, reference_plugins};

use super::case::Case;
use super::lab::{Lab, Way};
use super::observation;

/// Puts all implementations through the cases and compares what they did; `test` is the whole name of the test function,
/// such as `bridge::gateways`. Cases that need a link type that this kernel lacks are named and left out.
pub(crate) fn run_three_ways(test: &str, cases: &[Case]) {
    inside(test, || {
        let reference = reference_plugins();
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
