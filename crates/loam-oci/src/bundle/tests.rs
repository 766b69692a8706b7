//! Whole bundles on a made-up host.

mod everything;
mod hosts;
mod limits;
mod mounts;
mod plain;
mod processes;
mod refusals;

use std::path::Path;

use loam_model::{ContainerId, ContainerSpec, EngineFile, IdMapping, ImageConfig};
use serde_json::Value;

use super::*;
use crate::capabilities::from_mask;

fn host() -> Host {
    let all = from_mask(u64::MAX);
    let controllers = ["cpu", "cpuset", "memory", "pids"].map(str::to_owned).into();
    Host {
        capabilities: all.clone(),
        known_capabilities: all,
        controllers: Some(controllers),
        ..Host::default()
    }
}

struct Case {
    spec: ContainerSpec,
    image: ImageConfig,
    mapping: Option<IdMapping>,
    network: Namespace,
    files: Vec<EngineFile>,
    init: Option<&'static str>,
    cgroup: &'static str,
}

impl Default for Case {
    fn default() -> Self {
        let image = ImageConfig { command: vec!["sh".to_owned()], ..ImageConfig::default() };
        let (spec, files) = (ContainerSpec::default(), Vec::new());
        Self { spec, image, mapping: None, network: Namespace::New, files, init: None, cgroup: "/loam/07" }
    }
}

impl Case {
    fn bundle_on(&self, host: &Host) -> Result<Bundle> {
        let id = ContainerId::from_random([7; 32]);
        let input = BundleInput {
            id: &id,
            spec: &self.spec,
            image: &self.image,
            directory: Path::new("/run/loam/containers/07"),
            mapping: self.mapping.as_ref(),
            network: self.network.clone(),
            cgroup: &self.cgroup.parse().expect("a place"),
            files: &self.files,
            init_program: self.init,
        };
        bundle(&input, host)
    }

    fn bundle(&self) -> Bundle {
        self.bundle_on(&host()).expect("a bundle")
    }

    fn refused(&self) -> String {
        let failure = self.bundle_on(&host()).expect_err("refused");
        format!("{:?}: {}", failure.kind(), failure.chain())
    }
}

/// The configuration as text, with sets in order and the long profile left out.
fn shown(config: &Spec) -> String {
    let mut value = serde_json::to_value(config).expect("plain data");
    for set in value["process"]["capabilities"].as_object_mut().expect("sets").values_mut() {
        let names = set.as_array_mut().expect("names");
        names.sort_by_key(|name| name.as_str().map(str::to_owned));
        *set = Value::String(names.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" "));
    }
    for mount in value["mounts"].as_array_mut().expect("mounts") {
        let options: Vec<&str> =
            mount["options"].as_array().expect("options").iter().filter_map(Value::as_str).collect();
        let options = options.join(",");
        let text = |key: &str| mount[key].as_str().unwrap_or_default().to_owned();
        *mount =
            Value::String(format!("{} {} {} {options}", text("destination"), text("type"), text("source")));
    }
    for list in ["maskedPaths", "readonlyPaths"] {
        let paths: Vec<&str> =
            value["linux"][list].as_array().expect("paths").iter().filter_map(Value::as_str).collect();
        value["linux"][list] = Value::String(paths.join(" "));
    }
    if let Some(linux) = value["linux"].as_object_mut()
        && linux.contains_key("seccomp")
    {
        linux.insert("seccomp".to_owned(), Value::String("…".to_owned()));
    }
    serde_json::to_string_pretty(&value).expect("plain data")
}
