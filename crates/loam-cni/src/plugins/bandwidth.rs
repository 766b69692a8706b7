//! The `bandwidth` plugin: limits how fast a container sends and receives.
//!
//! What goes into the container is what the host's end of its veth pair sends: a token bucket there. What comes out of
//! it is redirected, where it comes in on the host's end, through a link of kind `ifb` with a token bucket of its own.
//! That link's name follows from network and container, and its alias names the network, so that DEL and GC find it.
//! The numbers, names and handles are the reference plugin's; either can remove what the other made.

mod limits;

use rustix::io::Errno;
use sha2::{Digest, Sha512};

use crate::interface::retire_link;
use crate::netlink::{Batch, Link, NetlinkError, RouteSocket, TokenBucket};
use crate::plugins::kernel::{failed, find_link, inside, require_link, run};
use crate::plugins::{Plugin, Role};
use crate::protocol::{CniError, CniResult, Context, Interface, Version, code};
use limits::{Limits, ticks};

/// The plugin.
pub const PLUGIN: Plugin =
    Plugin { name: "bandwidth", role: Role::Chained, oldest: Version::V0_3_0, add, del, check, gc, status };

/// The longest alias of a link (if.h, `IFALIASZ`, with its zero).
const MAX_ALIAS: usize = 255;

/// The name of the link that what comes out of a container goes through.
fn ifb_name(network: &str, container: &str) -> String {
    let hash = Sha512::digest(format!("{network}{container}"));
    let digits: String = hash[..6].iter().map(|byte| format!("{byte:02x}")).collect();
    format!("bwp{digits}")
}

/// What such a link says of itself.
fn alias(network: &str) -> String {
    let mut alias = format!("loam bandwidth {network}");
    alias.truncate(MAX_ALIAS);
    alias
}

fn open() -> Result<RouteSocket, CniError> {
    RouteSocket::open().map_err(failed("opening a socket"))
}

/// The host's end of the container's veth pair.
fn host_end(socket: &mut RouteSocket, context: &Context<'_>, result: &CniResult) -> Result<Link, CniError> {
    let name = &context.interface;
    let link = inside(&context.open_namespace()?, |socket| require_link(socket, name))?;
    let missing = |why: &str| CniError::new(code::INTERNAL, format!("container interface `{name}` {why}"));
    let peer = link.peer.filter(|_| link.kind == "veth").ok_or_else(|| missing("has no veth peer"))?;
    let found = socket.link_by_index(peer).map_err(failed(format!("looking up the peer of `{name}`")))?;
    let found = found.ok_or_else(|| missing("has its veth peer in another namespace than the host's"))?;
    let known = result.interfaces.iter().any(|end| end.sandbox.is_empty() && end.name == found.name);
    if !known {
        return Err(missing("has a veth peer that is not in `prevResult`"));
    }
    Ok(found)
}

/// Limits.
fn add(context: &Context<'_>) -> Result<CniResult, CniError> {
    let limits = Limits::read(context)?;
    let mut result = context.config.require_previous()?.clone();
    if limits.is_empty() {
        return Ok(result);
    }
    let ticks = ticks()?;
    let mut socket = open()?;
    let host_end = host_end(&mut socket, context, &result)?;
    if let Some(limit) = limits.ingress {
        let mut batch = Batch::new();
        batch.limit_rate(host_end.index, limit.bucket(ticks));
        run(&mut socket, batch, vec![format!("limiting what `{}` sends", host_end.name)])?;
    }
    let Some(limit) = limits.egress else { return Ok(result) };
    match limit_egress(&mut socket, context, &host_end, limit.bucket(ticks)) {
        Ok(ifb) => result.interfaces.push(ifb),
        Err(error) => {
            if limits.ingress.is_some() {
                let mut batch = Batch::new();
                batch.remove_limit(host_end.index);
                // The error that is told is the one that led here.
                drop(socket.run(batch));
            }
            return Err(error);
        }
    }
    Ok(result)
}

