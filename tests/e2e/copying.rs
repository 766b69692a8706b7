//! Images from place to place without the store: nothing changes, nothing is half made, others read it.

use std::fs;

use loam_testkit::hostile::{Image, Liar, Lie};
use loam_testkit::registry::Registry;
use loam_tests::{Host, Need, Ran, needs};
use serde_json::{Value, json};

struct Places {
    host: Host,
    registry: Registry,
    /// The small image's layout.
    small: String,
}

impl Places {
    fn new() -> Self {
        let small = loam_testkit::images::small().display().to_string();
        Self { host: Host::new(), registry: Registry::plain(), small }
    }

    fn at(&self, name: &str) -> String {
        self.host.scratch().join(name).display().to_string()
    }

    fn remote(&self, name: &str) -> String {
        format!("{}/{name}", self.registry.address())
    }

    fn copy(&self, arguments: &[&str]) -> Ran {
        self.host.loam_outside(&[&["image", "copy"], arguments].concat())
    }

    fn skopeo_digest(&self, image: &str) -> String {
        outside(&format!("skopeo inspect --tls-verify=false --format '{{{{.Digest}}}}' {image}"))
    }
}

#[track_caller]
fn outside(line: &str) -> String {
    loam_testkit::program::words("sh", &["-c", line]).unwrap().trim_end().to_owned()
}

#[test]
fn an_image_goes_round_all_places_and_stays_what_it_is() {
    if !needs::met(&[Need::NativeProcessor]) {
        return;
    }
    let places = Places::new();
    let source = format!("oci:{}:latest", places.small);
    let digest = places.skopeo_digest(&source);
    // In this order: layout, registry, archive, layout, another repository.
    let remote = places.remote("some/small:1");
    let other = format!("docker://{}", places.remote("other/small:2"));
    let archive = format!("oci-archive:{}:one", places.at("a.tar"));
    let layout = format!("oci:{}:x", places.at("layout"));
    let round = [&source, &remote, &archive, &layout, &other];
    for pair in round.windows(2) {
        let copied = places.copy(&[pair[0], pair[1]]);
        assert_eq!(copied.ok(), digest, "{pair:?}");
        assert!(copied.stderr.contains(": done"), "{copied:?}");
        let again = places.copy(&[pair[0], pair[1]]);
        again.ok();
        let is_archive = pair[1].starts_with("oci-archive:");
        assert!(
            is_archive || again.stderr.contains(": present"),
            "what is there is not sent again: {again:?}"
        );
        let theirs = if pair[1].contains("archive:") || pair[1].contains("oci:") {
            pair[1].clone()
        } else {
            format!("docker://{}", pair[1].trim_start_matches("docker://"))
        };
        assert_eq!(places.skopeo_digest(&theirs), digest, "skopeo reads {theirs}");
    }
    // Within one registry nothing is sent.
    let mounted = places.copy(&[&remote, &places.remote("third/small:1")]);
    mounted.ok();
    assert!(mounted.stderr.contains(": present") && !mounted.stderr.contains(": done"), "{mounted:?}");
    // And what skopeo wrote.
    let theirs = places.at("theirs");
    outside(&format!("skopeo copy -q --src-tls-verify=false docker://{remote} oci:{theirs}:t"));
    outside(&format!("skopeo copy -q {source} docker-archive:{}:small:latest", places.at("docker.tar")));
    assert_eq!(
        places.copy(&["--quiet", &format!("oci:{theirs}:t"), &format!("oci:{}:y", places.at("layout"))]).ok(),
        digest
    );
    let from_docker = places.copy(&[
        &format!("docker-archive:{}", places.at("docker.tar")),
        &format!("oci:{}:z", places.at("layout")),
    ]);
    from_docker.ok();
    let tags = outside(&format!(
        "jq -r '.manifests[].annotations[\"org.opencontainers.image.ref.name\"]' {}/index.json",
        places.at("layout")
    ));
    assert_eq!(tags, "x\ny\nz", "each beside the others");
    let id = |image: &str| outside(&format!("skopeo inspect --raw {image} | jq -r .config.digest"));
    assert_eq!(id(&format!("oci:{}:z", places.at("layout"))), id(&source), "the same image");
    // The store has seen nothing of it, and takes in what came of it.
    assert!(!places.host.root().join("blobs").exists());
    assert_eq!(places.host.loam(&["pull", "--quiet", &layout]).ok(), id(&source));
    places.host.finish();
}

