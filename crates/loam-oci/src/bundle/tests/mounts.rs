//! Mounts of a container that shares the host's ids.

use std::path::{Path, PathBuf};

use loam_model::{MountKind, MountSpec, Propagation};

use super::Case;

#[test]
fn without_ids_of_its_own_binds_are_not_shifted_but_follow_no_links() {
    let mut case = Case::default();
    case.spec.mounts = vec![MountSpec {
        target: "/x".to_owned(),
        kind: MountKind::Bind {
            source: PathBuf::from("/"),
            recursive: false,
            propagation: Propagation::Shared,
            idmap: true,
            exec: false,
            dev: true,
            suid: true,
            relabel: false,
        },
        read_only: true,
    }];
    let bundle = case.bundle();
    let [prepared] = &bundle.preparations[..] else { panic!("{:?}", bundle.preparations) };
    assert_eq!((prepared.source.as_path(), prepared.follow_links), (Path::new("/"), false));
    assert!(prepared.mapping.is_none());
    let mounts = bundle.config.mounts().clone().expect("mounts");
    let bind = mounts.iter().find(|mount| mount.destination() == Path::new("/x")).expect("the bind");
    assert_eq!(bind.source().as_ref(), Some(&prepared.prepared));
    assert_eq!(bind.options().clone().expect("options"), ["bind", "shared", "noexec", "ro"]);
    let linux = bundle.config.linux().clone().expect("the Linux part");
    assert_eq!(linux.rootfs_propagation().as_deref(), Some("shared"));
    assert!(linux.uid_mappings().is_none());
}
