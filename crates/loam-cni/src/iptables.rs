//! Driving the programs `iptables` and `ip6tables`, for hosts whose packets a firewall of theirs decides over.
//!
//! The chains and rules are those of the reference plugins, so that either can remove what the other made. A change is
//! one `iptables-restore --noflush` a family: all of it or nothing. What is there already is looked up first, in one
//! `iptables-save`, so that no rule comes twice.

mod program;
mod ruleset;

pub use program::{Family, Iptables, IptablesError};
pub use ruleset::{Change, Rule, Table};

use sha2::{Digest, Sha512};

/// The longest name of a chain that the reference plugins give.
const MAX_CHAIN: usize = 28;

/// The name of a container's chain: a prefix, and as many digits of a hash over network and container as there is room.
pub(crate) fn chain_name(prefix: &str, network: &str, container: &str) -> String {
    let hash = Sha512::digest(format!("{network}{container}"));
    let digits: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
    let mut name = format!("CNI-{prefix}{digits}");
    name.truncate(MAX_CHAIN);
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_the_reference_s() {
        // From its tests: pkg/utils/utils_test.go and plugins/meta/portmap/portmap_test.go.
        assert_eq!(chain_name("", "test", "1234"), "CNI-2bbe0c48b91a7d1b8a6753a8");
        assert_eq!(chain_name("", "test", "1234").len(), 28);
        let container = concat!(
            "icee6giejonei6sohng6ahngee7laquohquee9shiGo7fohferakah3Feiyoolu2pei7ciPhoh7",
            "shaoX6vai3vuf0ahfaeng8yohb9ceu0daez5hashee8ooYai5wa3y"
        );
        assert_eq!(chain_name("DN-", "testNetName", container), "CNI-DN-bfd599665540dd91d5d28");
    }
}
