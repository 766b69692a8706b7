//! Rules of attached containers.

use super::{Ground, attach, check, detach, id, kind};
use crate::{
    EgressList, EgressPolicy, EgressProtocol, EgressRule, ErrorKind, PortMapping, PortRange, Protocol,
};

fn allowing(first: u16, last: u16) -> EgressPolicy {
    let protocol = EgressProtocol::Tcp(vec![PortRange { first, last }]);
    let rules = vec![EgressRule { protocol, ..EgressRule::default() }];
    EgressPolicy { to_others: EgressList { rules, ..EgressList::default() }, ..EgressPolicy::default() }
}

pub(super) fn end_with_the_attachment(ground: &dyn Ground) {
    let Some(rules) = ground.rules() else { return };
    let [first, _] = ground.names();
    let container = ground.container();
    let port =
        PortMapping { host_address: None, host_port: 18_081, container_port: 80, protocol: Protocol::Tcp };
    for _ in 0..2 {
        assert_eq!(kind(rules.restrict(&id(1), &allowing(80, 90))), ErrorKind::NotFound);
        assert_eq!(kind(rules.publish(&id(1), &container.namespace(), &[port])), ErrorKind::NotFound);
        attach(ground, &id(1), &*container, std::slice::from_ref(&first), &[]).expect("attachable");
        for _ in 0..2 {
            rules.restrict(&id(1), &allowing(80, 90)).expect("set");
        }
        rules.publish(&id(1), &container.namespace(), &[]).expect("nothing to do");
        let published = rules.publish(&id(1), &container.namespace(), &[port]).expect("published");
        assert_eq!(published, [port]);
        let any = PortMapping { host_port: 0, container_port: 81, ..port };
        let published = rules.publish(&id(1), &container.namespace(), &[any]).expect("one is free");
        assert!(
            published.len() == 1 && ![0, port.host_port].contains(&published[0].host_port),
            "{published:?}"
        );
        assert_eq!(published[0].container_port, 81);
        check(ground, &id(1), &*container);
        detach(ground, &id(1), Some(&*container));
    }
}

pub(super) fn are_refused(ground: &dyn Ground) {
    let Some(rules) = ground.rules() else { return };
    let [first, _] = ground.names();
    let container = ground.container();
    attach(ground, &id(1), &*container, std::slice::from_ref(&first), &[]).expect("attachable");
    rules.restrict(&id(1), &allowing(80, 90)).expect("set");
    assert_eq!(kind(rules.restrict(&id(1), &allowing(90, 80))), ErrorKind::Invalid);
    check(ground, &id(1), &*container);
    rules.restrict(&id(1), &allowing(80, 90)).expect("as before");
    detach(ground, &id(1), Some(&*container));
}
