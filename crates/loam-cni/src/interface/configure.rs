//! A link's addresses, state and routes, set inside the namespace.

use std::net::IpAddr;
use std::thread::sleep;
use std::time::{Duration, Instant};

use ipnet::IpNet;

use super::{failed, not_entered};
use crate::namespace::Namespace;
use crate::netlink::{AddressOptions, Batch, Link, NetlinkError, RouteSocket};
use crate::protocol::{CniError, CniResult, Context, Route, code};
use crate::sysctl;

/// The index of loopback in every network namespace (Linux, `LOOPBACK_IFINDEX`).
const LOOPBACK: u32 = 1;
/// How long the kernel has to find out whether an address is somebody else's.
const PROBE_LIMIT: Duration = Duration::from_secs(5);
const PROBE_PAUSE: Duration = Duration::from_millis(20);

/// What is beyond a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Surroundings {
    /// A network of the host's own, on which nobody advertises routes.
    HostOnly,
    /// A network with other machines and routers, or one that is unknown.
    Open,
}

/// How a link is set up.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Setup {
    /// What is beyond it.
    pub(crate) surroundings: Surroundings,
    /// Whether the kernel probes for duplicates of IPv6 addresses.
    pub(crate) probe: bool,
    /// Whether coming up tells the neighbours of the addresses of IPv4. On a bridge that is one packet for each port, sent
    /// before the call returns.
    pub(crate) announce: bool,
    /// Whether the link stays down.
    pub(crate) keep_down: bool,
    /// Whether the subnets are reached through their gateways, as on a link to one neighbour only.
    pub(crate) through_gateway: bool,
}

impl Setup {
    /// For a link to a network of the host's own.
    pub(crate) const HOST_ONLY: Setup = Setup {
        surroundings: Surroundings::HostOnly,
        probe: false,
        announce: true,
        keep_down: false,
        through_gateway: false,
    };
    /// For a link to a network with others.
    pub(crate) const OPEN: Setup = Setup { surroundings: Surroundings::Open, probe: true, ..Self::HOST_ONLY };
}

/// Sets addresses, state and routes of the link that has the context's name.
pub(crate) fn configure(
    context: &Context<'_>,
    setup: &Setup,
    namespace: &Namespace,
    result: &CniResult,
) -> Result<Link, CniError> {
    namespace.run(|| inside(context, setup, result)).map_err(|cause| not_entered(&cause))?
}

fn inside(context: &Context<'_>, setup: &Setup, result: &CniResult) -> Result<Link, CniError> {
    let name = context.interface.as_str();
    let mut socket = RouteSocket::open().map_err(failed("opening a socket in the namespace"))?;
    let link = socket.link(name).map_err(failed(format!("looking up `{name}`")))?;
    let link = link.ok_or_else(|| CniError::new(code::INTERNAL, format!("`{name}` vanished")))?;
    set_kernel_settings(name, setup, result);
    let mut steps = Steps::default();
    fill(&mut steps, &link, setup, result)?;
    if context.host.with_loopback {
        steps.batch.link_up(LOOPBACK);
        steps.name("setting `lo` up");
    }
    let verdicts = socket.run(steps.batch).map_err(failed(format!("configuring `{name}`")))?;
    for (step, verdict) in steps.names.into_iter().zip(verdicts) {
        if let (Some(step), Err(refusal)) = (step, verdict) {
            return Err(failed(step)(NetlinkError::Refused(refusal)));
        }
    }
    let through = |ip: &crate::protocol::IpConfig| ip.gateway.is_some_and(|gateway| gateway.is_ipv6());
    if setup.probe && setup.surroundings == Surroundings::Open && result.ips.iter().any(through) {
        await_probes(&mut socket, &link)?;
    }
    Ok(link)
}

/// Requests, and what each does, for the sentence if it fails. One without a name may fail.
#[derive(Default)]
struct Steps {
    batch: Batch,
    names: Vec<Option<String>>,
}

impl Steps {
    /// Says what the last request does.
    fn name(&mut self, what: impl Into<String>) {
        self.names.push(Some(what.into()));
    }

    /// From now on changes of the link are announced.
    fn announce_changes(&mut self, link: &Link) {
        self.batch.announce_changes(link.index);
        self.names.push(None);
    }

    /// Announces the addresses of families whose changes are announced.
    fn announce(&mut self, link: &Link) {
        self.batch.set_same_address(link);
        self.names.push(None);
    }
}

