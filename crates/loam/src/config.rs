//! What holds for every command: flags, else the environment, else the configuration file, else the defaults.
//!
//! The file is TOML, `/etc/loam/config.toml` unless `--config` names another; without it everything has its default. Keys
//! are the flags' names with `_` for `-`, and two of the image store's that no flag has; one that is not known is refused, because it would be a mistake that nobody sees.

use std::path::{Path, PathBuf};

use loam_model::{CgroupDriver, ErrorKind, Failure, Slice, StoreShare};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

use crate::arguments::{DriverChoice, Global, LogLevel};
use crate::flags::parse_share;
use crate::flags::words::read_text;

/// Where the file is.
const DEFAULT_FILE: &str = "/etc/loam/config.toml";
/// Where state is.
const DEFAULT_ROOT: &str = "/var/lib/loam";
/// Where what a restart empties is.
const DEFAULT_RUN: &str = "/run/loam";

/// What holds for every command.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// The state directory.
    pub(crate) root: PathBuf,
    /// The run directory.
    pub(crate) run: PathBuf,
    /// How much is logged.
    pub(crate) log_level: Option<LogLevel>,
    /// Who makes the cgroups of new containers; found out when it is not said.
    pub(crate) cgroup_driver: Option<CgroupDriver>,
    /// Where systemd's scopes go.
    pub(crate) cgroup_slice: Slice,
    /// Whether the compressed blobs of layers are kept beside their files.
    pub(crate) keep_blobs: bool,
    /// When images that nothing needs go after a pull.
    pub(crate) prune_threshold: Option<StoreShare>,
    /// The configuration file, when it is not the usual one.
    pub(crate) config: Option<PathBuf>,
}

/// The keys of the file.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Keys {
    root: Option<PathBuf>,
    run: Option<PathBuf>,
    log_level: Option<LogLevel>,
    cgroup_driver: Option<DriverChoice>,
    cgroup_slice: Option<Slice>,
    keep_blobs: Option<bool>,
    #[serde(deserialize_with = "share")]
    prune_threshold: Option<StoreShare>,
}

fn share<'a, D: Deserializer<'a>>(deserializer: D) -> Result<Option<StoreShare>, D::Error> {
    let text = String::deserialize(deserializer)?;
    parse_share(&text).map(Some).map_err(|error| D::Error::custom(format!("`{text}`: {error}")))
}

impl Settings {
    /// Reads the configuration file, and lets flags go before it.
    pub(crate) fn resolve(global: Global) -> Result<Self, Failure> {
        let keys = match &global.config {
            Some(path) => Keys::read(path)?,
            None => match Keys::read(Path::new(DEFAULT_FILE)) {
                Err(failure) if failure.kind() == ErrorKind::NotFound => Keys::default(),
                keys => keys?,
            },
        };
        let choice = global.cgroup_driver.or(keys.cgroup_driver).unwrap_or_default();
        Ok(Self {
            root: global.root.or(keys.root).unwrap_or_else(|| DEFAULT_ROOT.into()),
            run: global.run.or(keys.run).unwrap_or_else(|| DEFAULT_RUN.into()),
            log_level: global.log_level.or(keys.log_level),
            cgroup_driver: choice.driver(),
            cgroup_slice: global.cgroup_slice.or(keys.cgroup_slice).unwrap_or_else(Slice::machine),
            keep_blobs: keys.keep_blobs.unwrap_or(false),
            prune_threshold: keys.prune_threshold,
            config: global.config,
        })
    }
}

impl Keys {
    /// The keys of a file.
    fn read(path: &Path) -> Result<Self, Failure> {
        Self::parse(path, &read_text("configuration file", path)?)
    }

