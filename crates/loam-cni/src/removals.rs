//! Links out of service that wait for their removal.
//!
//! A process is made for a removal, which takes longer than all else that DEL does. Whoever calls several plugins one after
//! the other holds the removals of all of them, and one process asks for them together.

use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::netlink::{Batch, NetlinkError, RouteSocket};

/// The links that this process is to have removed, all of one network namespace.
#[derive(Clone, Debug, Default)]
pub struct Removals {
    waiting: Arc<Mutex<Waiting>>,
}

#[derive(Debug, Default)]
struct Waiting {
    /// How many hold the removals.
    holders: usize,
    /// The links' indices: their names may be somebody else's by now.
    links: Vec<u32>,
}

/// As long as this lives links only wait. At its end those that wait are removed.
#[derive(Debug)]
pub struct HeldRemovals<'a> {
    removals: &'a Removals,
}

impl Removals {
    /// Holds removals until the end of what is returned.
    pub fn hold(&self) -> HeldRemovals<'_> {
        self.waiting().holders += 1;
        HeldRemovals { removals: self }
    }

    /// Has a link removed by a process that nobody waits for, now or when nobody holds removals any more. When that can't
    /// be, the kernel's answer is waited for.
    pub(crate) fn add(&self, socket: &mut RouteSocket, link: u32) -> Result<(), NetlinkError> {
        {
            let mut waiting = self.waiting();
            if waiting.holders > 0 {
                waiting.links.push(link);
                return Ok(());
            }
        }
        remove_all(socket, &[link])
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for HeldRemovals<'_> {
    fn drop(&mut self) {
        let links = {
            let mut waiting = self.removals.waiting();
            waiting.holders -= 1;
            mem::take(&mut waiting.links)
        };
        if !links.is_empty() {
            // A link that stays is found by its second name, by the next DEL and by GC.
            RouteSocket::open().and_then(|mut socket| remove_all(&mut socket, &links)).ok();
        }
    }
}

fn remove_all(socket: &mut RouteSocket, links: &[u32]) -> Result<(), NetlinkError> {
    let batch = || {
        let mut batch = Batch::new();
        links.iter().for_each(|link| {
            batch.delete_link_by_index(*link);
        });
        batch
    };
    if socket.run_detached(batch()).is_ok() {
        return Ok(());
    }
    for verdict in socket.run(batch())? {
        match verdict {
            Err(refusal) if refusal.errno != rustix::io::Errno::NODEV => {
                return Err(NetlinkError::Refused(refusal));
            }
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use loam_testkit::lab::{eventually, inside, succeed};

    use super::*;

    #[test]
    fn held_removals_happen_together_at_the_end() {
        inside("removals::tests::held_removals_happen_together_at_the_end", || {
            let names = ["one", "two", "three"];
            let mut socket = RouteSocket::open().expect("opens");
            let mut find = |name: &str| socket.link(name).expect("listed").map(|link| link.index);
            for name in names {
                succeed(&["ip", "link", "add", name, "type", "bridge"]);
            }
            let [one, two, three] = names.map(|name| find(name).expect("just made"));
            let removals = Removals::default();
            let mut other = RouteSocket::open().expect("opens");
            let held = removals.hold();
            removals.add(&mut other, one).expect("noted");
            removals.add(&mut other, two).expect("noted");
            assert!(names.iter().all(|name| find(name).is_some()), "nothing is removed yet");
            drop(held);
            eventually("two links are removed", || find("one").is_none() && find("two").is_none());
            assert!(find("three").is_some());
            removals.add(&mut other, three).expect("removed");
            eventually("the third one is removed", || find("three").is_none());
        });
    }
}
