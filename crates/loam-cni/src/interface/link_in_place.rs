//! Links that are made inside a namespace over a link of another: by one message, under the final name.

use std::net::IpAddr;

use rustix::io::Errno;

use super::{failed, has_link, not_entered};
use crate::namespace::Namespace;
use crate::netlink::{Batch, ChildLink, Link, LinkKind, NetlinkError, Refusal, RouteSocket};
use crate::protocol::{CniError, Context, code};

/// The link that another is made over.
#[derive(Debug)]
pub(crate) struct Parent {
    /// As the kernel shows it.
    pub(crate) link: Link,
    /// Whether it is in the container, rather than on the host.
    pub(crate) inside: bool,
}

impl Parent {
    /// Looks the parent up by name, or takes the one of the default route when the name is empty.
    pub(crate) fn find(
        context: &Context<'_>,
        namespace: &Namespace,
        name: &str,
        inside: bool,
    ) -> Result<Self, CniError> {
        let link = if inside {
            namespace.run(|| find(name)).map_err(|cause| not_entered(&cause))??
        } else {
            find(name)?
        };
        if inside && link.name == context.interface {
            let message = format!("master `{}` can't be the interface itself", link.name);
            return Err(CniError::invalid_config(message));
        }
        Ok(Self { link, inside })
    }

    /// Checks an MTU, which can't be larger than the parent's; `None` leaves it to the kernel.
    pub(crate) fn mtu(&self, mtu: i64) -> Result<Option<u32>, CniError> {
        match u32::try_from(mtu) {
            Ok(0) => Ok(None),
            Ok(mtu) if mtu <= self.link.mtu => Ok(Some(mtu)),
            _ => Err(CniError::invalid_config(format!(
                "`mtu` {mtu} is invalid: it must be 0 to {}, that of master `{}`",
                self.link.mtu, self.link.name
            ))),
        }
    }
}

fn find(name: &str) -> Result<Link, CniError> {
    let mut socket = RouteSocket::open().map_err(failed("opening a socket"))?;
    let name = if name.is_empty() { default_route_link(&mut socket)? } else { name.to_owned() };
    let link = socket.link(&name).map_err(failed(format!("looking up master `{name}`")))?;
    link.ok_or_else(|| CniError::invalid_config(format!("master `{name}` does not exist")))
}

/// The name of the link of the default route, that of IPv4 first; the one with the lowest metric.
fn default_route_link(socket: &mut RouteSocket) -> Result<String, CniError> {
    let routes = socket.routes().map_err(failed("listing routes"))?;
    let is_ipv4 = |address: &IpAddr| address.is_ipv4();
    let best = routes
        .iter()
        .filter(|route| route.destination.prefix_len() == 0 && route.unicast && route.link.is_some())
        .filter(|route| route.table == MAIN_TABLE)
        .min_by_key(|route| (!is_ipv4(&route.destination.addr()), route.metric));
    let found = match best.and_then(|route| route.link) {
        Some(index) => socket.link_by_index(index).map_err(failed("looking up the default route's link"))?,
        None => None,
    };
    let message = "`master` is missing and there is no default route whose interface could be taken";
    found.map(|link| link.name).ok_or_else(|| CniError::invalid_config(message))
}

/// `RT_TABLE_MAIN`.
const MAIN_TABLE: u32 = 254;

/// A link to be made.
#[derive(Debug)]
pub(crate) struct LinkRequest<'a> {
    /// What it is.
    pub(crate) kind: LinkKind,
    /// The link that it is made over, if it is made over one.
    pub(crate) parent: Option<&'a Parent>,
    /// Its MTU.
    pub(crate) mtu: Option<u32>,
    /// Its hardware address.
    pub(crate) mac: Option<[u8; 6]>,
}

