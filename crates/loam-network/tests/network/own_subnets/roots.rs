//! Two state directories on one host, with pools that are alike.

use std::collections::BTreeSet;
use std::sync::Barrier;

use loam_model::ErrorKind;
use loam_testkit::lab::{Sandbox, inside};

use super::{address, bridges, engine_with, refused};
use crate::bench::id;

#[test]
fn two_state_directories_never_hand_out_one_subnet() {
    inside("own_subnets::roots::two_state_directories_never_hand_out_one_subnet", || {
        let engines = [engine_with("10.254.0.0/26"), engine_with("10.254.0.0/26")];
        let (one, two) = (Sandbox::new(), Sandbox::new());
        assert_eq!(address(&engines[0], 1, &one, ""), "10.254.0.2/30");
        assert_eq!(address(&engines[1], 1, &two, ""), "10.254.0.6/30");
        engines[0].detach(&id(1), Some(&one));
        // The other's is left alone, and the own one can be had again by both.
        assert_eq!(bridges(), ["loam-0afe0004"]);
        assert_eq!(address(&engines[1], 2, &one, ""), "10.254.0.2/30");
        engines[1].detach(&id(2), Some(&one));
        engines[1].detach(&id(1), Some(&two));

        assert_eq!(address(&engines[0], 1, &one, "10.9.0.0/24"), "10.9.0.2/24");
        let (kind, said) = refused(&engines[1], 1, &two, "10.9.0.0/24");
        assert_eq!(kind, ErrorKind::AlreadyExists);
        assert!(said.contains("overlaps an existing subnet (10.9.0.0/24)"), "{said}");
        engines[0].detach(&id(1), Some(&one));
        assert_eq!(address(&engines[1], 1, &two, "10.9.0.0/24"), "10.9.0.2/24");
        engines[1].detach(&id(1), Some(&two));

        let sandboxes: Vec<Sandbox> = (0..8).map(|_| Sandbox::new()).collect();
        for _ in 0..10 {
            let together = Barrier::new(sandboxes.len());
            let addresses: BTreeSet<String> = std::thread::scope(|scope| {
                let threads: Vec<_> = (0u8..)
                    .zip(&sandboxes)
                    .map(|(number, sandbox)| {
                        let (engine, together) = (&engines[usize::from(number % 2)], &together);
                        scope.spawn(move || {
                            together.wait();
                            address(engine, number, sandbox, "")
                        })
                    })
                    .collect();
                threads.into_iter().map(|thread| thread.join().expect("no panic")).collect()
            });
            assert_eq!(addresses.len(), sandboxes.len(), "{addresses:?}");
            for (number, sandbox) in (0u8..).zip(&sandboxes) {
                engines[usize::from(number % 2)].detach(&id(number), Some(sandbox));
            }
            assert_eq!(bridges(), Vec::<String>::new());
        }
        engines.iter().for_each(|engine| engine.assert_nothing_left("after all"));
    });
}
