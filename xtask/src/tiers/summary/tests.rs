//! Tables of small records.

use loam_tests::Need;

use super::*;

const LACKS_QUOTA: &[&str] = &["xfs-prjquota"];
const LACKS_SYSTEMD: &[&str] = &["systemd"];
const LACKS_OLD: &[&str] = &["cgroup-v1"];

fn tier(name: &str, provides: &'static [Need]) -> Tier {
    Tier { name: name.to_owned(), provides: provides.to_vec() }
}

fn bare() -> Tier {
    tier("bare", &[Need::XfsProjectQuota])
}

fn systemd() -> Tier {
    tier("systemd", &[Need::XfsProjectQuota, Need::Systemd])
}

/// A record; a test that lacks nothing ran.
fn record(lines: &[(&str, &[&str])]) -> Record {
    let outcome = |needs: &[&str]| match needs {
        [] => Outcome::Ran,
        needs => Outcome::Lacks(needs.iter().map(|need| (*need).to_owned()).collect()),
    };
    lines.iter().map(|(name, needs)| ((*name).to_owned(), outcome(needs))).collect()
}

fn summary(columns: Vec<(Tier, Record)>) -> Summary {
    let tests = ["run", "quota", "driver"].map(str::to_owned).to_vec();
    Summary { tests, columns, tiers: vec![Tier::host(), bare(), systemd()] }
}

fn host_record() -> (Tier, Record) {
    (Tier::host(), record(&[("run", &[]), ("quota", LACKS_QUOTA), ("driver", LACKS_SYSTEMD)]))
}

#[test]
fn the_host_alone_leaves_to_guests_what_it_lacks() {
    let summary = summary(vec![host_record()]);
    assert_eq!(summary.problems(&[Tier::host()]), Vec::<String>::new());
    assert_eq!(summary.left_to(&bare()), ["quota"]);
    assert_eq!(summary.left_to(&systemd()), ["quota", "driver"]);
}

#[test]
fn the_first_guest_is_asked_for_all_tests_and_the_next_for_none_of_them() {
    assert_eq!(summary(vec![host_record()]).tried_in_no_guest(), ["run", "quota", "driver"]);
    let guest = record(&[("run", &[]), ("driver", LACKS_SYSTEMD)]);
    assert_eq!(summary(vec![host_record(), (bare(), guest)]).tried_in_no_guest(), ["quota"]);
}

#[test]
fn the_table_has_a_line_a_test_and_names_what_ran_nowhere() {
    let guest = record(&[("run", &[]), ("quota", &[]), ("driver", LACKS_SYSTEMD)]);
    let text = "
test                   host                bare
run                    ran                 ran
quota                  lacks xfs-prjquota  ran
driver                 lacks systemd       lacks systemd
3 tests, of which ran  1                   2
ran on no tier: driver, lacks systemd, which is on systemd
";
    assert_eq!(summary(vec![host_record(), (bare(), guest)]).text(), text);
}

#[test]
fn a_test_that_ran_on_none_of_the_tiers_that_can_run_it_is_a_problem() {
    let guest = record(&[("run", &[]), ("quota", &[]), ("driver", &[])]);
    let all = summary(vec![host_record(), (systemd(), guest)]);
    assert_eq!(all.problems(&[Tier::host(), bare(), systemd()]), Vec::<String>::new());
    // The guest has passed but the test wrote nothing there.
    let forgot = summary(vec![host_record(), (systemd(), record(&[("run", &[]), ("quota", &[])]))]);
    assert_eq!(forgot.problems(&[Tier::host(), bare()]), Vec::<String>::new());
    assert_eq!(forgot.problems(&[Tier::host(), bare(), systemd()]), ["`driver` ran on no tier"]);
}

#[test]
fn a_tier_without_what_it_should_have_is_a_problem() {
    let guest = record(&[("run", &[]), ("quota", LACKS_QUOTA), ("driver", LACKS_SYSTEMD)]);
    let problems = summary(vec![host_record(), (bare(), guest)]).problems(&[bare()]);
    assert_eq!(
        problems,
        ["`quota` found no xfs-prjquota on the tier bare, which should have it", "`quota` ran on no tier"]
    );
}

#[test]
fn a_test_that_no_tier_can_run_or_that_says_nothing_is_a_problem() {
    let host = record(&[("run", &[]), ("driver", LACKS_OLD)]);
    let summary = summary(vec![(Tier::host(), host)]);
    assert_eq!(summary.problems(&[]), Vec::<String>::new(), "a run that failed has said so already");
    assert_eq!(
        summary.problems(&[Tier::host()]),
        [
            "`quota` did not say on any tier whether it ran",
            "`driver` ran on no tier, and no guest has cgroup-v1"
        ]
    );
}
