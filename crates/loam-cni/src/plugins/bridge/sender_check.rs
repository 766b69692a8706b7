//! `macspoofchk`: the container sends from its own hardware address only.

use crate::firewall::{Firewall, FirewallError, SenderRecord};
use crate::interface::Derived;
use crate::nftables::NftablesError;
use crate::protocol::{CniError, Context, ValidAttachments, code};

fn refused(cause: FirewallError) -> CniError {
    if let FirewallError::Senders(cause @ NftablesError::Unsupported(_)) = &cause {
        let message = "this kernel lacks nf_tables for bridges, which `macspoofchk` needs";
        return CniError::new(code::UNSUPPORTED_KERNEL, message).because(cause);
    }
    CniError::internal("guarding the container's hardware address failed", &cause)
}

/// Lets the container's link send from its own hardware address only.
pub(super) fn guard(context: &Context<'_>, derived: &Derived) -> Result<(), CniError> {
    let (network, link) = (context.config.name.clone(), derived.host_name.clone());
    let sender = SenderRecord { network, link, mac: derived.mac };
    Firewall::open(context.host)
        .and_then(|mut firewall| firewall.guard_sender(&context.owner(), &sender))
        .map_err(refused)
}

/// Undoes [`guard`]; success when there is nothing.
pub(super) fn release(context: &Context<'_>) -> Result<(), CniError> {
    Firewall::open(context.host)
        .and_then(|mut firewall| firewall.release_sender(&context.owner()))
        .map_err(refused)
}

/// Undoes it for the attachments of the network that are not valid.
pub(super) fn collect(context: &Context<'_>, valid: &ValidAttachments) -> Result<(), CniError> {
    let mut firewall = Firewall::open(context.host).map_err(refused)?;
    for known in firewall.guarded_senders(&context.config.name).map_err(refused)? {
        if !valid.contains(&known.owner()) {
            firewall.release_sender(&known.owner()).map_err(refused)?;
        }
    }
    Ok(())
}
