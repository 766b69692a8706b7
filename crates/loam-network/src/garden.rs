//! Garden's words for what the network seam knows, as external networkers and plugins for Cloud Foundry take them, in the
//! forms of [`loam_garden_wire`].
//!
//! What the seam is told of a container becomes three capability arguments, so that it is part of the intent, goes into
//! the cache and is there again at DEL: `handle`, `metadata` and `netOutRules`. A plugin that declares one of these
//! capabilities gets it as any other (CNI CONVENTIONS.md, "Dynamic Plugin specific Fields").

use loam_garden_wire::{NetIn, NetOutRule};
use loam_model::{ContainerMetadata, EgressRule};
use serde_json::{Map, Value, json};

/// The capability argument for the name that Garden has for the container.
pub(crate) const HANDLE: &str = "handle";
/// The capability argument for the container's properties that are the network's.
pub(crate) const METADATA: &str = "metadata";
/// The capability argument for what the container may reach.
pub(crate) const NET_OUT_RULES: &str = "netOutRules";

/// What is known of a container as capability arguments; what is empty is left out.
pub(crate) fn capability_args(metadata: &ContainerMetadata) -> Map<String, Value> {
    let rules = net_out_rules(&metadata.rules);
    let all = [
        (HANDLE, metadata.handle.clone().map(Value::from)),
        (METADATA, Some(&metadata.properties).filter(|all| !all.is_empty()).cloned().map(Value::Object)),
        (NET_OUT_RULES, Some(rules).filter(|rules| !rules.is_empty()).map(Value::Array)),
    ];
    all.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?))).collect()
}

/// Rules as values.
pub(crate) fn net_out_rules(rules: &[EgressRule]) -> Vec<Value> {
    rules.iter().map(|rule| json!(NetOutRule::from(rule))).collect()
}

/// The ports of the capability `portMappings` as values.
pub(crate) fn net_ins(mappings: Option<&Value>) -> Vec<Value> {
    NetIn::of_mappings(mappings).into_iter().map(|port| json!(port)).collect()
}
