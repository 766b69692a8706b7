//! Which subnet and address a container gets (Guardian, `kawasaki/subnets`, whose sentences Garden's clients know).

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use loam_model::{ErrorKind, SubnetWish};

/// The prefix length of a subnet that nobody asked for: itself, the gateway, one container, broadcast.
const PREFIX: u8 = 30;

/// Why there is no such subnet or address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SubnetError {
    #[error("the requested subnet ({0}) overlaps the dynamic allocation range ({1})")]
    OverlapsPool(Ipv4Net, Ipv4Net),
    #[error("the requested subnet ({0}) overlaps an existing subnet ({1})")]
    OverlapsExisting(Ipv4Net, Ipv4Net),
    #[error("the requested IP is already allocated")]
    AddressTaken,
    #[error("a container IP must not equal the gateway IP")]
    AddressIsGateway,
    #[error("a container IP must not equal the broadcast IP")]
    AddressIsBroadcast,
    #[error("the requested IP is not within the subnet")]
    AddressOutside,
    #[error("insufficient subnets remaining in the pool")]
    NoSubnetLeft,
    #[error("insufficient IPs remaining in the pool")]
    NoAddressLeft,
}

impl SubnetError {
    pub(super) fn kind(&self) -> ErrorKind {
        match self {
            Self::OverlapsPool(..) | Self::OverlapsExisting(..) | Self::AddressTaken => {
                ErrorKind::AlreadyExists
            }
            Self::AddressIsGateway | Self::AddressIsBroadcast | Self::AddressOutside => ErrorKind::Invalid,
            Self::NoSubnetLeft | Self::NoAddressLeft => ErrorKind::Exhausted,
        }
    }
}

/// What others have.
#[derive(Clone, Debug, Default)]
pub(crate) struct Existing {
    /// Subnets with the addresses of containers in them, of the network itself.
    pub(crate) ours: Vec<(Ipv4Net, Ipv4Addr)>,
    /// Subnets of other networks.
    pub(crate) theirs: Vec<Ipv4Net>,
}

impl Existing {
    fn subnets(&self) -> impl Iterator<Item = Ipv4Net> {
        self.ours.iter().map(|(subnet, _)| *subnet).chain(self.theirs.iter().copied())
    }
}

/// The gateway of a subnet: its first address after its own.
pub(super) fn gateway(subnet: Ipv4Net) -> Ipv4Addr {
    u32::from(subnet.network()).wrapping_add(1).into()
}

fn overlap(one: Ipv4Net, other: Ipv4Net) -> bool {
    one.contains(&other) || other.contains(&one)
}

/// Chooses a subnet and an address in it.
pub(crate) fn select(
    pool: Ipv4Net,
    existing: &Existing,
    wish: Option<SubnetWish>,
) -> Result<(Ipv4Net, Ipv4Addr), SubnetError> {
    let subnet = match wish {
        None => free_subnet(pool, existing)?,
        Some(wish) => may_be_used(wish.subnet, pool, existing)?,
    };
    let address = match wish.and_then(|wish| wish.address) {
        None => free_address(subnet, existing)?,
        Some(address) => may_be_taken(address, subnet, existing)?,
    };
    Ok((subnet, address))
}

/// The first subnet of the pool that nobody has.
fn free_subnet(pool: Ipv4Net, existing: &Existing) -> Result<Ipv4Net, SubnetError> {
    let mut candidates = pool.subnets(PREFIX).map_err(|_| SubnetError::NoSubnetLeft)?;
    // Each of those that are there is in the way of one candidate, or of all in it.
    let used: BTreeSet<Ipv4Net> = existing.subnets().collect();
    let larger: Vec<Ipv4Net> = used.iter().copied().filter(|net| net.prefix_len() != PREFIX).collect();
    let is_free = |candidate: &Ipv4Net| {
        !used.contains(candidate) && !larger.iter().any(|net| overlap(*net, *candidate))
    };
    candidates.find(is_free).ok_or(SubnetError::NoSubnetLeft)
}

/// A subnet that is asked for: outside of the pool, and either nobody's or just the one that others have.
fn may_be_used(subnet: Ipv4Net, pool: Ipv4Net, existing: &Existing) -> Result<Ipv4Net, SubnetError> {
    if overlap(subnet, pool) {
        return Err(SubnetError::OverlapsPool(subnet, pool));
    }
    let shared = existing.ours.iter().any(|(other, _)| *other == subnet);
    match existing.subnets().find(|other| overlap(subnet, *other) && !(shared && *other == subnet)) {
        Some(other) => Err(SubnetError::OverlapsExisting(subnet, other)),
        None => Ok(subnet),
    }
}

fn taken(subnet: Ipv4Net, existing: &Existing) -> BTreeSet<Ipv4Addr> {
    let ours = existing.ours.iter().filter(|(other, _)| *other == subnet).map(|(_, address)| *address);
    ours.chain([subnet.network(), gateway(subnet), subnet.broadcast()]).collect()
}

/// The first address of a subnet that nobody has.
fn free_address(subnet: Ipv4Net, existing: &Existing) -> Result<Ipv4Addr, SubnetError> {
    let taken = taken(subnet, existing);
    let all = u32::from(subnet.network())..=u32::from(subnet.broadcast());
    all.map(Ipv4Addr::from).find(|address| !taken.contains(address)).ok_or(SubnetError::NoAddressLeft)
}

