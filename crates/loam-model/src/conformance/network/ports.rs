//! Published ports.

use std::collections::BTreeSet;

use super::{Ground, attach, check, detach, id, kind, on};
use crate::{Attachment, PortMapping, Protocol};

/// A port that nothing else in a test has.
const FIXED: u16 = 18_080;

fn port(host_port: u16, container_port: u16) -> PortMapping {
    PortMapping { host_address: None, host_port, container_port, protocol: Protocol::Tcp }
}

fn numbers(made: &Attachment) -> Vec<u16> {
    made.ports.iter().map(|port| port.host_port).collect()
}

pub(super) fn have_one_owner(ground: &dyn Ground) {
    let [first, _] = ground.names();
    let networks = std::slice::from_ref(&first);
    let (one, two) = (ground.container(), ground.container());
    let made = attach(ground, &id(1), &*one, networks, &[port(FIXED, 80)]).expect("attachable");
    assert_eq!(numbers(&made), [FIXED]);
    let failed = attach(ground, &id(2), &*two, networks, &[port(FIXED, 80)]);
    assert_eq!(kind(failed), ground.taken_port());
    assert_eq!(on(ground, &first), [id(1)], "the other is not attached");
    check(ground, &id(1), &*one);
    detach(ground, &id(1), Some(&*one));
    drop(made);
    let made = attach(ground, &id(2), &*two, networks, &[port(FIXED, 80)]).expect("it is free again");
    detach(ground, &id(2), Some(&*two));
    drop(made);
}

pub(super) fn are_chosen(ground: &dyn Ground) {
    let [first, _] = ground.names();
    let networks = std::slice::from_ref(&first);
    let (one, two) = (ground.container(), ground.container());
    let wanted = [port(0, 80), port(0, 81)];
    let made = [
        attach(ground, &id(1), &*one, networks, &wanted).expect("attachable"),
        attach(ground, &id(2), &*two, networks, &wanted).expect("attachable"),
    ];
    let all: Vec<u16> = made.iter().flat_map(numbers).collect();
    let distinct: BTreeSet<u16> = all.iter().copied().filter(|number| *number > 0).collect();
    assert_eq!((all.len(), distinct.len()), (4, 4), "{all:?}");
    let inside = made[0].ports.iter().map(|port| port.container_port);
    assert_eq!(inside.collect::<Vec<_>>(), [80, 81], "in the order that they were asked for");
    detach(ground, &id(1), Some(&*one));
    detach(ground, &id(2), Some(&*two));
}
