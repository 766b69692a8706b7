//! What flags and the configuration file say: a flag goes before the file, the file before what is built in.

use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::arguments::{Create, Global};
use crate::error::GrootfsError;
use crate::yaml;

/// Where the store is when nobody says.
const STORE: &str = "/var/lib/grootfs";
/// The longest file that is read, in bytes.
const LONGEST: u64 = 1 << 20;

/// What is to be done how. Keys that nobody knows are left alone.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Config {
    pub(crate) store: PathBuf,
    pub(crate) log_level: String,
    pub(crate) log_file: Option<PathBuf>,
    pub(crate) metron_endpoint: Option<String>,
    pub(crate) create: CreateConfig,
    pub(crate) clean: CleanConfig,
    pub(crate) init: InitConfig,
    /// The file that all this was in, for a second run.
    #[serde(skip)]
    pub(crate) file: Option<PathBuf>,
}

/// The keys below `create`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct CreateConfig {
    pub(crate) exclude_image_from_quota: bool,
    pub(crate) skip_layer_validation: bool,
    pub(crate) with_clean: bool,
    pub(crate) clean_log_file: Option<PathBuf>,
    pub(crate) without_mount: bool,
    pub(crate) disk_limit_size_bytes: i64,
    pub(crate) insecure_registries: Vec<String>,
    pub(crate) remote_layer_client_certificates_path: Option<PathBuf>,
}

/// The keys below `clean`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct CleanConfig {
    pub(crate) threshold_bytes: i64,
}

/// The keys below `init`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct InitConfig {
    pub(crate) store_size_bytes: i64,
    pub(crate) with_direct_io: bool,
}

impl Config {
    /// Reads the file that the flags name, and lets the flags go before it.
    pub(crate) fn read(global: &Global) -> Result<Self, GrootfsError> {
        let mut config = match &global.config {
            None => Self::default(),
            Some(path) => of_file(path)?,
        };
        let set = |flag: &Option<PathBuf>, value: &mut PathBuf| {
            if let Some(flag) = flag {
                value.clone_from(flag);
            }
        };
        set(&global.store, &mut config.store);
        if config.store.as_os_str().is_empty() {
            config.store = STORE.into();
        }
        config.store = loam_sys::follow_link(&config.store)
            .map_err(|error| GrootfsError::said(format!("`{}`: {error}", config.store.display())))?;
        if let Some(level) = &global.log_level {
            config.log_level.clone_from(level);
        }
        config.log_file = global.log_file.clone().or(config.log_file);
        config.metron_endpoint = global.metron_endpoint.clone().or(config.metron_endpoint);
        config.log_file = config.log_file.filter(|path| !path.as_os_str().is_empty());
        config.metron_endpoint = config.metron_endpoint.filter(|text| !text.is_empty());
        config.check()?;
        Ok(config)
    }

    /// Lets the flags of `create` go before the file.
    pub(crate) fn with_create(mut self, flags: &Create) -> Result<Self, GrootfsError> {
        if flags.with_clean && flags.without_clean {
            return Err(GrootfsError::said("with-clean and without-clean cannot be used together"));
        }
        let create = &mut self.create;
        create.with_clean = (create.with_clean || flags.with_clean) && !flags.without_clean;
        create.without_mount = (create.without_mount || flags.without_mount) && !flags.with_mount;
        if let Some(flag) = flags.exclude_image_from_quota {
            create.exclude_image_from_quota = flag;
        }
        if let Some(flag) = flags.skip_layer_validation {
            create.skip_layer_validation = flag;
        }
        if let Some(bytes) = flags.disk_limit_size_bytes {
            create.disk_limit_size_bytes = bytes;
        }
        if !flags.insecure_registry.is_empty() {
            create.insecure_registries.clone_from(&flags.insecure_registry);
        }
        if flags.clean_log_file.is_some() {
            create.clean_log_file.clone_from(&flags.clean_log_file);
        }
        self.with_threshold(flags.threshold_bytes)
    }

    /// Lets the flag of `clean` go before the file.
    pub(crate) fn with_threshold(mut self, bytes: Option<i64>) -> Result<Self, GrootfsError> {
        self.clean.threshold_bytes = bytes.unwrap_or(self.clean.threshold_bytes);
        self.check()?;
        Ok(self)
    }

