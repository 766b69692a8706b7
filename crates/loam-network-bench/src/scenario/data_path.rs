//! Connections: from the host, between two attachments, and from outside, with and without a published port.
//!
//! *Outside* is a namespace behind a bridge of its own that stands for another machine: its packets are routed by the
//! host, and meet whatever rules the chain has made for published ports.

use std::io;
use std::net::IpAddr;
use std::time::Duration;

use loam_cni::protocol::Version;
use serde::{Deserialize, Serialize};

use crate::chain::{CONTAINER_PORT, Chain, Way};
use crate::container::Container;
use crate::list::MeasuredList;
use crate::traffic::{Server, at, connections, round_trips, stream};
use crate::worker::{Attached, Ground};

/// How many round trips make a figure.
const ROUND_TRIPS: usize = 2000;
/// How many connections make a figure.
const CONNECTIONS: usize = 200;
/// The network that stands for other machines (RFC 5737, TEST-NET-1).
const OUTSIDE: &str = r#"{"name":"bench-outside","cniVersion":"1.1.0","plugins":[{"type":"bridge",
    "bridge":"outside0","isGateway":true,"ipam":{"type":"host-local",
    "routes":[{"dst":"0.0.0.0/0"}],"ranges":[[{"subnet":"192.0.2.0/24"}]]}}]}"#;
/// The host, as other machines see it.
const HOST: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));

/// Figures of a path: gigabits in a second, and microseconds of a round trip and of a connection.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Figures {
    pub(crate) throughput: f64,
    pub(crate) round_trip: f64,
    pub(crate) connection: f64,
}

/// A path's name in the report, and its figures or why there are none.
pub(crate) type PathFigures = (String, Result<Figures, String>);

/// Measures every path once.
pub(crate) fn measure(ground: &mut Ground) -> Result<Vec<PathFigures>, String> {
    let (one, two) = (ground.attach()?, ground.attach()?);
    let figures = between(ground, &one, &two);
    let detached = [ground.detach(one), ground.detach(two)];
    detached.into_iter().collect::<Result<Vec<()>, String>>()?;
    figures
}

fn between(ground: &Ground, one: &Attached, two: &Attached) -> Result<Vec<PathFigures>, String> {
    let addresses = || two.result.ips.iter().map(|ip| ip.address.addr());
    let Some(target) = addresses().find(IpAddr::is_ipv4).or_else(|| addresses().next()) else {
        return Err("the attachment has no address".into());
    };
    let length = ground.plan.stream;
    let server = two.container.run(|| Server::start(CONTAINER_PORT))?;
    let _server = server.map_err(|error| format!("starting a server: {error}"))?;
    let mut paths = vec![
        ("host to container".to_owned(), talk(target, CONTAINER_PORT, length)),
        ("container to container".to_owned(), inside(&one.container, target, CONTAINER_PORT, length)),
    ];
    let outside = Outside::make(ground.plan.time_limit)?;
    paths.push(("outside to container".into(), inside(&outside.container, target, CONTAINER_PORT, length)));
    if ground.chain.publishes() {
        let port = two.container.endpoint.host_port();
        paths.push(("outside to published port".into(), inside(&outside.container, HOST, port, length)));
    }
    outside.end()?;
    Ok(paths)
}

fn inside(from: &Container, address: IpAddr, port: u16, length: Duration) -> Result<Figures, String> {
    from.run(|| talk(address, port, length))?
}

fn talk(address: IpAddr, port: u16, length: Duration) -> Result<Figures, String> {
    let to = at(address, port);
    let failed = |what: &str| {
        let what = what.to_owned();
        move |error: io::Error| format!("{what} with `{to}`: {error}")
    };
    let connection = connections(to, CONNECTIONS).map_err(failed("connecting"))?;
    let round_trip = round_trips(to, ROUND_TRIPS).map_err(failed("a round trip"))?;
    let throughput = stream(to, length).map_err(failed("streaming"))?;
    Ok(Figures {
        throughput,
        round_trip: round_trip.median().unwrap_or_default(),
        connection: connection.median().unwrap_or_default(),
    })
}

/// Another machine.
struct Outside {
    chain: Chain,
    container: Container,
}

impl Outside {
    fn make(time_limit: Duration) -> Result<Self, String> {
        let list = MeasuredList::parse(OUTSIDE).map_err(|error| error.to_string())?;
        let chain = Chain::new(&list, Way::InProcess, Version::NEWEST, time_limit)?;
        let container =
            Container::make("outside", 0).map_err(|error| format!("making another machine: {error}"))?;
        chain.add(&container.endpoint).map_err(|error| format!("making another machine: {error}"))?;
        Ok(Self { chain, container })
    }

    fn end(self) -> Result<(), String> {
        self.chain.del(&self.container.endpoint, None).map_err(|error| format!("removing it: {error}"))
    }
}
