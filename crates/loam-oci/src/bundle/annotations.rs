//! Annotations: what the image says of itself (image specification, conversion.md), labels, and what systemd is told.

use std::collections::HashMap;

use loam_model::{BundleInput, CgroupDriver};

/// Keys with these beginnings steer runtimes and other engines. Labels never do: whoever makes an image would command
/// the host.
const RESERVED: [&str; 9] = [
    "containerd.io/",
    "io.cri-containerd",
    "io.cri-o.",
    "io.katacontainers.",
    "io.kubernetes.",
    "io.loam.",
    "module.wasm.",
    "org.systemd.property.",
    "run.oci.",
];

/// How long a container may take to end after it was asked to, in seconds, when nobody says.
const STOP_TIMEOUT: u32 = 10;

/// The annotations: implicit ones, then the image's labels, then the container's, then those for a scope.
pub(super) fn resolve(input: &BundleInput<'_>) -> HashMap<String, String> {
    let mut annotations = HashMap::new();
    let mut implicit = |key: &str, value: Option<String>| {
        annotations.extend(value.map(|value| (format!("org.opencontainers.image.{key}"), value)));
    };
    implicit("stopSignal", input.spec.stop_signal.clone().or_else(|| input.image.stop_signal.clone()));
    let ports = &input.image.exposed_ports;
    implicit("exposedPorts", (!ports.is_empty()).then(|| ports.join(",")));
    let labels = input.image.labels.iter().chain(&input.spec.labels);
    let plain =
        labels.filter(|(key, _)| !key.is_empty() && !RESERVED.iter().any(|start| key.starts_with(start)));
    annotations.extend(plain.map(|(key, value)| (key.clone(), value.clone())));
    if input.cgroup.driver() == CgroupDriver::Systemd {
        annotations.extend(scope(input.spec.stop_timeout.unwrap_or(STOP_TIMEOUT)));
    }
    annotations
}

/// Properties of the scope that are no limits, in the form that runtimes agree on: a value in GVariant's text format.
/// Without them a container that does not listen to `systemctl stop` would be waited for as long as systemd's default
/// is, and one that failed would stay in its list.
fn scope(seconds: u32) -> [(String, String); 2] {
    let microseconds = u64::from(seconds) * 1_000_000;
    [
        ("org.systemd.property.CollectMode".to_owned(), "'inactive-or-failed'".to_owned()),
        ("org.systemd.property.TimeoutStopUSec".to_owned(), format!("uint64 {microseconds}")),
    ]
}