    fn check(&self) -> Result<(), GrootfsError> {
        let negative =
            |what: &str| Err(GrootfsError::said(format!("invalid argument: {what} cannot be negative")));
        if self.create.disk_limit_size_bytes < 0 {
            return negative("disk limit");
        }
        if self.clean.threshold_bytes < 0 {
            return negative("clean threshold");
        }
        if self.init.store_size_bytes < 0 {
            return negative("store size");
        }
        Ok(())
    }
}

fn of_file(path: &Path) -> Result<Config, GrootfsError> {
    let unreadable = |error: &dyn std::fmt::Display| {
        GrootfsError::said(format!("invalid config path `{}`: {error}", path.display()))
    };
    let status = fs::metadata(path).map_err(|error| unreadable(&error))?;
    if status.len() > LONGEST {
        return Err(unreadable(&"the file is too long"));
    }
    let text = fs::read_to_string(path).map_err(|error| unreadable(&error))?;
    let malformed = |error: &dyn std::fmt::Display| {
        GrootfsError::said(format!("invalid config file `{}`: {error}", path.display()))
    };
    let value = without_nulls(yaml::read(&text).map_err(|error| malformed(&error))?);
    let value = if value.is_null() { serde_json::json!({}) } else { value };
    let config: Config = serde_json::from_value(value).map_err(|error| malformed(&error))?;
    Ok(Config { file: Some(path.to_owned()), ..config })
}

/// A key without a value says nothing.
fn without_nulls(value: serde_json::Value) -> serde_json::Value {
    match value {
        serde_json::Value::Object(pairs) => pairs
            .into_iter()
            .filter(|(_, value)| !value.is_null())
            .map(|(key, value)| (key, without_nulls(value)))
            .collect(),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_text(text: &str) -> Result<Config, GrootfsError> {
        let file = tempfile::NamedTempFile::new().expect("a file");
        fs::write(file.path(), text).expect("written");
        Config::read(&Global { config: Some(file.path().to_owned()), ..Global::default() })
    }

    #[test]
    fn the_file_that_the_bosh_release_writes_is_read() {
        let text = "---\nstore: /var/vcap/data/grootfs/store/unprivileged\ntardis_bin: /x\nlog_level: error\n\
                    log_timestamp_format: rfc3339\nmetron_endpoint:\ncreate:\n  with_clean: true\n  \
                    skip_layer_validation: true\n  insecure_registries:\n  - a.example:5000\n  - b\nclean:\n  \
                    threshold_bytes: 53687091200\ninit:\n  store_size_bytes: 107374182400\n";
        let config = of_text(text).expect("a good file");
        assert_eq!(config.store, Path::new("/var/vcap/data/grootfs/store/unprivileged"));
        assert_eq!(config.create.insecure_registries, ["a.example:5000", "b"]);
        assert!(config.create.with_clean && config.create.skip_layer_validation);
        assert_eq!((config.clean.threshold_bytes, config.init.store_size_bytes), (50 << 30, 100 << 30));
        assert_eq!(config.metron_endpoint, None);
        let flags = Create { without_clean: true, threshold_bytes: Some(7), ..Create::default() };
        let config = config.with_create(&flags).expect("good flags");
        assert_eq!((config.create.with_clean, config.clean.threshold_bytes), (false, 7));
    }

    #[test]
    fn nonsense_is_named() {
        let said = |text: &str| of_text(text).expect_err("nonsense").to_string();
        assert!(said("store: [").starts_with("invalid config file"));
        assert!(said("create: {disk_limit_size_bytes: x}").starts_with("invalid config file"));
        let negative = "invalid argument: disk limit cannot be negative";
        assert_eq!(said("create: {disk_limit_size_bytes: -1}"), negative);
        assert_eq!(of_text("").expect("nothing is fine").store, Path::new(STORE));
        let global = Global { config: Some("/no/such".into()), ..Global::default() };
        assert!(Config::read(&global).expect_err("no file").to_string().starts_with("invalid config path"));
    }
}
