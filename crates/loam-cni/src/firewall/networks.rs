//! What belongs to a network as a whole: its masquerade, and what nothing is left of when it is removed.

use ipnet::IpNet;

use super::elements;
use super::records::NetworkRecord;
use super::{Firewall, FirewallError};
use crate::nftables::{Batch, NftablesError};

impl Firewall {
    /// Masquerades what a network's containers send to the outside.
    pub fn masquerade(&mut self, network: &str, record: &NetworkRecord) -> Result<(), FirewallError> {
        self.records.keep_network(network, record)?;
        let elements = elements::sources(record);
        self.change(|batch| elements::add(batch, &elements, false)).map_err(|error| match error {
            FirewallError::Change(error) if error.is_contradiction() => {
                FirewallError::Overlap(network.to_owned())
            }
            other => other,
        })
    }

    /// Whether what a network's containers send is masqueraded.
    pub fn is_masqueraded(&mut self, record: &NetworkRecord) -> Result<bool, FirewallError> {
        for (set, element) in elements::sources(record) {
            if !element.interval_end && !self.holds(&(set, element))? {
                return Ok(false);
            }
        }
        self.is_whole()
    }

    /// Forgets a network that nothing is attached to any more: what is masqueraded for its subnets and what published
    /// ports needed, what guards the bridge that led to it, and whatever its attachments have left in spite of all.
    /// Success when there is nothing.
    pub fn forget_network(
        &mut self,
        network: &str,
        bridge: Option<&str>,
        subnets: &[IpNet],
    ) -> Result<(), FirewallError> {
        for left in self.published(network)? {
            self.withdraw(&left.owner(), &[])?;
        }
        for left in self.admitted(network)? {
            self.dismiss(&left.owner())?;
        }
        for left in self.guarded_senders(network)? {
            self.release_sender(&left.owner())?;
        }
        let mut sources = self.records.network(network)?.unwrap_or_default().sources;
        sources.extend(subnets.iter().map(IpNet::trunc));
        sources.sort_unstable();
        sources.dedup();
        for part in elements::of_network(&sources, bridge) {
            let mut batch = Batch::new(super::TABLE);
            elements::delete(&mut batch, &part);
            match self.socket.commit(&batch) {
                Ok(()) | Err(NftablesError::Missing) => {}
                Err(error) => return Err(FirewallError::Change(error)),
            }
        }
        self.sweep_own_links()?;
        Ok(self.records.forget_network(network)?)
    }
}