/// An address that is asked for.
fn may_be_taken(address: Ipv4Addr, subnet: Ipv4Net, existing: &Existing) -> Result<Ipv4Addr, SubnetError> {
    if address == subnet.broadcast() {
        return Err(SubnetError::AddressIsBroadcast);
    }
    if address == gateway(subnet) {
        return Err(SubnetError::AddressIsGateway);
    }
    if !subnet.contains(&address) {
        return Err(SubnetError::AddressOutside);
    }
    if taken(subnet, existing).contains(&address) {
        return Err(SubnetError::AddressTaken);
    }
    Ok(address)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn net(text: &str) -> Ipv4Net {
        text.parse().expect("a subnet")
    }

    /// What is chosen from a pool of eight addresses, beside containers at `ours`, for a wish or without one.
    fn chosen(ours: &[&str], wish: &str) -> Result<String, String> {
        let at = |text: &&str| {
            let whole = net(text);
            (whole.trunc(), whole.addr())
        };
        let existing = Existing { ours: ours.iter().map(at).collect(), theirs: vec![net("10.90.0.0/16")] };
        let wish = Some(wish).filter(|wish| !wish.is_empty()).map(|wish| wish.parse().expect("valid"));
        let chosen = select(net("10.254.0.0/29"), &existing, wish);
        chosen.map(|(subnet, address)| format!("{address} in {subnet}")).map_err(|error| error.to_string())
    }

    fn refused(ours: &[&str], wish: &str) -> String {
        chosen(ours, wish).expect_err(wish)
    }

    #[test]
    fn no_wish_is_the_next_free_subnet_of_four() {
        assert_eq!(chosen(&[], "").expect("free"), "10.254.0.2 in 10.254.0.0/30");
        assert_eq!(chosen(&["10.254.0.2/30"], "").expect("free"), "10.254.0.6 in 10.254.0.4/30");
        assert_eq!(chosen(&["10.254.0.6/30"], "").expect("the first"), "10.254.0.2 in 10.254.0.0/30");
        let both = ["10.254.0.2/30", "10.254.0.6/30"];
        assert_eq!(refused(&both, ""), "insufficient subnets remaining in the pool");
        let one = Existing {
            ours: vec![(net("10.254.0.4/31"), "10.254.0.4".parse().expect("valid"))],
            ..Existing::default()
        };
        assert_eq!(select(net("10.254.0.4/30"), &one, None), Err(SubnetError::NoSubnetLeft), "a part of it");
        assert_eq!(select(net("10.254.0.4/31"), &Existing::default(), None), Err(SubnetError::NoSubnetLeft));
    }

    #[test]
    fn the_subnet_s_own_address_is_its_next_free_one() {
        assert_eq!(chosen(&[], "10.9.0.0/24").expect("free"), "10.9.0.2 in 10.9.0.0/24");
        let two = ["10.9.0.2/24", "10.9.0.4/24"];
        assert_eq!(chosen(&two, "10.9.0.0/24").expect("shared"), "10.9.0.3 in 10.9.0.0/24");
        assert_eq!(refused(&["10.9.0.2/30"], "10.9.0.0"), "insufficient IPs remaining in the pool");
        assert_eq!(refused(&[], "10.9.0.0/31"), "insufficient IPs remaining in the pool");
        assert_eq!(refused(&[], "10.9.0.7/32"), "insufficient IPs remaining in the pool");
    }

    #[test]
    fn any_other_address_is_just_that_one() {
        assert_eq!(chosen(&["10.9.0.2/24"], "10.9.0.77/24").expect("free"), "10.9.0.77 in 10.9.0.0/24");
        assert_eq!(chosen(&[], "10.9.0.6").expect("free"), "10.9.0.6 in 10.9.0.4/30");
        assert_eq!(refused(&["10.9.0.2/24"], "10.9.0.2/24"), "the requested IP is already allocated");
        assert_eq!(refused(&[], "10.9.0.1/24"), "a container IP must not equal the gateway IP");
        assert_eq!(refused(&[], "10.9.0.255/24"), "a container IP must not equal the broadcast IP");
        assert_eq!(refused(&[], "10.9.0.3"), "a container IP must not equal the broadcast IP");
        let outside = SubnetWish { subnet: net("10.9.0.0/24"), address: "10.8.0.2".parse().ok() };
        let said = select(net("10.254.0.0/29"), &Existing::default(), Some(outside))
            .expect_err("outside")
            .to_string();
        assert_eq!(said, "the requested IP is not within the subnet");
    }

    #[test]
    fn subnets_overlap_neither_the_pool_nor_others() {
        let pool =
            "the requested subnet (10.254.0.4/30) overlaps the dynamic allocation range (10.254.0.0/29)";
        assert_eq!(refused(&[], "10.254.0.6/30"), pool);
        let around =
            "the requested subnet (10.254.0.0/16) overlaps the dynamic allocation range (10.254.0.0/29)";
        assert_eq!(refused(&[], "10.254.0.0/16"), around);
        let part = "the requested subnet (10.9.0.0/25) overlaps an existing subnet (10.9.0.0/24)";
        assert_eq!(refused(&["10.9.0.2/24"], "10.9.0.0/25"), part);
        let wider = "the requested subnet (10.9.0.0/16) overlaps an existing subnet (10.9.0.0/24)";
        assert_eq!(refused(&["10.9.0.2/24"], "10.9.0.0/16"), wider);
        let theirs = "the requested subnet (10.90.0.0/16) overlaps an existing subnet (10.90.0.0/16)";
        assert_eq!(refused(&[], "10.90.0.0/16"), theirs);
    }
}
