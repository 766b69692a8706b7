//! Networks themselves.

use super::{Ground, attach, check, detach, id, kind, missing, on};
use crate::{ErrorKind, NetworkName, NetworkSource};

fn made() -> NetworkName {
    "suite".parse().expect("a name")
}

fn create(ground: &dyn Ground) -> crate::Result<crate::NetworkDescription> {
    ground.network().create_network(&NetworkSource::Spec(made(), Box::default()))
}

pub(super) fn are_made(ground: &dyn Ground) {
    let network = ground.network();
    let is_listed = |name: &NetworkName| {
        network.networks().expect("readable").networks.iter().any(|found| found.name == *name)
    };
    let default = NetworkName::default_network();
    assert!(network.exists(&default).expect("readable") && is_listed(&default));
    assert_eq!(kind(network.remove_network(&default)), ErrorKind::Conflict, "it stays");
    assert!(!network.exists(&missing()).expect("readable") && !is_listed(&missing()));
    assert_eq!(kind(network.network(&missing())), ErrorKind::NotFound);
    assert_eq!(kind(network.status(&missing())), ErrorKind::NotFound);
    assert_eq!(kind(network.remove_network(&missing())), ErrorKind::NotFound);
    assert_eq!(kind(network.collect(Some(&missing()))), ErrorKind::NotFound);

    let description = create(ground).expect("made");
    assert_eq!(description.name, made());
    assert!(network.exists(&made()).expect("readable") && is_listed(&made()));
    assert_eq!(network.network(&made()).expect("there"), description);
    network.status(&made()).expect("it can attach");
    assert_eq!(on(ground, &made()), []);
    assert_eq!(kind(create(ground)), ErrorKind::AlreadyExists);
    network.remove_network(&made()).expect("removed");
    assert!(!network.exists(&made()).expect("readable") && !is_listed(&made()));
    assert_eq!(kind(network.remove_network(&made())), ErrorKind::NotFound);
}

pub(super) fn stay_in_use(ground: &dyn Ground) {
    create(ground).expect("made");
    let container = ground.container();
    attach(ground, &id(1), &*container, &[made()], &[]).expect("attachable");
    assert_eq!(kind(ground.network().remove_network(&made())), ErrorKind::Conflict);
    check(ground, &id(1), &*container);
    detach(ground, &id(1), Some(&*container));
    ground.network().remove_network(&made()).expect("removed");
}

pub(super) fn are_collected(ground: &dyn Ground) {
    let names = ground.names();
    let container = ground.container();
    attach(ground, &id(1), &*container, &names, &[]).expect("attachable");
    for name in [None, Some(&names[0])] {
        let collected = ground.network().collect(name).expect("collected");
        assert_eq!(collected.attachments, [], "{name:?}");
        check(ground, &id(1), &*container);
    }
    ground.network().reload().expect("all is there");
    check(ground, &id(1), &*container);
    detach(ground, &id(1), Some(&*container));
}
