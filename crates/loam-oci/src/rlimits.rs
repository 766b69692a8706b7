//! Resource limits of processes (setrlimit(2)).

use std::collections::BTreeMap;

use loam_model::oci_spec::runtime::{PosixRlimit, PosixRlimitBuilder, PosixRlimitType};
use loam_model::{ErrorKind, Failure, Result, shown};
use rustix::process::Resource;

/// Open files: enough for servers that ask for more, few for old programs that close every descriptor there could be.
const DEFAULT_FILES: (u64, u64) = (1024, 524_288);

/// The names as people write them.
const KINDS: [(&str, PosixRlimitType, Resource); 16] = [
    ("as", PosixRlimitType::RlimitAs, Resource::As),
    ("core", PosixRlimitType::RlimitCore, Resource::Core),
    ("cpu", PosixRlimitType::RlimitCpu, Resource::Cpu),
    ("data", PosixRlimitType::RlimitData, Resource::Data),
    ("fsize", PosixRlimitType::RlimitFsize, Resource::Fsize),
    ("locks", PosixRlimitType::RlimitLocks, Resource::Locks),
    ("memlock", PosixRlimitType::RlimitMemlock, Resource::Memlock),
    ("msgqueue", PosixRlimitType::RlimitMsgqueue, Resource::Msgqueue),
    ("nice", PosixRlimitType::RlimitNice, Resource::Nice),
    ("nofile", PosixRlimitType::RlimitNofile, Resource::Nofile),
    ("nproc", PosixRlimitType::RlimitNproc, Resource::Nproc),
    ("rss", PosixRlimitType::RlimitRss, Resource::Rss),
    ("rtprio", PosixRlimitType::RlimitRtprio, Resource::Rtprio),
    ("rttime", PosixRlimitType::RlimitRttime, Resource::Rttime),
    ("sigpending", PosixRlimitType::RlimitSigpending, Resource::Sigpending),
    ("stack", PosixRlimitType::RlimitStack, Resource::Stack),
];

/// The highest hard limit that this process may set: its own, or anything with the capability to raise limits.
pub(crate) fn ceiling(resource: Resource, can_raise: bool) -> u64 {
    let own = rustix::process::getrlimit(resource).maximum.unwrap_or(u64::MAX);
    if !can_raise {
        return own;
    }
    if resource != Resource::Nofile {
        return u64::MAX;
    }
    // Nobody may have more open files than this.
    let most = std::fs::read_to_string("/proc/sys/fs/nr_open").ok().and_then(|text| text.trim().parse().ok());
    most.unwrap_or(own).max(own)
}

/// The limits of a container: those asked for, and the default for open files. What is above the ceiling is lowered, and
/// said if it was asked for.
pub(crate) fn resolve(
    asked: &BTreeMap<String, (u64, u64)>,
    ceiling: impl Fn(Resource) -> u64,
    warnings: &mut Vec<String>,
) -> Result<Vec<PosixRlimit>> {
    let mut limits = Vec::new();
    if !asked.contains_key("nofile") {
        let (soft, hard) = DEFAULT_FILES;
        let hard = hard.min(ceiling(Resource::Nofile));
        limits.push(limit(PosixRlimitType::RlimitNofile, soft.min(hard), hard));
    }
    for (name, &(soft, hard)) in asked {
        let Some((name, kind, resource)) = KINDS.into_iter().find(|(known, ..)| known == name) else {
            let message = format!("resource limit `{}` is unknown", shown(name));
            return Err(Failure::new(ErrorKind::Invalid, message).hint("limits are listed in getrlimit(2)"));
        };
        if soft > hard {
            let message =
                format!("resource limit `{name}={soft}:{hard}` has a soft value above the hard one");
            return Err(Failure::new(ErrorKind::Invalid, message));
        }
        let most = ceiling(resource);
        if hard > most {
            warnings.push(format!(
                "resource limit `{name}` is lowered to {most}, the most that this host lets the engine set"
            ));
        }
        limits.push(limit(kind, soft.min(most), hard.min(most)));
    }
    Ok(limits)
}

fn limit(kind: PosixRlimitType, soft: u64, hard: u64) -> PosixRlimit {
    PosixRlimitBuilder::default()
        .typ(kind)
        .soft(soft)
        .hard(hard)
        .build()
        .expect("every member of a limit has a default")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolved(asked: &[(&str, (u64, u64))], most: u64) -> (Result<Vec<(u64, u64)>>, Vec<String>) {
        let asked = asked.iter().map(|&(name, limit)| (name.to_owned(), limit)).collect();
        let mut warnings = Vec::new();
        let limits = resolve(&asked, |_| most, &mut warnings);
        (limits.map(|limits| limits.iter().map(|limit| (limit.soft(), limit.hard())).collect()), warnings)
    }

    #[test]
    fn the_default_is_lowered_in_silence_and_what_was_asked_for_with_a_word() {
        for (most, expected) in [(u64::MAX, (1024, 524_288)), (500, (500, 500))] {
            let (limits, warnings) = resolved(&[], most);
            assert_eq!((limits.expect("valid"), warnings.len()), (vec![expected], 0));
        }
        let (limits, warnings) = resolved(&[("nofile", (10, 4000)), ("core", (0, 0))], 300);
        assert_eq!(limits.expect("valid"), [(0, 0), (10, 300)]);
        insta::assert_snapshot!(warnings.join("\n"), @"resource limit `nofile` is lowered to 300, the most that this host lets the engine set");
    }

    #[test]
    fn nonsense_is_refused() {
        let unknown = resolved(&[("files", (1, 1))], 9).0.expect_err("unknown");
        insta::assert_snapshot!(unknown.to_string(), @"resource limit `files` is unknown");
        let upside_down = resolved(&[("core", (2, 1))], 9).0.expect_err("upside down");
        insta::assert_snapshot!(upside_down.to_string(), @"resource limit `core=2:1` has a soft value above the hard one");
    }
}
