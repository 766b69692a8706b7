//! Whether a list can be run: every plugin is there and speaks its version (CNI SPEC.md, "VERSION").

use loam_cni::delegate::{find, supported_versions};
use loam_cni::protocol::code;
use loam_cni::{CniError, Plugin};
use loam_model::Result;
use serde_json::Value;

use crate::conflist::{NetworkList, kind};
use crate::failure::of_plugin;
use crate::network::CniNetwork;

impl CniNetwork {
    /// Asks every plugin of a list, address plugins included, which versions it speaks.
    pub(super) fn validate(&self, list: &NetworkList) -> Result<()> {
        if let Some(networker) = &list.networker {
            return networker.status();
        }
        for plugin in &list.plugins {
            let ipam = plugin.get("ipam").and_then(|ipam| ipam.get("type")).and_then(Value::as_str);
            for kind in [Some(kind(plugin)), ipam.filter(|kind| !kind.is_empty())].into_iter().flatten() {
                self.validate_one(list, kind)
                    .map_err(|error| of_plugin("making", &list.name, kind, error))?;
            }
        }
        Ok(())
    }

    fn validate_one(&self, list: &NetworkList, kind: &str) -> std::result::Result<(), CniError> {
        let spoken: Vec<String> = match Plugin::from_type(kind) {
            Some(built_in) => built_in.versions().map(|version| version.as_str().to_owned()).collect(),
            None => supported_versions(&find(kind, &self.config.plugin_dirs)?, self.config.time_limit)?,
        };
        let wanted = list.version.as_str();
        if spoken.iter().any(|version| version == wanted) {
            return Ok(());
        }
        let message = format!("it does not speak version {wanted}, only {}", spoken.join(", "));
        Err(CniError::new(code::INCOMPATIBLE_VERSION, message))
    }
}
