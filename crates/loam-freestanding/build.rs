//! Compiles the freestanding programs with the toolchain that compiles everything else, and makes the layout of the
//! built-in image from one of them.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// All times in the image: it shall be the same bytes wherever and whenever it is built.
const CREATED: &str = "2026-01-01T00:00:00Z";
const CREATED_SECONDS: u64 = 1_767_225_600;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=programs");
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    compile("programs/init/main.rs", "loam_init", &out.join("loam-init"));
    compile("programs/hello/main.rs", "hello", &out.join("hello"));
    let program = fs::read(out.join("hello")).expect("the program was just made");
    fs::write(out.join("hello.tar"), layout(&program)).expect("OUT_DIR can be written");
}

/// Compiles one program: static, at a fixed address, without a C library or its start files.
fn compile(source: &str, name: &str, output: &Path) {
    let rustc = env::var_os("RUSTC").expect("cargo sets RUSTC");
    let target = env::var("TARGET").expect("cargo sets TARGET");
    let mut command = Command::new(rustc);
    command.args(["--crate-type", "bin", "--edition", "2024", "--crate-name", name, "--target", &target]);
    for option in [
        "opt-level=s",
        "panic=abort",
        "codegen-units=1",
        "overflow-checks=no",
        "debug-assertions=no",
        "strip=symbols",
        "relro-level=off",
        "relocation-model=static",
        "target-feature=+crt-static",
        "link-arg=-nostartfiles",
        "link-arg=-nostdlib",
        "link-arg=-static",
        "link-arg=-Wl,--build-id=none,-z,noexecstack,--gc-sections",
    ] {
        command.args(["-C", option]);
    }
    if target.contains("musl") {
        command.args(["-C", "link-self-contained=no"]);
    }
    if let Some(linker) = env::var_os("RUSTC_LINKER") {
        command.arg("-C").arg(prefixed("linker=", &linker));
    }
    // A sanitizer's or a coverage run's flags would ask for a runtime that is not there.
    command.env_remove("RUSTFLAGS").arg("-o").arg(output).arg(source);
    let result = command.output().expect("the compiler can be run");
    assert!(result.status.success(), "{source}:\n{}", String::from_utf8_lossy(&result.stderr));
}

fn prefixed(prefix: &str, value: &std::ffi::OsStr) -> std::ffi::OsString {
    let mut text = std::ffi::OsString::from(prefix);
    text.push(value);
    text
}

/// The image layout as a tar.
fn layout(program: &[u8]) -> Vec<u8> {
    let mut archive = Archive::new();
    let layer = layer(program);
    let layer_digest = digest(&layer);
    let config = bytes(&json!({
        "created": CREATED,
        "architecture": architecture(),
        "os": "linux",
        "config": {
            "Env": ["PATH=/"],
            "Entrypoint": ["/hello"],
            "WorkingDir": "/",
            "ExposedPorts": {"80/tcp": {}},
            "Labels": {"org.opencontainers.image.title": "hello"},
        },
        "rootfs": {"type": "layers", "diff_ids": [layer_digest]},
        "history": [{"created": CREATED, "created_by": "loam"}],
    }));
    let manifest = bytes(&json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": descriptor("application/vnd.oci.image.config.v1+json", &config),
        "layers": [descriptor("application/vnd.oci.image.layer.v1.tar", &layer)],
    }));
    let mut entry = descriptor("application/vnd.oci.image.manifest.v1+json", &manifest);
    entry["annotations"] = json!({"org.opencontainers.image.ref.name": "latest"});
    entry["platform"] = json!({"os": "linux", "architecture": architecture()});
    let index = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": [entry],
    });
    archive.file("oci-layout", 0o644, &bytes(&json!({"imageLayoutVersion": "1.0.0"})));
    archive.file("index.json", 0o644, &bytes(&index));
    archive.directory("blobs/");
    archive.directory("blobs/sha256/");
    for blob in [&manifest, &config, &layer] {
        archive.file(&format!("blobs/sha256/{}", &digest(blob)["sha256:".len()..]), 0o644, blob);
    }
    archive.finish()
}

/// The one layer: the program, and enough of `/etc` for user names.
fn layer(program: &[u8]) -> Vec<u8> {
    let mut archive = Archive::new();
    archive.directory("etc/");
    let passwd = "root:x:0:0:root:/:/hello\nnobody:x:65534:65534:nobody:/:/hello\n";
    archive.file("etc/passwd", 0o644, passwd.as_bytes());
    archive.file("etc/group", 0o644, b"root:x:0:\nnogroup:x:65534:\n");
    archive.file("hello", 0o755, program);
    archive.finish()
}

/// A tar with nothing in it that differs between two builds.
struct Archive(tar::Builder<Vec<u8>>);

impl Archive {
    fn new() -> Self {
        Self(tar::Builder::new(Vec::new()))
    }

    fn directory(&mut self, path: &str) {
        self.entry(path, tar::EntryType::Directory, 0o755, &[]);
    }

    fn file(&mut self, path: &str, mode: u32, content: &[u8]) {
        self.entry(path, tar::EntryType::Regular, mode, content);
    }

    fn entry(&mut self, path: &str, kind: tar::EntryType, mode: u32, content: &[u8]) {
        let mut header = tar::Header::new_ustar();
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(CREATED_SECONDS);
        header.set_size(content.len() as u64);
        self.0.append_data(&mut header, path, content).expect("a tar in memory can be written");
    }

    fn finish(self) -> Vec<u8> {
        self.0.into_inner().expect("a tar in memory can be finished")
    }
}

fn architecture() -> String {
    let name = env::var("CARGO_CFG_TARGET_ARCH").expect("cargo sets the architecture");
    match name.as_str() {
        "x86_64" => "amd64".to_owned(),
        "aarch64" => "arm64".to_owned(),
        other => panic!("the freestanding programs know no system calls of `{other}`"),
    }
}

fn descriptor(media_type: &str, blob: &[u8]) -> Value {
    json!({"mediaType": media_type, "digest": digest(blob), "size": blob.len()})
}

fn digest(blob: &[u8]) -> String {
    let hash = Sha256::digest(blob);
    let hex: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}

fn bytes(value: &Value) -> Vec<u8> {
    serde_json::to_vec(value).expect("a JSON value can be written")
}
