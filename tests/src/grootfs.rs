//! A store of the GrootFS door, on a host of its own, and layouts as Garden writes them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use loam_testkit::hostile::digest;
use serde_json::{Value, json};

use crate::{Host, Ran};

/// The mapping of a Cloud Foundry cell: the container's root is the last user, all others are themselves.
const CELL: [&str; 8] = [
    "--uid-mapping",
    "0:4294967294:1",
    "--uid-mapping",
    "1:1:4294967293",
    "--gid-mapping",
    "0:4294967294:1",
    "--gid-mapping",
    "1:1:4294967293",
];
/// The container's root on the host.
pub const MAPPED_ROOT: u32 = 4_294_967_294;

/// A store.
#[derive(Debug)]
pub struct Store {
    host: Host,
    directory: PathBuf,
}

impl Store {
    /// One that is not made ready yet.
    pub fn bare() -> Self {
        let host = Host::new();
        let directory = host.scratch().join("store");
        // Containers' users pass through what is above a store.
        let above = host.scratch().parent().expect("a directory above").to_owned();
        fs::set_permissions(above, std::os::unix::fs::PermissionsExt::from_mode(0o711)).expect("changed");
        Self { host, directory }
    }

    /// One for privileged containers.
    pub fn privileged() -> Self {
        let store = Self::bare();
        store.run(&["init-store"]).ok();
        store
    }

    /// One for containers with a user namespace.
    pub fn mapped() -> Self {
        let store = Self::bare();
        store.run(&[&["init-store"][..], &CELL].concat()).ok();
        store
    }

    /// The host.
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// Its directory.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// A command of the door on this store.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.host.grootfs_command(&["--store", &self.directory.display().to_string()]);
        command.args(arguments);
        command
    }

    /// Runs one.
    pub fn run(&self, arguments: &[&str]) -> Ran {
        Ran::of(&self.command(arguments).output().expect("loam runs"))
    }

    /// Starts one.
    pub fn start(&self, arguments: &[&str]) -> std::process::Child {
        let mut command = self.command(arguments);
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("loam runs")
    }

    /// Creates an image with these flags, and gives the specification that was printed.
    #[track_caller]
    pub fn create(&self, flags: &[&str], image: &str, id: &str) -> Value {
        let ran = self.run(&[&["create"], flags, &[image, id]].concat());
        serde_json::from_str(ran.ok()).expect("one line of JSON")
    }

    /// A creation that is refused with this on standard output.
    #[track_caller]
    pub fn refuses(&self, arguments: &[&str], sentence: &str) {
        let ran = self.run(arguments);
        assert_eq!(ran.code, 1, "{ran:#?}");
        assert!(ran.stdout.contains(sentence), "no {sentence:?}: {ran:#?}");
        assert_eq!(ran.stderr, "", "nothing but logs: {ran:#?}");
    }

    /// A file of an image, as this process reaches it.
    pub fn file(&self, id: &str, name: &str) -> PathBuf {
        let path = self.directory.join("images").join(id).join("rootfs").join(name);
        self.host.path_from_outside(&path)
    }

    /// What `stats` prints of an image, in the order of its members.
    #[track_caller]
    pub fn stats(&self, id: &str) -> [u64; 4] {
        let printed: Value = serde_json::from_str(self.run(&["stats", id]).ok()).expect("JSON");
        let usage = &printed["disk_usage"];
        ["total_bytes_used", "exclusive_bytes_used", "quota_size_bytes", "committed_space_bytes"]
            .map(|key| usage[key].as_u64().expect("a number"))
    }

    /// How many layers the store has.
    pub fn layers(&self) -> usize {
        let layers = self.host.path_from_outside(&self.directory.join("layers"));
        fs::read_dir(layers).map_or(0, Iterator::count)
    }

    /// A tar of files made by a shell script in an empty directory.
    pub fn tar(&self, name: &str, script: &str) -> PathBuf {
        let (tree, tar) = (self.host.scratch().join(format!("{name}.d")), self.host.scratch().join(name));
        let (tree_text, tar_text) = (tree.display(), tar.display());
        let line =
            format!("mkdir -p {tree_text} && cd {tree_text} && {{ {script}; }} && tar -cf {tar_text} .");
        self.host.sh(&line).ok();
        tar
    }

    /// Deletes the store, checks that nothing of it is left, and ends.
    #[track_caller]
    pub fn finish(self) {
        self.run(&["delete-store"]).ok();
        let left = self.host.path_from_outside(&self.directory);
        assert!(!left.exists(), "the store is gone");
        self.host.finish();
    }
}

/// An OCI layout that says of its layers whatever it is told to.
#[derive(Debug, Default)]
pub struct Layout {
    blobs: Vec<(String, Vec<u8>)>,
    layers: Vec<Value>,
    diff_ids: Vec<String>,
}

impl Layout {
    /// Adds an honest layer, uncompressed.
    #[must_use]
    pub fn layer(self, tar: &[u8]) -> Self {
        let digest = digest(tar);
        let descriptor = json!({
            "mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": digest, "size": tar.len(),
        });
        self.claimed(&descriptor, &digest, Some(tar))
    }

    /// Adds a layer with this descriptor and diff id, whatever its blob is.
    #[must_use]
    pub fn claimed(mut self, descriptor: &Value, diff_id: &str, blob: Option<&[u8]>) -> Self {
        let digest = descriptor["digest"].as_str().expect("a digest").to_owned();
        self.layers.push(descriptor.clone());
        self.diff_ids.push(diff_id.to_owned());
        self.blobs.extend(blob.map(|blob| (digest, blob.to_vec())));
        self
    }

    /// Writes it as skopeo does, and gives its URI.
    pub fn write(&self, directory: &Path) -> String {
        self.write_with(directory, true);
        fs::write(directory.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).expect("written");
        format!("oci://{}", directory.display())
    }

    /// Writes it as Garden does: no `oci-layout`, no sizes of documents.
    pub fn write_as_garden(&self, directory: &Path) -> String {
        self.write_with(directory, false);
        format!("oci://{}", directory.display())
    }

    fn write_with(&self, directory: &Path, sized: bool) {
        let blobs = directory.join("blobs/sha256");
        fs::create_dir_all(&blobs).expect("made");
        let write = |digest: &str, bytes: &[u8]| {
            fs::write(blobs.join(digest.trim_start_matches("sha256:")), bytes).expect("written");
        };
        let describe = |media_type: &str, bytes: &[u8]| {
            let mut descriptor = json!({ "mediaType": media_type, "digest": digest(bytes) });
            if sized {
                descriptor["size"] = bytes.len().into();
            }
            write(&digest(bytes), bytes);
            descriptor
        };
        let architecture = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };
        let config = json!({
            "architecture": architecture, "os": "linux", "config": { "Env": ["PATH=/bin", "A=b"] },
            "rootfs": { "type": "layers", "diff_ids": self.diff_ids },
        });
        let config = describe("application/vnd.oci.image.config.v1+json", config.to_string().as_bytes());
        let manifest = json!({ "schemaVersion": 2, "config": config, "layers": self.layers });
        let manifest =
            describe("application/vnd.oci.image.manifest.v1+json", manifest.to_string().as_bytes());
        let index = json!({ "schemaVersion": 2, "manifests": [manifest] });
        fs::write(directory.join("index.json"), index.to_string()).expect("written");
        for (digest, bytes) in &self.blobs {
            write(digest, bytes);
        }
    }
}
