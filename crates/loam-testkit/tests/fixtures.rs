//! The fixture images hold what they promise, as other people's tools see them.

use std::collections::BTreeSet;

use loam_testkit::registry::Registry;
use loam_testkit::{images, program};
use serde_json::Value;

fn skopeo(arguments: &[&str]) -> Value {
    let output = program::words("skopeo", arguments).expect("skopeo inspects");
    serde_json::from_str(&output).expect("skopeo answers in JSON")
}

#[expect(clippy::print_stdout, reason = "a test that can not run says so")]
fn is_root(test: &str) -> bool {
    let is_root = rustix::process::geteuid().is_root();
    if !is_root {
        println!("skipped: {test}: needs root");
    }
    is_root
}

#[test]
fn the_small_image_is_one_layer() {
    if !is_root("the_small_image_is_one_layer") {
        return;
    }
    let manifest = skopeo(&["inspect", "--raw", &format!("oci:{}:latest", images::small().display())]);
    assert_eq!(manifest["layers"].as_array().map(Vec::len), Some(1));
}

#[test]
fn the_python_image_has_every_variant() {
    if !is_root("the_python_image_has_every_variant") {
        return;
    }
    let layout = format!("oci:{}", images::python().display());
    let config = skopeo(&["inspect", "--config", &format!("{layout}:gzip")]);
    assert_eq!(config["rootfs"]["diff_ids"].as_array().map(Vec::len), Some(6));
    assert_eq!(config["config"]["User"], "app");
    assert_eq!(config["config"]["StopSignal"], "SIGINT");
    assert_eq!(config["config"]["Cmd"], serde_json::json!(["--port", "8000"]));
    assert_eq!(config["config"]["ExposedPorts"], serde_json::json!({ "8000/tcp": {} }));

    let registry = Registry::plain();
    images::push_python(&registry);
    let raw = |tag: &str| {
        let name = format!("docker://{}/python:{tag}", registry.address());
        skopeo(&["inspect", "--raw", "--tls-verify=false", &name])
    };
    let layer_types = |manifest: &Value| -> BTreeSet<String> {
        let layers = manifest["layers"].as_array().expect("a manifest has layers");
        layers.iter().map(|layer| layer["mediaType"].as_str().expect("a text").to_owned()).collect()
    };
    let one = |media_type: &str| BTreeSet::from([media_type.to_owned()]);
    assert_eq!(layer_types(&raw("gzip")), one("application/vnd.oci.image.layer.v1.tar+gzip"));
    assert_eq!(layer_types(&raw("zstd")), one("application/vnd.oci.image.layer.v1.tar+zstd"));
    assert_eq!(layer_types(&raw("docker")), one("application/vnd.docker.image.rootfs.diff.tar.gzip"));
    assert_eq!(raw("docker")["mediaType"], "application/vnd.docker.distribution.manifest.v2+json");
    let index = raw("index");
    let platforms: BTreeSet<&str> = index["manifests"]
        .as_array()
        .expect("an index has manifests")
        .iter()
        .filter_map(|manifest| manifest["platform"]["architecture"].as_str())
        .collect();
    assert_eq!(platforms, BTreeSet::from(["amd64", "arm64"]));
}

#[test]
fn the_image_of_many_files_is_two_layers() {
    if !is_root("the_image_of_many_files_is_two_layers") {
        return;
    }
    let manifest = skopeo(&["inspect", "--raw", &format!("oci:{}:latest", images::many().display())]);
    assert_eq!(manifest["layers"].as_array().map(Vec::len), Some(2));
}

#[test]
fn a_storage_is_made_once_and_served() {
    if !is_root("a_storage_is_made_once_and_served") {
        return;
    }
    let directory = tempfile::tempdir().expect("temporary directory");
    let storage = images::registry_storage(directory.path(), &[images::Fixture::Small]).expect("made");
    let made = std::fs::metadata(&storage).and_then(|found| found.modified()).expect("there");
    let again = images::registry_storage(directory.path(), &[images::Fixture::Small]).expect("there already");
    assert_eq!(std::fs::metadata(again).and_then(|found| found.modified()).expect("there"), made);
    let registry = Registry::serving(&storage);
    let name = format!("docker://{}/small", registry.address());
    let manifest = skopeo(&["inspect", "--raw", "--tls-verify=false", &name]);
    assert_eq!(manifest["layers"].as_array().map(Vec::len), Some(1));
}
