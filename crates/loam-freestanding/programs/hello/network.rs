//! Interfaces with their addresses, and routes, asked from the kernel.

use core::fmt::Write;

use crate::ground::socket::{self, AF_NETLINK, SOCK_RAW};
use crate::ground::text::{Shown, Text};
use crate::ground::{Errno, Result, call};
use crate::netlink::{self, Address, NLMSG_DONE, NLMSG_ERROR, Route};
use crate::table::Table;

/// How many interfaces and addresses are shown at most.
const MOST: usize = 64;

#[derive(Clone, Copy)]
struct Link {
    index: u32,
    name: [u8; 16],
    length: usize,
}

/// What is known of the interfaces.
struct Links {
    links: [Option<Link>; MOST],
    addresses: [Option<Address>; MOST],
}

impl Links {
    fn name(&self, index: u32) -> &[u8] {
        let link = self.links.iter().flatten().find(|link| link.index == index);
        link.map_or(b"?", |link| &link.name[..link.length])
    }
}

/// Writes these rows.
pub fn write(table: &mut Table<'_, '_>) {
    if let Err(error) = try_write(table) {
        table.row("network", format_args!("unknown: {error}"));
    }
}

fn try_write(table: &mut Table<'_, '_>) -> Result<()> {
    let mut known = Links { links: [None; MOST], addresses: [None; MOST] };
    dump(netlink::RTM_GETLINK, netlink::RTM_NEWLINK, |body| {
        let Some((index, name)) = netlink::link(body) else { return };
        let mut link = Link { index, name: [0; 16], length: name.len().min(16) };
        link.name[..link.length].copy_from_slice(&name[..link.length]);
        keep(&mut known.links, link);
    })?;
    dump(netlink::RTM_GETADDR, netlink::RTM_NEWADDR, |body| {
        if let Some(address) = netlink::address(body) {
            keep(&mut known.addresses, address);
        }
    })?;
    let mut shown = "interfaces";
    for link in known.links.iter().flatten() {
        table.row_with(shown, |text| {
            let _ = write!(text, "{}:", Shown(known.name(link.index)));
            for address in known.addresses.iter().flatten().filter(|address| address.link == link.index) {
                let _ = write!(text, " {}/{}", address.address, address.prefix);
            }
        });
        shown = "";
    }
    let mut shown = "routes";
    dump(netlink::RTM_GETROUTE, netlink::RTM_NEWROUTE, |body| {
        if let Some(route) = netlink::route(body) {
            table.row_with(shown, |text| write_route(text, &route, &known));
            shown = "";
        }
    })?;
    if shown == "routes" {
        table.row(shown, format_args!("none"));
    }
    Ok(())
}

fn write_route(text: &mut Text<'_>, route: &Route, known: &Links) {
    let _ = match route.destination {
        Some(destination) => write!(text, "{destination}/{}", route.prefix),
        None => write!(text, "default"),
    };
    if let Some(gateway) = route.gateway {
        let _ = write!(text, " by {gateway}");
    }
    if let Some(link) = route.link {
        let _ = write!(text, " through {}", Shown(known.name(link)));
    }
}

fn keep<T>(list: &mut [Option<T>], value: T) {
    if let Some(place) = list.iter_mut().find(|place| place.is_none()) {
        *place = Some(value);
    }
}

/// Asks for all things of a kind and hands over the body of each answer.
fn dump(request: u16, answer: u16, mut each: impl FnMut(&[u8])) -> Result<()> {
    let socket = socket::socket(AF_NETLINK, SOCK_RAW, false)?;
    let result = receive_all(socket, request, answer, &mut each);
    call::close(socket);
    result
}

fn receive_all(socket: i32, request: u16, answer: u16, each: &mut dyn FnMut(&[u8])) -> Result<()> {
    socket::send(socket, &netlink::dump_request(request))?;
    let mut buffer = [0; 32768];
    loop {
        let count = match socket::receive(socket, &mut buffer) {
            Err(Errno::INTR) => continue,
            result => result?,
        };
        for (kind, body) in netlink::messages(&buffer[..count]) {
            match kind {
                NLMSG_DONE | NLMSG_ERROR => return Ok(()),
                kind if kind == answer => each(body),
                _ => {}
            }
        }
        if count == 0 {
            return Ok(());
        }
    }
}
