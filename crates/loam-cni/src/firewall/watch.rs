//! Watching over the tables: whoever flushes it, as firewall managers do when they are reloaded, has them restored at once.
//!
//! The kernel tells of each change of nf_tables (nfnetlink.h, `NFNLGRP_NFTABLES`). Nothing is asked of it until it does.

use std::time::{Duration, Instant};

use netlink_sys::protocols::NETLINK_NETFILTER;

use super::{Firewall, FirewallError, TABLE};
use crate::netlink::{Socket, attributes, text};
use crate::nftables::{FAMILY_BRIDGE, FAMILY_INET, NftablesError, is_removal};
use crate::protocol::Host;

/// The group of changes of nf_tables (`NFNLGRP_NFTABLES`).
const GROUP: u32 = 7;
/// How long it must be quiet before the table is restored: a manager that flushes everything sets its own right after.
const QUIET: Duration = Duration::from_millis(50);
/// How long it may take until it is quiet.
const PATIENCE: Duration = Duration::from_millis(500);

/// A watch over our table, and that of bridges, of the network namespace of the thread that began it.
#[derive(Debug)]
pub struct Watch {
    socket: Socket,
    firewall: Firewall,
}

impl Watch {
    /// Begins, and restores what is broken already.
    pub fn begin(host: &Host) -> Result<Self, FirewallError> {
        let failed = |cause| FirewallError::Read(NftablesError::Netlink(cause));
        let mut socket = Socket::open(NETLINK_NETFILTER).map_err(failed)?;
        // First, so that nothing happens unheard between the look and the watch.
        socket.join(GROUP).map_err(failed)?;
        let mut watch = Self { socket, firewall: Firewall::open(host)? };
        watch.mend()?;
        Ok(watch)
    }

    /// Restores what is broken; says whether anything was.
    fn mend(&mut self) -> Result<bool, FirewallError> {
        let broken = self.firewall.is_broken()?;
        if broken {
            self.firewall.restore()?;
        }
        Ok(broken)
    }

    /// Waits until a table was broken, and has been restored. False when the time is up before.
    pub fn restored(&mut self, limit: Option<Duration>) -> Result<bool, FirewallError> {
        let deadline = limit.map(|limit| Instant::now() + limit);
        loop {
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            let Some(concerned) = self.hear(left)? else { return Ok(false) };
            if concerned {
                let patience = Instant::now() + PATIENCE;
                while Instant::now() < patience && self.hear(Some(QUIET))?.is_some() {}
                if self.mend()? {
                    return Ok(true);
                }
            }
        }
    }

    /// Hears what changes; says whether our tables may be concerned, or `None` when the time is up before anything does.
    fn hear(&mut self, limit: Option<Duration>) -> Result<Option<bool>, FirewallError> {
        let mut concerned = false;
        let heard = self.socket.wait(limit, |message| {
            let of_family = matches!(message.payload.first(), Some(&(FAMILY_INET | FAMILY_BRIDGE)));
            if is_removal(message.kind) && of_family {
                let mut parts = attributes(message.payload.get(4..).unwrap_or_default());
                concerned |= parts.any(|(kind, value)| kind == 1 && text(value) == TABLE);
            }
        });
        let heard = heard.map_err(|cause| FirewallError::Read(NftablesError::Netlink(cause)))?;
        // When some were lost, one of them may have been about us.
        Ok(heard.map(|complete| concerned || !complete))
    }
}
