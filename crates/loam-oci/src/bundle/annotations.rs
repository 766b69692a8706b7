//! Annotations: what the image says of itself (image specification, conversion.md), and labels.

use std::collections::HashMap;

use loam_model::BundleInput;

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

/// The annotations: implicit ones, then the image's labels, then the container's.
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
    annotations
}
