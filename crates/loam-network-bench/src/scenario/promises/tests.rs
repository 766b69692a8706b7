//! Each promise, broken by a plugin that is made for it.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use loam_testkit::lab::{inside, succeed};

use super::*;
use crate::chain::Way;
use crate::contender::Contender;
use crate::list::MeasuredList;
use crate::plan::Plan;
use crate::worker::{Setup, prepare};

/// A plugin that keeps all promises: a link with an address in the container, and a rule on the host. What it does wrong
/// is in `$BAD`.
const PLUGIN: &str = r#"
config=$(cat)
case "$config" in *prevResult*) result=known;; *) result=lost;; esac
rule="ip saddr 10.1.1.1 counter comment \"$CNI_CONTAINERID\""
inside() { nsenter --net="$CNI_NETNS" "$@"; }
fail() { echo "{\"code\":100,\"msg\":\"$1\"}"; exit 1; }
has_rule() { nft list ruleset | grep -q "comment \"$CNI_CONTAINERID\""; }
has_link() { [ -n "$CNI_NETNS" ] && inside ip link show eth0 >/dev/null 2>&1; }
has_address() { inside ip addr show dev eth0 | grep -q 10.1.1.1; }
say() { echo '{"cniVersion":"1.0.0","interfaces":[{"name":"eth0","sandbox":"'"$CNI_NETNS"'"}],
    "ips":[{"address":"'"$1"'","interface":0}]}'; }
case "$CNI_COMMAND" in
ADD)
    if has_link; then
        case "$BAD" in
        *second-differs*) inside ip addr add 10.1.1.2/24 dev eth0; say 10.1.1.2/24; exit;;
        *second-fails-and-damages*) inside ip addr flush dev eth0; fail "there is one";;
        *second-succeeds-and-damages*) inside ip addr flush dev eth0; say 10.1.1.1/24; exit;;
        esac
        say 10.1.1.1/24; exit
    fi
    inside ip link add eth0 type bridge
    inside ip addr add 10.1.1.1/24 dev eth0
    inside ip link set eth0 up
    nft "add table ip t; add chain ip t c; add rule ip t c $rule"
    say 10.1.1.1/24;;
CHECK)
    case "$BAD" in *check-never*) fail "no";; *check-always*) exit;; esac
    has_link && has_address && has_rule || fail "it is not as it was";;
DEL)
    case "$BAD" in
    *del-once*) has_link || fail "there is nothing";;
    *del-needs-address*) has_link && { has_address || fail "no address"; };;
    *del-needs-rule*) has_link && { has_rule || fail "no rule"; };;
    *del-needs-namespace*) [ -n "$CNI_NETNS" ] || fail "no namespace";;
    *del-knows-strangers*) [ $result = known ] || has_link || fail "never seen";;
    *del-needs-result*) [ $result = known ] || exit 0;;
    esac
    has_link && inside ip link del eth0
    for handle in $(nft -a list ruleset | sed -n "s/.*comment \"$CNI_CONTAINERID\" # handle //p"); do
        nft delete rule ip t c handle "$handle"
    done
    exit 0;;
esac
"#;

/// The promises that a plugin breaks which does this wrong.
fn broken_by(bad: &str) -> BTreeSet<String> {
    let programs = tempfile::tempdir().expect("a temporary directory");
    let path = programs.path().join("fake");
    fs::write(&path, format!("#!/bin/sh\nBAD={bad}\n{PLUGIN}")).expect("written");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("changed");
    let list = MeasuredList::parse(r#"{"name":"n","cniVersion":"1.0.0","type":"fake"}"#).expect("valid");
    let setup = Setup {
        contender: Contender::directory(programs.path().to_owned()),
        lists: vec![list.clone()],
        plan: Plan::default(),
        caller: Vec::new(),
    };
    let way = Way::Programs(programs.path().to_owned());
    let (mut ground, _) = prepare(&setup, &list, &way).expect("it attaches");
    let promises = hold(&mut ground);
    let untried: Vec<_> = promises.iter().filter(|one| one.verdict == Verdict::NotTried).collect();
    assert!(untried.is_empty(), "{bad}: {untried:#?}");
    drop(ground);
    promises.into_iter().filter(|one| one.verdict == Verdict::Broken).map(|one| one.promise).collect()
}

#[test]
fn each_promise_can_be_broken() {
    inside("scenario::promises::tests::each_promise_can_be_broken", || {
        succeed(&["mount", "-t", "tmpfs", "state", "/var/lib"]);
        fs::create_dir_all(Path::new(crate::place::DIRECTORY).join("ns")).expect("a fresh /run");
        let mut all = BTreeSet::new();
        for (bad, promises) in [
            ("nothing", &[][..]),
            ("second-differs", &["ADD a second time fails or gives the same"]),
            ("second-fails-and-damages", &["ADD a second time leaves the first attachment alone"]),
            ("second-succeeds-and-damages", &["ADD a second time leaves the first attachment alone"]),
            ("check-never", &["CHECK succeeds after ADD"]),
            (
                "check-always",
                &[
                    "CHECK fails when an address is gone",
                    "CHECK fails when the interface is gone",
                    "CHECK fails when the rules are gone",
                ],
            ),
            (
                "del-once",
                &[
                    "DEL succeeds a second time",
                    "DEL succeeds for what was never attached",
                    "DEL succeeds when namespace and attachment are gone",
                    "DEL succeeds when the interface is gone",
                ],
            ),
            ("del-needs-address", &["DEL succeeds when an address is gone"]),
            ("del-needs-rule", &["DEL succeeds when the rules are gone"]),
            ("del-needs-namespace", &["DEL succeeds when namespace and attachment are gone"]),
            ("del-knows-strangers", &["DEL succeeds for what was never attached"]),
            ("del-needs-result", &["DEL detaches without the result of ADD"]),
        ] {
            let found = broken_by(bad);
            assert_eq!(found, promises.iter().map(|text| (*text).to_owned()).collect(), "{bad}");
            all.extend(found);
        }
        assert_eq!(all.len(), 13, "all of them: {all:#?}");
    });
}
