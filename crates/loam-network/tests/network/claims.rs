//! Ports and addresses belong to one.

use std::net::IpAddr;

use loam_model::{ErrorKind, Protocol};
use loam_testkit::lab::{Sandbox, inside};

use crate::bench::{Engine, addresses, id, port};

#[test]
fn ports_that_are_taken_are_refused_by_name() {
    inside("claims::ports_that_are_taken_are_refused_by_name", || {
        let engine = Engine::new();
        let (one, two) = (Sandbox::new(), Sandbox::new());
        let program = std::net::TcpListener::bind("0.0.0.0:9000").expect("a free port");
        let failure = engine.attach(&id(1), &one, &[port(9000, 80, Protocol::Tcp)]).expect_err("taken");
        assert_eq!(failure.kind(), ErrorKind::AlreadyExists);
        assert_eq!(failure.to_string(), "host port `9000/tcp` is taken by another program");
        engine.assert_nothing_left("after a refusal");
        drop(program);
        let held = engine.attach(&id(1), &one, &[port(9000, 80, Protocol::Tcp)]).expect("free now");
        assert_eq!(held.reservations.len(), 2);
        std::net::TcpListener::bind("0.0.0.0:9000").expect_err("the port is reserved");
        std::net::TcpListener::bind("[::]:9000").expect_err("the port is reserved");
        let failure = engine.attach(&id(2), &two, &[port(9000, 80, Protocol::Tcp)]).expect_err("taken");
        let owner = id(1);
        let expected = format!("host port `9000/tcp` is taken by container `{}`", owner.short());
        assert_eq!(failure.to_string(), expected);
        // Without the reservation, as after the shim was killed, the kernel's table still refuses.
        drop(held);
        let failure = engine.attach(&id(2), &two, &[port(9000, 80, Protocol::Tcp)]).expect_err("taken");
        assert_eq!((failure.kind(), failure.to_string()), (ErrorKind::AlreadyExists, expected));
        // One that is free is found.
        let free = engine.attach(&id(2), &two, &[port(0, 80, Protocol::Tcp)]).expect("any port will do");
        assert!(free.ports[0].host_port > 0);
        engine.detach(&id(1), Some(&one));
        engine.detach(&id(2), Some(&two));
        engine.assert_nothing_left("after detaching");
    });
}

#[test]
fn many_containers_at_once_get_addresses_of_their_own() {
    inside("claims::many_containers_at_once_get_addresses_of_their_own", || {
        let engine = Engine::new();
        let sandboxes: Vec<Sandbox> = (0..16).map(|_| Sandbox::new()).collect();
        let mut taken: Vec<IpAddr> = std::thread::scope(|scope| {
            let engine = &engine;
            let all: Vec<_> = (0u8..)
                .zip(&sandboxes)
                .map(|(number, sandbox)| {
                    let wanted = [port(0, 80, Protocol::Tcp)];
                    scope.spawn(move || engine.attach(&id(number), sandbox, &wanted).expect("attachable"))
                })
                .collect();
            all.into_iter()
                .flat_map(|one| {
                    let (four, six) = addresses(&one.join().expect("no panic"));
                    [four, six]
                })
                .collect()
        });
        taken.sort();
        taken.dedup();
        assert_eq!(taken.len(), 32);
        std::thread::scope(|scope| {
            for number in 0..16 {
                let engine = &engine;
                scope.spawn(move || engine.detach(&id(number), None));
            }
        });
        sandboxes.into_iter().for_each(Sandbox::end);
        engine.assert_nothing_left("after many");
    });
}