/// Makes a link in the namespace under the context's name. It is down.
pub(crate) fn make_link(
    context: &Context<'_>,
    namespace: &Namespace,
    request: &LinkRequest<'_>,
) -> Result<(), CniError> {
    let name = context.interface.as_str();
    // A link that hangs on nothing, or on a link in there, is made from inside.
    let Some(parent) = request.parent.filter(|parent| !parent.inside) else {
        let made = namespace.run(|| make(request, name, None)).map_err(|cause| not_entered(&cause))?;
        return told(made, context, request);
    };
    match make(request, name, Some(namespace)) {
        Err(error) if error.errno() == Some(Errno::EXIST) => {
            if has_link(namespace, name)? {
                return told(Err(error), context, request);
            }
            // Kernels before 6.14 look for the name on the host too, where `eth0` is often taken.
            let temporary = temporary_name(context, parent);
            told(make(request, &temporary, Some(namespace)), context, request)?;
            let renamed = namespace.run(|| rename(&temporary, name)).map_err(|cause| not_entered(&cause))?;
            renamed.map_err(failed(format!("naming interface `{name}`")))
        }
        made => told(made, context, request),
    }
}

/// A name for the moment until the link has its own. What a crash leaves under it, the namespace takes along.
fn temporary_name(context: &Context<'_>, parent: &Parent) -> String {
    use sha2::{Digest, Sha256};
    let hash = Sha256::new()
        .chain_update(context.container_id.as_bytes())
        .chain_update([0])
        .chain_update(context.interface.as_bytes())
        .chain_update(parent.link.index.to_ne_bytes())
        .finalize();
    let digits: String = hash[..5].iter().map(|byte| format!("{byte:02x}")).collect();
    format!("loam{digits}")
}

fn make(request: &LinkRequest<'_>, name: &str, namespace: Option<&Namespace>) -> Result<(), NetlinkError> {
    let mut batch = Batch::new();
    batch.add_child(&ChildLink {
        name,
        kind: request.kind,
        parent: request.parent.map(|parent| parent.link.index),
        namespace,
        mtu: request.mtu,
        mac: request.mac,
    });
    first(RouteSocket::open()?.run(batch)?)
}

fn rename(temporary: &str, name: &str) -> Result<(), NetlinkError> {
    let mut socket = RouteSocket::open()?;
    let Some(link) = socket.link(temporary)? else { return Err(NetlinkError::Malformed) };
    let mut batch = Batch::new();
    batch.rename_link(link.index, name);
    let renamed = first(socket.run(batch)?);
    if renamed.is_err() {
        let mut batch = Batch::new();
        batch.delete_link_by_index(link.index);
        socket.run(batch)?;
    }
    renamed
}

fn first(verdicts: Vec<Result<(), Refusal>>) -> Result<(), NetlinkError> {
    verdicts.into_iter().next().unwrap_or(Ok(())).map_err(NetlinkError::Refused)
}

/// The sentence for what the kernel refused.
fn told(
    made: Result<(), NetlinkError>,
    context: &Context<'_>,
    request: &LinkRequest<'_>,
) -> Result<(), CniError> {
    let Err(error) = made else { return Ok(()) };
    let (name, kind) = (context.interface.as_str(), request.kind.name());
    let over = request.parent.map(|parent| format!(" over `{}`", parent.link.name)).unwrap_or_default();
    Err(match error.errno() {
        Some(Errno::EXIST) => {
            CniError::new(code::EXISTS, format!("container interface `{name}` already exists"))
        }
        Some(Errno::OPNOTSUPP) => {
            let message = format!("this kernel lacks links of type `{kind}`");
            CniError::new(code::UNSUPPORTED_KERNEL, message).because(&error)
        }
        Some(Errno::BUSY) if request.parent.is_some() => CniError::new(
            code::INTERNAL,
            format!("making {kind} `{name}`{over} failed: the master is in use in a way that excludes it"),
        )
        .because(&error),
        _ => failed(format!("making {kind} `{name}`{over}"))(error),
    })
}
