//! Profiles that people give: the runtime specification's JSON, or Docker's, which is that with conditions.

use loam_model::oci_spec::runtime::{
    Arch, Capabilities, LinuxSeccomp, LinuxSeccompAction, LinuxSeccompArg, LinuxSeccompBuilder,
    LinuxSeccompFilterFlag, LinuxSyscall, LinuxSyscallBuilder,
};
use serde::Deserialize;

use super::SeccompError;
use crate::capabilities::capability_name;

/// More than any profile has.
const MAX_BYTES: usize = 1 << 20;
/// More than there are system calls.
const MAX_RULES: usize = 10_000;

/// What conditions are about.
#[derive(Clone, Debug)]
pub(super) struct Host {
    /// The architecture in Docker's words, and those that it can run beside.
    pub(super) architectures: Vec<&'static str>,
    /// The kernel's version.
    pub(super) kernel: (u32, u32),
    /// The capabilities of the container, `CAP_…`.
    pub(super) capabilities: Vec<String>,
}

impl Host {
    /// This machine, and a container with these capabilities in its bounding set.
    pub(super) fn this(bounding: &Capabilities) -> Self {
        let architectures = match std::env::consts::ARCH {
            "x86_64" => vec!["amd64", "x86", "x32"],
            "aarch64" => vec!["arm64", "arm"],
            "powerpc64" if cfg!(target_endian = "little") => vec!["ppc64le"],
            "s390x" => vec!["s390x", "s390"],
            other => vec![other],
        };
        let release = rustix::system::uname().release().to_string_lossy().into_owned();
        Self {
            architectures,
            kernel: version(&release).unwrap_or_default(),
            capabilities: bounding.iter().map(|&capability| capability_name(capability)).collect(),
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    default_action: LinuxSeccompAction,
    default_errno_ret: Option<u32>,
    architectures: Option<Vec<Arch>>,
    arch_map: Option<Vec<ArchitectureMap>>,
    flags: Option<Vec<LinuxSeccompFilterFlag>>,
    listener_path: Option<serde_json::Value>,
    #[serde(default)]
    syscalls: Vec<Rule>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ArchitectureMap {
    architecture: Arch,
    sub_architectures: Option<Vec<Arch>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Rule {
    #[serde(default)]
    names: Vec<String>,
    name: Option<String>,
    action: LinuxSeccompAction,
    errno_ret: Option<u32>,
    args: Option<Vec<LinuxSeccompArg>>,
    includes: Option<Conditions>,
    excludes: Option<Conditions>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Conditions {
    arches: Vec<String>,
    caps: Vec<String>,
    min_kernel: Option<String>,
}

/// Reads a profile and resolves its conditions.
pub(super) fn resolve(text: &str, host: &Host) -> Result<LinuxSeccomp, SeccompError> {
    let invalid = |rule: &str| SeccompError::Invalid { rule: rule.to_owned() };
    if text.len() > MAX_BYTES {
        return Err(invalid("it is larger than a mebibyte"));
    }
    let document: Document = serde_json::from_str(text).map_err(|source| SeccompError::Json { source })?;
    if document.syscalls.len() > MAX_RULES {
        return Err(invalid("it has more than 10000 rules"));
    }
    if document.listener_path.is_some_and(|path| !path.is_null()) {
        return Err(SeccompError::Action { action: "SCMP_ACT_NOTIFY".to_owned() });
    }
    if document.architectures.is_some() && document.arch_map.is_some() {
        return Err(invalid("`architectures` and `archMap` can't both be given"));
    }
    let architectures = document.architectures.or_else(|| document.arch_map.map(|map| native(&map)));
    let mut rules = Vec::new();
    for rule in document.syscalls {
        rules.extend(resolve_rule(rule, host)?);
    }
    let mut profile = LinuxSeccompBuilder::default()
        .default_action(document.default_action)
        .syscalls(rules)
        .build()
        .expect("every member of a profile has a default");
    profile.set_default_errno_ret(document.default_errno_ret);
    profile.set_architectures(architectures);
    profile.set_flags(document.flags);
    Ok(profile)
}

fn resolve_rule(mut rule: Rule, host: &Host) -> Result<Option<LinuxSyscall>, SeccompError> {
    let invalid = |rule: &str| SeccompError::Invalid { rule: rule.to_owned() };
    rule.names.extend(rule.name);
    if rule.names.is_empty() {
        return Err(invalid("a rule names no system call"));
    }
    if rule.action == LinuxSeccompAction::ScmpActNotify {
        return Err(SeccompError::Action { action: "SCMP_ACT_NOTIFY".to_owned() });
    }
    let included = rule.includes.as_ref().is_none_or(|conditions| conditions.include(host));
    let excluded = rule.excludes.as_ref().is_some_and(|conditions| conditions.exclude(host));
    if !included || excluded {
        return Ok(None);
    }
    let mut resolved = LinuxSyscallBuilder::default()
        .names(rule.names)
        .action(rule.action)
        .build()
        .expect("every member of a rule has a default");
    resolved.set_errno_ret(rule.errno_ret);
    resolved.set_args(rule.args.filter(|arguments| !arguments.is_empty()));
    Ok(Some(resolved))
}

impl Conditions {
    /// Whether all hold: one of the architectures, every capability, the kernel.
    fn include(&self, host: &Host) -> bool {
        (self.arches.is_empty() || self.arches.iter().any(|name| host.architectures.contains(&name.as_str())))
            && self.caps.iter().all(|name| host.capabilities.contains(name))
            && self.min_kernel.as_deref().is_none_or(|wanted| host.has_kernel(wanted))
    }

    /// Whether any holds.
    fn exclude(&self, host: &Host) -> bool {
        self.arches.iter().any(|name| host.architectures.contains(&name.as_str()))
            || self.caps.iter().any(|name| host.capabilities.contains(name))
            || self.min_kernel.as_deref().is_some_and(|wanted| host.has_kernel(wanted))
    }
}

impl Host {
    fn has_kernel(&self, wanted: &str) -> bool {
        version(wanted).is_some_and(|wanted| self.kernel >= wanted)
    }
}

/// The first two numbers of a kernel's version.
fn version(text: &str) -> Option<(u32, u32)> {
    let mut numbers = text.split(|c: char| !c.is_ascii_digit()).map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

/// This machine's architecture with those that run beside it.
fn native(map: &[ArchitectureMap]) -> Vec<Arch> {
    let native = match std::env::consts::ARCH {
        "x86_64" => Arch::ScmpArchX86_64,
        "aarch64" => Arch::ScmpArchAarch64,
        "riscv64" => Arch::ScmpArchRiscv64,
        "s390x" => Arch::ScmpArchS390x,
        "loongarch64" => Arch::ScmpArchLoongarch64,
        "powerpc64" => Arch::ScmpArchPpc64le,
        _ => Arch::ScmpArchNative,
    };
    let entry = map.iter().find(|entry| entry.architecture == native);
    let beside = entry.and_then(|entry| entry.sub_architectures.clone()).unwrap_or_default();
    [native].into_iter().chain(beside).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(capabilities: &[&str]) -> Host {
        let capabilities = capabilities.iter().map(|&name| name.to_owned()).collect();
        Host { architectures: vec!["amd64", "x86"], kernel: (5, 10), capabilities }
    }

    fn names(rules: &str, host: &Host) -> Vec<String> {
        let text = format!(r#"{{"defaultAction":"SCMP_ACT_ERRNO","syscalls":[{rules}]}}"#);
        let profile = resolve(&text, host).expect("a valid profile");
        profile.syscalls().iter().flatten().flat_map(|rule| rule.names().clone()).collect()
    }

    #[test]
    fn conditions_are_resolved() {
        let with = |member: &str| format!(r#"{{"names":["x"],"action":"SCMP_ACT_ALLOW",{member}}}"#);
        let table = [
            (r#""args":[]"#, true),
            (r#""comment":"","includes":{},"excludes":{}"#, true),
            (r#""includes":{"caps":["CAP_SYS_ADMIN"]}"#, true),
            (r#""includes":{"caps":["CAP_SYS_ADMIN","CAP_BPF"]}"#, false),
            (r#""excludes":{"caps":["CAP_SYS_ADMIN"]}"#, false),
            (r#""excludes":{"caps":["CAP_BPF"]}"#, true),
            (r#""includes":{"arches":["x86"]}"#, true),
            (r#""includes":{"arches":["arm64"]}"#, false),
            (r#""excludes":{"arches":["arm64","amd64"]}"#, false),
            (r#""includes":{"minKernel":"4.8"}"#, true),
            (r#""includes":{"minKernel":"5.11"}"#, false),
        ];
        for (member, taken) in table {
            let expected: &[&str] = if taken { &["x"] } else { &[] };
            assert_eq!(names(&with(member), &host(&["CAP_SYS_ADMIN"])), expected, "{member}");
        }
        assert_eq!(names(r#"{"name":"y","action":"SCMP_ACT_ALLOW"}"#, &host(&[])), ["y"]);
    }

    #[test]
    fn our_own_profile_survives_the_way_through_json() {
        let ours = super::super::default_profile::build(&Capabilities::default(), false);
        let text = serde_json::to_string(&ours).expect("plain data");
        assert_eq!(resolve(&text, &host(&[])).expect("valid"), ours);
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let refused = |text: &str| resolve(text, &host(&[])).expect_err(text).into_failure().to_string();
        insta::assert_snapshot!(refused("{"), @"seccomp profile is not the JSON of a profile");
        insta::assert_snapshot!(refused(r#"{"defaultAction":"SCMP_ACT_KILL","syscalls":[{"names":[],"action":"SCMP_ACT_ALLOW"}]}"#), @"seccomp profile is not valid: a rule names no system call");
        insta::assert_snapshot!(refused(r#"{"defaultAction":"SCMP_ACT_KILL","syscalls":[{"names":["x"],"action":"SCMP_ACT_NOTIFY"}]}"#), @"seccomp action `SCMP_ACT_NOTIFY` is not supported");
        insta::assert_snapshot!(refused(r#"{"defaultAction":"SCMP_ACT_KILL","architectures":[],"archMap":[]}"#), @"seccomp profile is not valid: `architectures` and `archMap` can't both be given");
    }
}
