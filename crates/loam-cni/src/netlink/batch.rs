//! Requests that go to the kernel together.

use netlink_packet_core::{NLM_F_APPEND, NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::address::AddressMessage;
use netlink_packet_route::link::LinkMessage;
use netlink_packet_route::neighbour::NeighbourMessage;
use netlink_packet_route::route::RouteMessage;

/// A row of requests; see [`super::RouteSocket::run`]. The kernel goes on after one that it refused.
#[derive(Debug, Default)]
pub struct Batch {
    pub(super) requests: Vec<(RouteNetlinkMessage, u16)>,
}

impl Batch {
    /// An empty batch.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a request with flags of its own.
    pub(super) fn push(&mut self, message: RouteNetlinkMessage, flags: u16) {
        self.requests.push((message, flags));
    }

    pub(super) fn create_link(&mut self, message: LinkMessage) {
        self.requests.push((RouteNetlinkMessage::NewLink(message), NLM_F_CREATE | NLM_F_EXCL));
    }

    pub(super) fn change_link(&mut self, message: LinkMessage) {
        self.requests.push((RouteNetlinkMessage::NewLink(message), 0));
    }

    pub(super) fn set_link(&mut self, message: LinkMessage) {
        self.requests.push((RouteNetlinkMessage::SetLink(message), 0));
    }

    pub(super) fn remove_link(&mut self, message: LinkMessage) {
        self.requests.push((RouteNetlinkMessage::DelLink(message), 0));
    }

    pub(super) fn create_address(&mut self, message: AddressMessage) {
        self.requests.push((RouteNetlinkMessage::NewAddress(message), NLM_F_CREATE | NLM_F_EXCL));
    }

    pub(super) fn remove_address(&mut self, message: AddressMessage) {
        self.requests.push((RouteNetlinkMessage::DelAddress(message), 0));
    }

    pub(super) fn append_route(&mut self, message: RouteMessage) {
        self.requests.push((RouteNetlinkMessage::NewRoute(message), NLM_F_CREATE | NLM_F_APPEND));
    }

    pub(super) fn drop_neighbour(&mut self, message: NeighbourMessage) {
        self.requests.push((RouteNetlinkMessage::DelNeighbour(message), 0));
    }
}