/// Sends what comes in over the host's end through a link with a limit.
fn limit_egress(
    socket: &mut RouteSocket,
    context: &Context<'_>,
    host_end: &Link,
    bucket: TokenBucket,
) -> Result<Interface, CniError> {
    let name = ifb_name(&context.config.name, &context.container_id);
    let mut batch = Batch::new();
    // Both at once, so that no link is ever without the alias that GC knows it by.
    batch.add_ifb(&name, host_end.mtu).set_alias(&name, &alias(&context.config.name));
    let mut verdicts = socket.run(batch).map_err(failed(format!("making `{name}`")))?.into_iter();
    match verdicts.next() {
        Some(Err(refusal)) if refusal.errno == Errno::EXIST => {
            return Err(CniError::new(code::EXISTS, format!("interface `{name}` already exists")));
        }
        Some(Err(refusal)) => return Err(failed(format!("making `{name}`"))(NetlinkError::Refused(refusal))),
        _ => {}
    }
    let named = verdicts
        .next()
        .unwrap_or(Ok(()))
        .map_err(|refusal| failed(format!("naming `{name}`"))(NetlinkError::Refused(refusal)));
    let limited = named.and_then(|()| require_link(socket, &name)).and_then(|ifb| {
        let mut batch = Batch::new();
        batch.limit_rate(ifb.index, bucket).add_ingress(host_end.index);
        batch.redirect_ingress(host_end.index, ifb.index);
        let steps = vec![
            format!("limiting what `{name}` sends"),
            format!("looking at what comes in over `{}`", host_end.name),
            format!("redirecting what comes in over `{}`", host_end.name),
        ];
        run(socket, batch, steps).map(|()| ifb)
    });
    match limited {
        Ok(ifb) => Ok(Interface { mac: ifb.mac_text(), name, ..Interface::default() }),
        Err(error) => {
            let mut batch = Batch::new();
            batch.delete_link(&name).remove_ingress(host_end.index);
            // The error that is told is the one that led here.
            drop(socket.run(batch));
            Err(error)
        }
    }
}

/// Removes the link; the rest goes with the veth pair.
fn del(context: &Context<'_>) -> Result<(), CniError> {
    let name = ifb_name(&context.config.name, &context.container_id);
    retire_link(&mut open()?, &context.host.removals, &name)
}

/// Verifies that the limits are what they were set to.
fn check(context: &Context<'_>) -> Result<(), CniError> {
    let limits = Limits::read(context)?;
    let previous = context.config.require_previous()?;
    if limits.is_empty() {
        return Ok(());
    }
    let ticks = ticks()?;
    let mut socket = open()?;
    let host_end = host_end(&mut socket, context, previous)?;
    if let Some(limit) = limits.ingress {
        verify(&mut socket, &host_end, limit.bucket(ticks))?;
    }
    if let Some(limit) = limits.egress {
        let name = ifb_name(&context.config.name, &context.container_id);
        let ifb = require_link(&mut socket, &name)?;
        verify(&mut socket, &ifb, limit.bucket(ticks))?;
        let found = socket.disciplines(host_end.index).map_err(failed("listing queueing disciplines"))?;
        if !found.iter().any(|found| found.kind == "ingress") {
            let message = format!("what comes in over `{}` is not redirected", host_end.name);
            return Err(CniError::new(code::INTERNAL, message));
        }
    }
    Ok(())
}

fn verify(socket: &mut RouteSocket, link: &Link, wanted: TokenBucket) -> Result<(), CniError> {
    let wrong = |what: &str| Err(CniError::new(code::INTERNAL, format!("limit of `{}`: {what}", link.name)));
    let found = socket.disciplines(link.index).map_err(failed("listing queueing disciplines"))?;
    let Some(bucket) = found.iter().find_map(|found| found.bucket) else {
        return wrong("failed to find qdisc");
    };
    if bucket.rate != wanted.rate {
        return wrong("rate doesn't match");
    }
    if bucket.limit != wanted.limit {
        return wrong("limit doesn't match");
    }
    if bucket.buffer != wanted.buffer { wrong("buffer doesn't match") } else { Ok(()) }
}

/// Removes the links of the network's attachments that are not valid.
fn gc(context: &Context<'_>) -> Result<(), CniError> {
    let network = &context.config.name;
    let valid = context.config.valid_attachments()?;
    let valid: Vec<String> = valid.owners().map(|known| ifb_name(network, known.container)).collect();
    let mut socket = open()?;
    for link in socket.links().map_err(failed("listing links"))? {
        if link.kind == "ifb" && link.alias == alias(network) && !valid.contains(&link.name) {
            retire_link(&mut socket, &context.host.removals, &link.name)?;
        }
    }
    Ok(())
}

/// Verifies the configuration, and that the kernel tells how its scheduler counts.
fn status(context: &Context<'_>) -> Result<(), CniError> {
    Limits::read(context)?;
    find_link(&mut open()?, "lo")?;
    ticks().map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_is_the_reference_s() {
        // printf netabc | sha512sum | cut -c1-12
        assert_eq!(ifb_name("net", "abc"), "bwp3ce8a0924fde");
        assert!(alias(&"x".repeat(300)).len() <= MAX_ALIAS);
    }
}