#[test]
fn archives_in_docker_s_format_are_read_by_others() {
    if !needs::met(&[Need::NativeProcessor]) {
        return;
    }
    let places = Places::new();
    let archive = places.at("docker.tar");
    let source = format!("oci:{}:latest", places.small);
    places.copy(&["--quiet", &source, &format!("docker-archive:{archive}:team/app:3")]).ok();
    assert_eq!(
        outside(&format!("skopeo list-tags docker-archive:{archive} | jq -r '.Tags[]'")),
        "team/app:3"
    );
    let id = outside(&format!("skopeo inspect --raw {source} | jq -r .config.digest"));
    assert_eq!(outside(&format!("skopeo inspect --raw docker-archive:{archive} | jq -r .config.digest")), id);
    assert_eq!(places.host.loam(&["pull", "--quiet", &format!("docker-archive:{archive}")]).ok(), id);
    assert_eq!(
        places.host.loam(&["run", "--rm", "--network", "none", "team/app:3", "echo", "ran"]).ok(),
        "ran"
    );
    places.copy(&["--all", &source, &format!("docker-archive:{archive}")]).refused(125, "single images only");
    assert_eq!(fs::read_dir(places.host.scratch()).unwrap().count(), 1);
    places.host.finish();
}

/// Adds a document to a layout, under a tag.
fn add(layout: &str, tag: &str, media_type: &str, document: &Value) -> String {
    let bytes = document.to_string();
    let digest = outside(&format!("printf %s '{bytes}' | sha256sum | cut -d' ' -f1"));
    fs::write(format!("{layout}/blobs/sha256/{digest}"), &bytes).unwrap();
    let path = format!("{layout}/index.json");
    let mut index: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    index["manifests"].as_array_mut().unwrap().push(json!({
        "mediaType": media_type, "digest": format!("sha256:{digest}"), "size": bytes.len(),
        "annotations": { "org.opencontainers.image.ref.name": tag },
    }));
    fs::write(&path, index.to_string()).unwrap();
    format!("sha256:{digest}")
}

#[test]
fn indexes_and_artifacts_are_copied_whole() {
    if !needs::met(&[Need::NativeProcessor]) {
        return;
    }
    let places = Places::new();
    let layout = places.at("from");
    outside(&format!("cp -a {} {layout}", places.small));
    let index: Value = serde_json::from_slice(&fs::read(format!("{layout}/index.json")).unwrap()).unwrap();
    let small = &index["manifests"][0];
    let manifest_kind = small["mediaType"].as_str().unwrap();
    let entry = |digest: &str, size: usize, architecture: &str| {
        json!({ "mediaType": manifest_kind, "digest": digest, "size": size,
            "platform": { "os": "linux", "architecture": architecture } })
    };
    // An artifact: one blob, of a type that nobody knows.
    fs::write(
        format!("{layout}/blobs/sha256/2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae"),
        "foo",
    )
    .unwrap();
    fs::write(
        format!("{layout}/blobs/sha256/44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"),
        "{}",
    )
    .unwrap();
    let artifact = json!({ "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "artifactType": "application/x.something",
        "config": { "mediaType": "application/vnd.oci.empty.v1+json", "size": 2,
            "digest": "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a" },
        "layers": [{ "mediaType": "application/x.unknown+thing", "size": 3,
            "digest": "sha256:2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae" }] });
    let artifact_digest = add(&layout, "artifact", manifest_kind, &artifact);
    let architecture =
        outside(&format!("skopeo inspect --format '{{{{.Architecture}}}}' oci:{layout}:latest"));
    let small_size = usize::try_from(small["size"].as_u64().unwrap()).unwrap();
    let index = json!({ "schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": [
        entry(small["digest"].as_str().unwrap(), small_size, &architecture),
        entry(&artifact_digest, artifact.to_string().len(), "riscv64"),
    ] });
    let index_digest = add(&layout, "multi", "application/vnd.oci.image.index.v1+json", &index);

    let (from, remote) = (format!("oci:{layout}:multi"), places.remote("multi:1"));
    assert_eq!(places.copy(&["--all", &from, &remote]).ok(), index_digest);
    assert_eq!(
        outside(&format!(
            "skopeo inspect --raw --tls-verify=false docker://{remote} | sha256sum | cut -d' ' -f1"
        )),
        index_digest[7..]
    );
    assert_eq!(
        places.copy(&["--all", &remote, &format!("oci:{}:all", places.at("back"))]).ok(),
        index_digest
    );
    assert_eq!(fs::read_dir(places.host.scratch().join("back/blobs/sha256")).unwrap().count(), 7);
    // Without it, only what runs here comes, as it is.
    let single = places.copy(&[&remote, &format!("oci:{}:single", places.at("one"))]);
    assert_eq!(single.ok(), small["digest"].as_str().unwrap());
    assert_eq!(fs::read_dir(places.host.scratch().join("one/blobs/sha256")).unwrap().count(), 3);
    places
        .copy(&["--platform", "linux/s390x", &remote, &format!("oci:{}", places.at("none"))])
        .refused(125, "linux/s390x");
    assert_eq!(
        places.copy(&["--platform", "linux/riscv64", &remote, &places.remote("artifact:1")]).ok(),
        artifact_digest
    );
    assert!(!places.host.scratch().join("none").exists());
    places.host.finish();
}

