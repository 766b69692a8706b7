//! Attaching and detaching.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::{Ground, attach, check, connect, detach, id, kind, missing, on};
use crate::{DisconnectRequest, ErrorKind};

pub(super) fn comes_and_goes(ground: &dyn Ground) {
    let names = ground.names();
    let container = ground.container();
    let made = attach(ground, &id(1), &*container, &names, &[]).expect("attachable");
    let networks: Vec<_> = made.interfaces.iter().map(|interface| interface.network.clone()).collect();
    assert_eq!(networks, names, "an interface for each network, that of the default route first");
    let interfaces: BTreeSet<_> = made.interfaces.iter().map(|interface| &interface.name).collect();
    assert_eq!(interfaces.len(), names.len(), "names of their own");
    assert!(made.interfaces.iter().all(|interface| !interface.addresses.is_empty()), "{made:?}");
    assert_eq!(ground.network().attached().expect("readable"), [id(1)]);
    for name in &names {
        assert_eq!(on(ground, name), [id(1)], "{name}");
    }
    check(ground, &id(1), &*container);
    detach(ground, &id(1), Some(&*container));
    assert_eq!(ground.network().attached().expect("readable"), []);
    assert_eq!(on(ground, &names[0]), []);
    detach(ground, &id(1), Some(&*container));
    detach(ground, &id(1), None);
    // Nothing is as it was made.
    check(ground, &id(1), &*container);
}

pub(super) fn was_never_there(ground: &dyn Ground) {
    let container = ground.container();
    detach(ground, &id(1), None);
    detach(ground, &id(1), Some(&*container));
    let [network, _] = &ground.names();
    let request = DisconnectRequest { container: &id(1), namespace: Some(container.namespace()), network };
    ground.network().disconnect(&request).expect("nothing to do");
}

pub(super) fn lost_its_namespace(ground: &dyn Ground) {
    let names = ground.names();
    for _ in 0..2 {
        let container = ground.container();
        attach(ground, &id(1), &*container, &names, &[]).expect("attachable");
        drop(container);
        assert_eq!(ground.network().attached().expect("readable"), [id(1)], "it is known still");
        detach(ground, &id(1), None);
    }
}

pub(super) fn fails(ground: &dyn Ground) {
    let [first, _] = ground.names();
    let container = ground.container();
    for networks in [vec![missing()], vec![first.clone(), missing()]] {
        let failed = attach(ground, &id(1), &*container, &networks, &[]);
        assert_eq!(kind(failed), ErrorKind::NotFound);
        assert_eq!(ground.network().attached().expect("readable"), []);
    }
    attach(ground, &id(1), &*container, std::slice::from_ref(&first), &[]).expect("attachable");
    assert_eq!(kind(connect(ground, &id(1), &*container, &missing())), ErrorKind::NotFound);
    assert_eq!(on(ground, &first), [id(1)], "it is where it was");
    check(ground, &id(1), &*container);
    detach(ground, &id(1), Some(&*container));
}

pub(super) fn moves(ground: &dyn Ground) {
    let [first, second] = ground.names();
    let container = ground.container();
    let leave = |network: &crate::NetworkName| {
        let request =
            DisconnectRequest { container: &id(1), namespace: Some(container.namespace()), network };
        ground.network().disconnect(&request).expect("it is taken off");
    };
    let made = attach(ground, &id(1), &*container, std::slice::from_ref(&first), &[]).expect("attachable");
    assert_eq!(kind(connect(ground, &id(1), &*container, &first)), ErrorKind::AlreadyExists);
    let more = connect(ground, &id(1), &*container, &second).expect("connectable");
    assert_eq!((more.interfaces.len(), &more.interfaces[0].network), (1, &second));
    assert_ne!(more.interfaces[0].name, made.interfaces[0].name);
    assert_eq!((on(ground, &first), on(ground, &second)), (vec![id(1)], vec![id(1)]));
    check(ground, &id(1), &*container);
    assert_eq!(kind(connect(ground, &id(1), &*container, &second)), ErrorKind::AlreadyExists);
    for _ in 0..2 {
        leave(&second);
        assert_eq!((on(ground, &first), on(ground, &second)), (vec![id(1)], vec![]));
    }
    check(ground, &id(1), &*container);
    connect(ground, &id(1), &*container, &second).expect("connectable again");
    leave(&first);
    assert_eq!((on(ground, &first), on(ground, &second)), (vec![], vec![id(1)]));
    check(ground, &id(1), &*container);
    detach(ground, &id(1), Some(&*container));
    assert_eq!(on(ground, &second), []);
}

pub(super) fn at_once(ground: &dyn Ground) {
    const CONTAINERS: u8 = 4;
    let names = ground.names();
    let live = |number: u8| {
        let container = ground.container();
        let mut addresses = Vec::new();
        for _ in 0..2 {
            let made = attach(ground, &id(number), &*container, &names, &[]).expect("attachable");
            check(ground, &id(number), &*container);
            detach(ground, &id(number), Some(&*container));
            drop(made);
        }
        let made = attach(ground, &id(number), &*container, &names, &[]).expect("attachable");
        addresses.extend(made.interfaces.iter().flat_map(|found| &found.addresses).map(|net| net.addr()));
        (container, addresses)
    };
    let live = &live;
    let lives: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (1..=CONTAINERS).map(|number| scope.spawn(move || live(number))).collect();
        threads.into_iter().map(|thread| thread.join().expect("no panic")).collect()
    });
    let all: Vec<IpAddr> = lives.iter().flat_map(|(_, addresses)| addresses.clone()).collect();
    let distinct: BTreeSet<&IpAddr> = all.iter().collect();
    assert_eq!(distinct.len(), all.len(), "each has its own: {all:?}");
    assert_eq!(ground.network().attached().expect("readable").len(), usize::from(CONTAINERS));
    for (number, (container, _)) in (1..).zip(&lives) {
        check(ground, &id(number), &**container);
        detach(ground, &id(number), Some(&**container));
    }
}
