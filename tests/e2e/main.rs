//! End-to-end tests: a file for each promise.
#![expect(clippy::unwrap_used, reason = "a test that can't go on fails")]

mod bad_input;
mod bundles;
mod cni_links;
mod copy;
mod copying;
mod crash;
mod exec;
mod features;
mod grootfs;
mod hello;
mod image_diff;
mod image_mounts;
mod images;
mod lifecycle;
mod limits;
mod logs;
mod mirrors;
mod modules;
mod network;
mod network_bench;
mod networks;
mod power;
mod push;
mod python_image;
mod quota;
mod registry;
mod repair;
mod run;
mod runtimes;
mod security;
mod systemd;
mod terminal;
mod unpacker;
mod upkeep;
mod volumes;