    fn parse(path: &Path, text: &str) -> Result<Self, Failure> {
        let invalid = |sentence: &str| {
            let message = format!("the configuration file `{}` can't be used: {sentence}", path.display());
            Failure::new(ErrorKind::Invalid, message)
        };
        let keys: Self = toml::from_str(text).map_err(|error| {
            let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
            let sentence = error.message().trim_end().replace('\n', ", ");
            invalid(&format!("line {}: {sentence}", before.matches('\n').count() + 1))
        })?;
        for (key, value) in [("root", &keys.root), ("run", &keys.run)] {
            if let Some(path) = value.as_ref().filter(|path| !path.is_absolute()) {
                return Err(invalid(&format!("`{key}` is not an absolute path but `{}`", path.display())));
            }
        }
        Ok(keys)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> String {
        Keys::parse(Path::new("/c"), text).expect_err("refused").chain()
    }

    fn global(config: &Path) -> Global {
        Global {
            root: None,
            run: None,
            config: Some(config.to_owned()),
            cgroup_driver: None,
            cgroup_slice: None,
            log_level: None,
        }
    }

    #[test]
    fn keys_are_the_flags_names() {
        let text = "root = '/r'\nrun = \"/n\"\nlog_level = 'debug'\ncgroup_driver = 'systemd'\ncgroup_slice = 'a-b.slice'\n";
        let keys = Keys::parse(Path::new("/c"), text).expect("valid");
        assert_eq!((keys.root, keys.run), (Some("/r".into()), Some("/n".into())));
        assert_eq!(keys.cgroup_slice.map(|slice| slice.path()).as_deref(), Some("/a.slice/a-b.slice"));
    }

    #[test]
    fn mistakes_are_named_with_their_line() {
        insta::assert_snapshot!(refused("root = '/r'\nruhn = '/n'\n"), @"the configuration file `/c` can't be used: line 2: unknown field `ruhn`, expected one of `root`, `run`, `log_level`, `cgroup_driver`, `cgroup_slice`, `keep_blobs`, `prune_threshold`");
        insta::assert_snapshot!(refused("cgroup_driver = 'upstart'"), @"the configuration file `/c` can't be used: line 1: unknown variant `upstart`, expected one of `auto`, `cgroupfs`, `systemd`");
        insta::assert_snapshot!(refused("cgroup_slice = 'a/b'"), @"the configuration file `/c` can't be used: line 1: `a/b` is not the name of a slice, such as `machine.slice`");
        insta::assert_snapshot!(refused("prune_threshold = '120%'"), @"the configuration file `/c` can't be used: line 1: `120%`: a part of the file system is from 0% to 100%");
        insta::assert_snapshot!(refused("prune_threshold = '80'"), @"the configuration file `/c` can't be used: line 1: `80`: a part of the file system needs a %, such as 80%, and a size a unit, such as 20g");
        insta::assert_snapshot!(refused("root = 5"), @"the configuration file `/c` can't be used: line 1: invalid type: integer `5`, expected path string");
        insta::assert_snapshot!(refused("root = 'here'"), @"the configuration file `/c` can't be used: `root` is not an absolute path but `here`");
        insta::assert_snapshot!(refused("root"), @"the configuration file `/c` can't be used: line 1: key with no value, expected `=`");
    }

    #[test]
    fn flags_go_before_the_file_and_the_file_before_defaults() {
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("config.toml");
        assert_eq!(Settings::resolve(global(&file)).expect_err("missing").kind(), ErrorKind::NotFound);
        let text = "root = '/r'\ncgroup_driver = 'systemd'\ncgroup_slice = 'a.slice'\n";
        std::fs::write(&file, text).expect("written");
        let settings = Settings::resolve(global(&file)).expect("valid");
        assert_eq!(
            (settings.root.as_path(), settings.run.as_path()),
            (Path::new("/r"), Path::new(DEFAULT_RUN))
        );
        assert_eq!(settings.cgroup_driver, Some(CgroupDriver::Systemd));
        assert_eq!(settings.cgroup_slice.as_str(), "a.slice");
        let mut flags = global(&file);
        flags.cgroup_slice = Some("b.slice".parse().expect("a slice"));
        (flags.root, flags.cgroup_driver) = (Some("/f".into()), Some(DriverChoice::Auto));
        let settings = Settings::resolve(flags).expect("valid");
        assert_eq!((settings.root.as_path(), settings.cgroup_driver), (Path::new("/f"), None));
        assert_eq!(settings.cgroup_slice.as_str(), "b.slice");
    }
}