#[test]
fn what_is_not_right_is_not_copied_and_leaves_nothing() {
    if !needs::met(&[Need::NativeProcessor]) {
        return;
    }
    let places = Places::new();
    let layout = places.at("from");
    outside(&format!("cp -a {} {layout}", places.small));
    let blob = outside(&format!("ls -S {layout}/blobs/sha256 | head -1"));
    let blob = format!("{layout}/blobs/sha256/{blob}");
    let mut bytes = fs::read(&blob).unwrap();
    bytes[5000] ^= 1;
    fs::write(&blob, bytes).unwrap();
    let good = places.at("good");
    places.copy(&["--quiet", &format!("oci:{}:latest", places.small), &format!("oci:{good}:kept")]).ok();
    let index = fs::read(format!("{good}/index.json")).unwrap();
    let source = format!("oci:{layout}:latest");
    outside(&format!("rm {good}/blobs/sha256/$(ls -S {good}/blobs/sha256 | head -1)"));
    for destination in [
        places.remote("bad:1"),
        format!("oci:{}:x", places.at("new")),
        format!("oci:{good}:x"),
        format!("oci-archive:{}", places.at("new.tar")),
        format!("docker-archive:{}:x", places.at("new.tar")),
    ] {
        places.copy(&["--quiet", &source, &destination]).refused(125, "digest");
    }
    assert_eq!(fs::read(format!("{good}/index.json")).unwrap(), index);
    places
        .copy(&["--quiet", &places.remote("bad:1"), &format!("oci:{}", places.at("new"))])
        .refused(125, "bad:1");
    // A registry that lies.
    let image = Image::of_layers(&[Image::tar(&[("b", &[b'x'; 300_000])])]);
    for lie in [Lie::WrongBytes, Lie::Short, Lie::Truncated, Lie::Endless, Lie::WrongManifest] {
        let liar = Liar::start(image.clone(), lie.clone());
        let name = format!("{}/some/image@{}", liar.host(), image.digest());
        let ran = places.copy(&["--quiet", &name, &format!("oci:{}:x", places.at("new"))]);
        assert_eq!(ran.code, 125, "{lie:?}: {ran:?}");
    }
    let places_left = outside(&format!(
        "cd {} && find . -maxdepth 1 -mindepth 1 | sort; find . -name '*unfinished*'",
        places.host.scratch().display()
    ));
    assert_eq!(places_left, "./from\n./good");
    // What can't be a place.
    fs::create_dir(places.at("full")).unwrap();
    fs::write(places.at("full/file"), "").unwrap();
    let small = format!("oci:{}:latest", places.small);
    for (destination, word) in [
        (format!("oci:{}", places.at("full")), "no image layout"),
        (format!("oci:{}/file", places.at("full")), "no image layout"),
        (format!("oci-archive:{}", places.at("no/such.tar")), "no"),
        (format!("127.0.0.1:1/x@sha256:{}", "0".repeat(64)), "holds a digest"),
        ("./x".to_owned(), "./x"),
    ] {
        places.copy(&["--quiet", &small, &destination]).refused(125, word);
    }
    places
        .copy(&["--quiet", &format!("oci:{}:none", places.small), &format!("oci:{}", places.at("new"))])
        .refused(125, "none");
    places.host.finish();
}
