//! Limits, read back from the kernel and felt.

/// Makes two tests of a check, `CHECK::version_one` and `CHECK::version_two`: each runs where control groups are of that
/// version, and what else is named is there. So the summary tells on which version a limit was felt.
macro_rules! on_both_versions {
    ($check:ident $(, $need:ident)*) => {
        mod $check {
            use loam_tests::{Need, needs};

            #[test]
            fn version_one() {
                if needs::met(&[Need::CgroupV1 $(, Need::$need)*]) {
                    super::$check();
                }
            }

            #[test]
            fn version_two() {
                if needs::met(&[Need::CgroupV2 $(, Need::$need)*]) {
                    super::$check();
                }
            }
        }
    };
}

mod devices;
mod huge_pages;
mod memory;
mod processes;
mod processor;
mod refusals;
mod statistics;
mod version_one;
mod version_two;
