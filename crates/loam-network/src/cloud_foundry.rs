//! What plugins that are made for Cloud Foundry are told (`garden-external-networker`, `cni-wrapper-plugin`).
//!
//! They declare no capabilities. Each of them finds the container's properties under `metadata`, and in `runtimeConfig` the
//! ports, with Garden's names of keys, under `portMappings` and the rules under `netOutRules`. A plugin that goes by the
//! specification would take those ports for broken ones, so this is for networks alone whose list says
//! `"loam": {"cloudFoundry": true}`, and within them for other programs that don't declare `portMappings`. Those that do,
//! and our own plugins, are told as everywhere else.

use loam_cni::Plugin;
use serde_json::{Map, Value};

use crate::conflist::{PluginObject, has_capability, kind};
use crate::garden::{METADATA, NET_OUT_RULES, net_ins};
use crate::plan::PORT_MAPPINGS;

/// Whether a plugin is told in this way.
fn is_made_for_it(plugin: &PluginObject) -> bool {
    Plugin::from_type(kind(plugin)).is_none() && !has_capability(plugin, PORT_MAPPINGS)
}

/// Adds what such a plugin wants to be told to its configuration for one attachment.
pub(crate) fn add(raw: &mut PluginObject, plugin: &PluginObject, capability_args: &Map<String, Value>) {
    if !is_made_for_it(plugin) {
        return;
    }
    if let Some(metadata) = capability_args.get(METADATA) {
        raw.insert("metadata".into(), metadata.clone());
    }
    let rules = capability_args.get(NET_OUT_RULES).cloned().unwrap_or_else(|| Value::Array(Vec::new()));
    let ports = net_ins(capability_args.get(PORT_MAPPINGS));
    let config = raw.entry("runtimeConfig").or_insert_with(|| Value::Object(Map::new()));
    if let Value::Object(config) = config {
        config.insert(PORT_MAPPINGS.into(), ports.into());
        config.insert(NET_OUT_RULES.into(), rules);
    }
}

/// Whether one of the plugins publishes ports that it is told of in this way.
pub(crate) fn publishes(plugins: &[PluginObject]) -> bool {
    plugins.iter().any(is_made_for_it)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn told(plugin: Value, args: Value) -> Value {
        let (Value::Object(plugin), Value::Object(args)) = (plugin, args) else { panic!("objects") };
        let mut raw = plugin.clone();
        add(&mut raw, &plugin, &args);
        raw.into()
    }

    #[test]
    fn a_plugin_without_the_capability_is_told_in_garden_s_words() {
        let args = json!({"portMappings": [{"hostPort": 8080, "containerPort": 80, "protocol": "tcp"}],
            "metadata": {"app_id": "x"}, "netOutRules": [{"protocol": 1}], "handle": "h"});
        assert_eq!(
            told(json!({"type": "cni-wrapper-plugin"}), args.clone()),
            json!({"type": "cni-wrapper-plugin", "metadata": {"app_id": "x"}, "runtimeConfig": {
                "portMappings": [{"host_port": 8080, "container_port": 80}], "netOutRules": [{"protocol": 1}]}})
        );
        for other in
            [json!({"type": "portmap"}), json!({"type": "theirs", "capabilities": {"portMappings": true}})]
        {
            assert_eq!(told(other.clone(), args.clone()), other);
        }
    }

    #[test]
    fn nothing_to_tell_is_told_as_empty_lists() {
        let expected = json!({"type": "x", "runtimeConfig": {"portMappings": [], "netOutRules": []}});
        assert_eq!(told(json!({"type": "x"}), json!({})), expected);
    }
}
