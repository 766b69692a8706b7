//! The two categories that tell a container's files from those of all others.

use loam_model::{ContainerId, IdMapping};

/// How many categories a policy has.
const CATEGORIES: u32 = 1024;
/// How many pairs of two different ones there are.
const PAIRS: u32 = CATEGORIES * (CATEGORIES - 1) / 2;
/// Pairs that are kept for containers with a range of ids of their own: as many as there are ranges of 65536 ids.
const BY_RANGE: u32 = 65_536;

/// The pair of a container, the lower first. Who has a range of ids that nobody else has gets a pair that nobody else has;
/// for one with the host's ids it is drawn by its own random id.
pub(super) fn of(id: &ContainerId, mapping: Option<&IdMapping>) -> (u32, u32) {
    let range = mapping.and_then(|mapping| mapping.ranges.first());
    let index = match range.map(|range| range.host / range.size.max(1)) {
        Some(number) if number < BY_RANGE => number,
        _ => {
            let digits = u32::from_str_radix(&id.as_str()[..8], 16).unwrap_or(0);
            BY_RANGE + digits % (PAIRS - BY_RANGE)
        }
    };
    pair(index)
}

/// The pair with a number: those with the lower higher category first.
fn pair(index: u32) -> (u32, u32) {
    // The pairs below `higher` are `higher * (higher - 1) / 2`.
    let mut higher = (2 * index).isqrt();
    while higher * (higher + 1) / 2 <= index {
        higher += 1;
    }
    (index - higher * (higher - 1) / 2, higher)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn every_number_is_a_pair_of_its_own() {
        let mut seen = HashSet::new();
        for index in 0..PAIRS {
            let (lower, higher) = pair(index);
            assert!(lower < higher && higher < CATEGORIES, "{index}: {lower}, {higher}");
            assert!(seen.insert((lower, higher)), "{index} again");
        }
    }

    #[test]
    fn containers_with_ranges_of_their_own_share_none() {
        let id = ContainerId::from_random([7; 32]);
        let pair = |host: u32| of(&id, Some(&IdMapping::contiguous(host, 65_536)));
        let pairs: HashSet<_> = (1..5000).map(|slot| pair(slot * 65_536 + 7)).collect();
        assert_eq!(pairs.len(), 4999);
        let by_id = of(&id, None);
        assert!(!pairs.contains(&by_id));
        assert_eq!(by_id, of(&id, None), "the same at each start");
        assert_ne!(by_id, of(&ContainerId::from_random([8; 32]), None));
    }
}
