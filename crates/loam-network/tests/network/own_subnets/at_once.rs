//! Many who come and go at once.

use std::sync::{Barrier, Mutex};
use std::time::{Duration, Instant};

use loam_model::{DetachRequest, ErrorKind, Network};
use loam_testkit::lab::{Sandbox, inside};

use super::{address, attach, bridges, engine, engine_with, garden, reaches};
use crate::bench::id;

#[test]
fn many_at_once_get_subnets_of_their_own() {
    inside("own_subnets::at_once::many_at_once_get_subnets_of_their_own", || {
        let engine = engine_with("10.254.0.0/27");
        let sandboxes: Vec<Sandbox> = (0..10).map(|_| Sandbox::new()).collect();
        let expected: Vec<String> = (0..8).map(|number| format!("10.254.0.{}/30", number * 4 + 2)).collect();
        for _ in 0..10 {
            let together = Barrier::new(sandboxes.len());
            let given: Mutex<Vec<String>> = Mutex::default();
            std::thread::scope(|scope| {
                for (sandbox, number) in sandboxes.iter().zip(1u8..) {
                    let (engine, together, given) = (&engine, &together, &given);
                    scope.spawn(move || {
                        together.wait();
                        match attach(engine, number, sandbox, "") {
                            Ok(made) => {
                                let address = made.interfaces[0].addresses[0].to_string();
                                given.lock().expect("no panic").push(address);
                            }
                            Err(failure) => assert_eq!(failure.kind(), ErrorKind::Exhausted, "{failure}"),
                        }
                    });
                }
            });
            let mut given = given.into_inner().expect("no panic");
            given.sort_by_key(|text| text.parse::<ipnet::Ipv4Net>().expect("valid"));
            assert_eq!(given, expected);
            for (sandbox, number) in sandboxes.iter().zip(1u8..) {
                engine.detach(&id(number), Some(sandbox));
            }
        }
        engine.assert_nothing_left("after all");
    });
}

#[test]
fn those_who_leave_a_shared_subnet_and_those_who_come_are_not_in_each_other_s_way() {
    inside(
        "own_subnets::at_once::those_who_leave_a_shared_subnet_and_those_who_come_are_not_in_each_other_s_way",
        || {
            let engine = engine();
            let sandboxes: Vec<Sandbox> = (0..4).map(|_| Sandbox::new()).collect();
            let gateway = std::net::TcpListener::bind("0.0.0.0:7").expect("a free port");
            std::thread::spawn(move || {
                for stream in gateway.incoming() {
                    std::io::Write::write_all(&mut stream.expect("a client"), b"10.9.0.1").expect("writable");
                }
            });
            std::thread::scope(|scope| {
                for (sandbox, number) in sandboxes.iter().zip(1u8..) {
                    let engine = &engine;
                    scope.spawn(move || {
                        for _ in 0..4 {
                            attach(engine, number, sandbox, "10.9.0.0/24").expect("attachable");
                            assert!(reaches(sandbox, "10.9.0.1:7"), "the bridge is there");
                            let request =
                                DetachRequest { container: &id(number), namespace: Some(sandbox.path()) };
                            engine.network.check(&request).expect("as it was made");
                            engine.detach(&id(number), Some(sandbox));
                        }
                    });
                }
            });
            assert_eq!(bridges(), Vec::<String>::new());
            engine.assert_nothing_left("after all");
        },
    );
}

#[test]
fn choosing_a_subnet_and_giving_one_up_exclude_each_other() {
    inside("own_subnets::at_once::choosing_a_subnet_and_giving_one_up_exclude_each_other", || {
        let engine = engine();
        let (one, two) = (Sandbox::new(), Sandbox::new());
        address(&engine, 1, &one, "");
        let lock = std::fs::File::open(engine.directory.path().join("root/network/locks/@container-subnets"));
        let lock = lock.expect("it was needed");
        rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive).expect("free");
        std::thread::scope(|scope| {
            let going = scope.spawn(|| engine.detach(&id(1), Some(&one)));
            let coming = scope.spawn(|| address(&engine, 2, &two, "10.9.0.0/24"));
            let begun = Instant::now();
            while begun.elapsed() < Duration::from_millis(300) {
                assert_eq!(bridges(), ["loam-0afe0000"]);
                let known = engine.network.attachments(&garden()).expect("readable");
                assert_eq!(known.iter().map(|known| known.container.clone()).collect::<Vec<_>>(), [id(1)]);
            }
            drop(lock);
            going.join().expect("no panic");
            assert_eq!(coming.join().expect("no panic"), "10.9.0.2/24");
        });
        assert_eq!(bridges(), ["loam-0a090000"]);
        engine.detach(&id(2), Some(&two));
        engine.assert_nothing_left("after both");
    });
}