fn fill(steps: &mut Steps, link: &Link, setup: &Setup, result: &CniResult) -> Result<(), CniError> {
    let of_family = |four: bool| result.ips.iter().filter(move |ip| ip.address.addr().is_ipv4() == four);
    let flags = AddressOptions { probe: setup.probe, without_route: setup.through_gateway };
    if setup.announce {
        steps.announce_changes(link);
    }
    // IPv4 before the link is up, so that coming up announces it; IPv6 after, when its routes can be made.
    for ip in of_family(true) {
        steps.batch.add_address(link.index, ip.address, flags);
        steps.name(format!("setting address `{}`", ip.address));
    }
    if !setup.keep_down {
        steps.batch.link_up(link.index);
        steps.name(format!("setting `{}` up", link.name));
    }
    for ip in of_family(false) {
        steps.batch.add_address(link.index, ip.address, flags);
        steps.name(format!("setting address `{}`", ip.address));
    }
    // Where the kernel probes for an address of IPv6, it announces it afterwards by itself.
    if !setup.probe && !setup.keep_down && of_family(false).next().is_some() {
        steps.announce(link);
    }
    if !setup.announce {
        steps.announce_changes(link);
    }
    if setup.through_gateway {
        for ip in &result.ips {
            let Some(gateway) = ip.gateway else { continue };
            let source = Some(ip.address.addr());
            steps.batch.add_route_from(link.index, &Route::new(IpNet::from(gateway), None), None, source);
            steps.name(format!("adding a route to gateway `{gateway}`"));
            // A subnet of one address has nobody else in it.
            if ip.address.prefix_len() < ip.address.max_prefix_len() {
                let subnet = Route::new(ip.address.trunc(), Some(gateway));
                steps.batch.add_route_from(link.index, &subnet, None, source);
                steps.name(format!("adding route `{}`", subnet.dst));
            }
        }
    }
    for route in &result.routes {
        let four = route.dst.addr().is_ipv4();
        if route.gw.is_some_and(|gateway| gateway.is_ipv4() != four) {
            let message = format!("the gateway of route `{}` is of another family", route.dst);
            return Err(CniError::invalid_config(message));
        }
        steps.batch.add_route(link.index, route, of_family(four).find_map(|ip| ip.gateway));
        steps.name(format!("adding route `{}`", route.dst));
    }
    Ok(())
}

/// Settings for IPv6. They fail quietly, as with the reference plugins: a kernel without them works as well.
fn set_kernel_settings(name: &str, setup: &Setup, result: &CniResult) {
    let has = |four: bool| result.ips.iter().any(|ip| ip.address.addr().is_ipv4() == four);
    let Ok(settings) = sysctl::Directory::open(&format!("ipv6/conf/{name}")) else { return };
    let set = |key: &str, value: &str| drop(settings.write(key, value));
    if !has(false) {
        // A network of IPv4 alone: by the addresses that the kernel makes itself containers would get round its rules.
        if has(true) && setup.surroundings == Surroundings::HostOnly {
            set("disable_ipv6", "1");
        }
        return;
    }
    // Namespaces may start with IPv6 switched off, by the host's defaults.
    if settings.read("disable_ipv6").is_ok_and(|value| value == "1") {
        set("disable_ipv6", "0");
    }
    set("ndisc_notify", "1");
    match setup.surroundings {
        Surroundings::HostOnly => {
            set("accept_ra", "0");
            set("accept_redirects", "0");
            set("accept_dad", if setup.probe { "1" } else { "0" });
        }
        Surroundings::Open => set("keep_addr_on_down", "1"),
    }
}

/// Waits until the kernel knows that no address is somebody else's. Without a carrier it never knows, which is no error.
fn await_probes(socket: &mut RouteSocket, link: &Link) -> Result<(), CniError> {
    let deadline = Instant::now() + PROBE_LIMIT;
    loop {
        let found = socket.addresses(Some(link.index)).map_err(failed("listing addresses"))?;
        let global = || found.iter().filter(|address| address.global);
        if let Some(taken) = global().find(|address| address.duplicate) {
            let address: IpAddr = taken.net.addr();
            let message = format!("address `{address}` belongs to another machine on the network");
            return Err(CniError::new(code::EXISTS, message));
        }
        if !global().any(|address| address.tentative) || Instant::now() >= deadline {
            return Ok(());
        }
        sleep(PROBE_PAUSE);
    }
}
