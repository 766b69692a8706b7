//! AppArmor: which profile a container gets, and loading the default one.

mod profile;

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use loam_model::oci_spec::runtime::Capability;
use loam_model::{ErrorKind, Failure, Result, shown};

use super::check_label;
pub use profile::DEFAULT_PROFILE;

/// The word for "none".
const UNCONFINED: &str = "unconfined";
/// Where the parser that compiles and loads profiles is installed.
const PARSERS: [&str; 2] = ["/usr/sbin/apparmor_parser", "/sbin/apparmor_parser"];
/// The profiles that the kernel has, a line each: the name and in parentheses the mode.
const PROFILES: &str = "/sys/kernel/security/apparmor/profiles";

/// What can be done with AppArmor on a host whose kernel runs it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AppArmor {
    /// The loaded profiles; `None` where the kernel does not show them, as inside a container.
    profiles: Option<Vec<String>>,
    /// The parser, when it is installed.
    parser: Option<PathBuf>,
    /// Whether this process may load profiles (`CAP_MAC_ADMIN`).
    may_load: bool,
}

/// What becomes of the default profile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DefaultProfile {
    /// The kernel has it.
    Loaded,
    /// It is loaded when a container is first started.
    Loadable,
    /// `apparmor_parser` is not installed.
    NoParser,
    /// The kernel's profiles can't be seen or changed from here, as inside a container.
    OutOfReach,
}

/// Whether the kernel enforces AppArmor profiles.
pub fn is_on() -> bool {
    fs::read_to_string("/sys/module/apparmor/parameters/enabled").is_ok_and(|text| text.starts_with('Y'))
}

impl AppArmor {
    /// Looks at this host; `None` when its kernel does not run AppArmor.
    pub fn detect() -> Option<Self> {
        is_on().then(|| Self {
            profiles: fs::read_to_string(PROFILES).ok().map(|text| names(&text)),
            parser: PARSERS.iter().map(PathBuf::from).find(|path| path.exists()),
            may_load: crate::capabilities::of_this_process().contains(&Capability::MacAdmin),
        })
    }

    /// What becomes of the default profile here.
    pub fn default_profile(&self) -> DefaultProfile {
        match (&self.profiles, &self.parser) {
            (Some(profiles), _) if profiles.iter().any(|name| *name == profile::revision()) => {
                DefaultProfile::Loaded
            }
            (None, _) => DefaultProfile::OutOfReach,
            (Some(_), _) if !self.may_load => DefaultProfile::OutOfReach,
            (Some(_), None) => DefaultProfile::NoParser,
            (Some(_), Some(_)) => DefaultProfile::Loadable,
        }
    }

    fn has(&self, profile: &str) -> bool {
        self.profiles.as_ref().is_none_or(|profiles| profiles.iter().any(|name| name == profile))
    }
}

fn names(text: &str) -> Vec<String> {
    text.lines().map(|line| line.rsplit_once(" (").map_or(line, |(name, _)| name).to_owned()).collect()
}

/// The profile of a container that asked for this one, or for none in particular.
pub(crate) fn resolve(asked: Option<&str>, host: Option<&AppArmor>) -> Result<Option<String>> {
    let profile = match asked {
        Some(UNCONFINED) => return Ok(None),
        Some(profile) => profile,
        None => {
            let state = host.map(AppArmor::default_profile);
            let is_there = matches!(state, Some(DefaultProfile::Loaded | DefaultProfile::Loadable));
            return Ok(is_there.then(|| DEFAULT_PROFILE.to_owned()));
        }
    };
    check_label("AppArmor profile", profile)?;
    let refused = |why: &str| {
        let message = format!("AppArmor profile `{}` can't be applied: {why}", shown(profile));
        Failure::new(ErrorKind::Unsupported, message)
    };
    let Some(host) = host else { return Err(refused("this kernel does not run AppArmor")) };
    if profile == DEFAULT_PROFILE && host.default_profile() == DefaultProfile::NoParser {
        return Err(refused("it is not loaded, and `apparmor_parser` is not installed"));
    }
    let is_loadable = profile == DEFAULT_PROFILE && host.default_profile() == DefaultProfile::Loadable;
    if !is_loadable && !host.has(profile) {
        return Err(refused("it is not loaded").hint("load it with `apparmor_parser --replace FILE`"));
    }
    Ok(Some(profile.to_owned()))
}

/// Loads the default profile if a container is to have it and the kernel does not have it yet. Commands that do this at
/// the same time load the same text, and the kernel replaces a profile at once.
pub(crate) fn load_for(profile: Option<&str>) -> Result<()> {
    if profile != Some(DEFAULT_PROFILE) {
        return Ok(());
    }
    let Some(host) = AppArmor::detect() else { return Ok(()) };
    match (host.default_profile(), &host.parser) {
        (DefaultProfile::Loadable, Some(parser)) => load(parser, &profile::text()).map_err(|why| {
            let message = format!("the AppArmor profile `{DEFAULT_PROFILE}` can't be loaded");
            Failure::new(ErrorKind::Unavailable, message)
                .caused_by(why)
                .hint("`--security-opt apparmor=unconfined` does without")
        }),
        _ => Ok(()),
    }
}

fn load(parser: &Path, text: &str) -> std::io::Result<()> {
    let mut child = Command::new(parser)
        .args(["--replace", "--skip-cache", "--quiet"])
        .env_clear()
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()?;
    if let Some(mut input) = child.stdin.take() {
        // A parser that does not read to the end says why with its exit code.
        input.write_all(text.as_bytes()).ok();
    }
    let output = child.wait_with_output()?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let said = said.lines().find(|line| !line.trim().is_empty()).unwrap_or("it said nothing");
    Err(std::io::Error::other(format!("`{}` failed: {}", parser.display(), shown(said.trim()))))
}

#[cfg(test)]
mod tests;
