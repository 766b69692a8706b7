//! veth pairs: one end on the host, the other made inside the namespace.

use rustix::io::Errno;

use super::{Derived, failed, is_retired, named, retire_pair};
use crate::netlink::{Batch, NetlinkError, RouteSocket, Veth};
use crate::protocol::{CniError, Context, ValidAttachments, code};
use crate::removals::Removals;
use crate::sysctl;

/// How often a name that is taken by a dying link is tried again.
const ATTEMPTS: u32 = 3;

/// Makes a pair whose end on the host is up, and in the same system call what belongs to it: `settle` is exactly one request,
/// with what it does; what `more` asks for may fail. A pair that can't be settled or brought up is removed again.
pub(crate) fn make_pair(
    socket: &mut RouteSocket,
    veth: &Veth<'_>,
    settle: Option<(&str, &dyn Fn(&mut Batch))>,
    more: &dyn Fn(&mut Batch),
) -> Result<(), CniError> {
    let what = format!("making interface `{}`", veth.name);
    for _ in 0..ATTEMPTS {
        let mut batch = Batch::new();
        batch.add_veth(veth);
        // What the requests after the first do, for the sentence if one fails; `None` may fail.
        let mut steps = Vec::new();
        if veth.bridge.is_some() {
            // What passes a bridge's port is none of its own. A kernel without IPv6 makes none anyway.
            batch.make_no_address(veth.host_name);
            steps.push(None);
        }
        if let Some((step, fill)) = settle {
            fill(&mut batch);
            steps.push(Some(step));
        }
        // Last: each change of a link that is up is a notification to the kernel's parts and to all listeners, in which IPv6
        // walks all of the host's routes.
        batch.link_up_by_name(veth.host_name);
        steps.push(Some("setting the host's end up"));
        more(&mut batch);
        let mut verdicts = socket.run(batch).map_err(failed(what.clone()))?.into_iter();
        match verdicts.next() {
            Some(Err(refusal)) if refusal.errno == Errno::EXIST => {
                if is_taken(socket, veth)? {
                    let message = format!("container interface `{}` already exists", veth.name);
                    return Err(CniError::new(code::EXISTS, message));
                }
                // The end of an earlier life of this container, whose namespace the kernel is about to destroy.
                remove_pair(socket, veth.host_name)?;
                continue;
            }
            Some(Err(refusal)) => return Err(failed(what)(NetlinkError::Refused(refusal))),
            _ => {}
        }
        for (step, verdict) in steps.into_iter().zip(verdicts) {
            if let (Some(step), Err(refusal)) = (step, verdict) {
                remove_pair(socket, veth.host_name)?;
                return Err(failed(step)(NetlinkError::Refused(refusal)));
            }
        }
        if veth.bridge.is_none() && sysctl::has_ipv6() {
            // It must not be taught routes.
            drop(sysctl::write(&format!("ipv6/conf/{}/accept_ra", veth.host_name), "0"));
        }
        return Ok(());
    }
    Err(CniError::new(code::TRY_AGAIN, format!("{what} failed: `{}` keeps coming back", veth.host_name)))
}

/// Whether the name in the namespace is somebody's. The end of a pair out of service, of which only the other end was
/// within reach, is nobody's and is removed.
fn is_taken(socket: &mut RouteSocket, veth: &Veth<'_>) -> Result<bool, CniError> {
    let Some(holder) = named(veth.namespace, veth.name)? else { return Ok(false) };
    let Some(peer) = holder.peer.filter(|_| holder.kind == "veth") else { return Ok(true) };
    let other_end =
        socket.link_by_index(peer).map_err(failed(format!("looking up the peer of `{}`", veth.name)))?;
    match other_end.filter(|end| is_retired(end) && end.peer == Some(holder.index)) {
        Some(retired) => remove_pair(socket, &retired.name).map(|_| false),
        // Both ends go at once: one whose removal came between the two looks is not there any more.
        None => Ok(named(veth.namespace, veth.name)?.is_some_and(|still| still.index == holder.index)),
    }
}

/// The alias of the host's end of a network's pair: the plugin's name and the network's, cut to what fits (if.h,
/// `IFALIASZ`).
pub(crate) fn pair_alias(plugin: &str, context: &Context<'_>) -> String {
    let mut alias = format!("loam-cni {plugin} {}", context.config.name);
    alias.truncate(255);
    alias
}

/// Removes the pairs with an alias that belong to no valid attachment; and those out of service since a DEL that was
/// killed.
pub(crate) fn remove_stray_pairs(
    removals: &Removals,
    alias: &str,
    valid: &ValidAttachments,
) -> Result<(), CniError> {
    let valid: Vec<String> =
        valid.owners().map(|known| Derived::new(known.container, known.interface).host_name).collect();
    let mut socket = RouteSocket::open().map_err(failed("opening a socket"))?;
    for link in socket.links().map_err(failed("listing links"))? {
        let ours = link.kind == "veth" && link.alias == alias;
        if ours && is_retired(&link) {
            remove_pair(&mut socket, &link.name)?;
        } else if ours && Derived::is_host_name(&link.name) && !valid.contains(&link.name) {
            retire_pair(&mut socket, removals, &link.name, None)?;
        }
    }
    Ok(())
}

/// Removes a pair by its end on the host; says whether it was there.
pub(crate) fn remove_pair(socket: &mut RouteSocket, host_name: &str) -> Result<bool, CniError> {
    let mut batch = Batch::new();
    batch.delete_link(host_name);
    done(socket, batch, format!("removing `{host_name}`"))
}

/// Runs a batch of one request about a link; says whether the link was there.
pub(crate) fn done(socket: &mut RouteSocket, batch: Batch, what: String) -> Result<bool, CniError> {
    match socket.run(batch).map_err(failed(what.clone()))?.into_iter().next() {
        None | Some(Ok(())) => Ok(true),
        Some(Err(refusal)) if refusal.errno == Errno::NODEV => Ok(false),
        Some(Err(refusal)) => Err(failed(what)(NetlinkError::Refused(refusal))),
    }
}
