//! What is to be done for source based routing, worked out before anything is changed.

use std::collections::BTreeSet;
use std::net::IpAddr;

use ipnet::IpNet;

use super::Config;
use crate::netlink::{Batch, RouteSocket, StoredRoute};
use crate::plugins::kernel::{failed, run};
use crate::protocol::{CniError, IpConfig, Route};

/// The first table that is taken; those below are other people's.
const FIRST_TABLE: u32 = 100;
/// The main routing table (rtnetlink.h, `RT_TABLE_MAIN`).
const MAIN: u32 = 254;
/// The scope of a route to what is on the link (rtnetlink.h, `RT_SCOPE_LINK`).
const LINK_SCOPE: u8 = 253;

/// The changes. Everything is added before anything is removed, so that no route is missing at any moment.
pub(super) struct Plan {
    additions: Batch,
    steps: Vec<String>,
    rules: Vec<(IpAddr, u32)>,
    copies: Vec<StoredRoute>,
    removals: Vec<StoredRoute>,
}

impl Plan {
    /// Rules that lead to one table.
    pub(super) fn rules_only(addresses: &[&IpConfig], table: u32) -> Self {
        let mut plan = Self::empty();
        for ip in addresses {
            plan.rule(ip.address.addr(), table);
        }
        plan
    }

    fn empty() -> Self {
        let (additions, steps) = (Batch::new(), Vec::new());
        Self { additions, steps, rules: Vec::new(), copies: Vec::new(), removals: Vec::new() }
    }

    fn rule(&mut self, source: IpAddr, table: u32) {
        self.additions.add_rule(source, table);
        self.steps.push(format!("adding a routing rule for `{source}`"));
        self.rules.push((source, table));
    }

    /// A table for each address.
    pub(super) fn new(
        socket: &mut RouteSocket,
        config: &Config,
        addresses: &[&IpConfig],
        index: u32,
    ) -> Result<Self, CniError> {
        let mut taken: BTreeSet<u32> = BTreeSet::new();
        taken.extend(socket.rules().map_err(failed("listing routing rules"))?.iter().map(|rule| rule.table));
        taken.extend(socket.routes().map_err(failed("listing routes"))?.iter().map(|route| route.table));
        let routes = socket.stored_routes(index).map_err(failed("listing routes"))?;
        let mut plan = Self::empty();
        for ip in addresses {
            let table = (FIRST_TABLE..).find(|table| !taken.contains(table)).unwrap_or(u32::MAX);
            taken.insert(table);
            plan.table(config, ip, table, index, &routes);
        }
        if config.source_hints {
            for ip in addresses {
                plan.source_hint(ip, index);
            }
        }
        plan.removals =
            routes.into_iter().filter(|route| !(config.source_hints && route.is_on_link())).collect();
        Ok(plan)
    }

    /// Fills the table of one address.
    fn table(&mut self, config: &Config, ip: &IpConfig, table: u32, index: u32, routes: &[StoredRoute]) {
        let source = ip.address.addr();
        self.rule(source, table);
        let of_family = config.gateways.iter().copied().find(|one| one.is_ipv4() == source.is_ipv4());
        if let Some(gateway) = of_family.or(ip.gateway) {
            let everywhere: IpNet = if source.is_ipv4() {
                ipnet::Ipv4Net::default().into()
            } else {
                ipnet::Ipv6Net::default().into()
            };
            let mut route = Route::new(everywhere, Some(gateway));
            route.table = Some(table);
            self.additions.add_route(index, &route, None);
            self.steps.push(format!("adding a default route by way of `{gateway}`"));
        }
        for route in routes {
            let (by, from) = (route.gateway(), route.preferred_source());
            let belongs = |address: Option<IpAddr>| address.is_some_and(|one| ip.address.contains(&one));
            if belongs(by) || belongs(from) || (by.is_none() && from.is_none()) {
                let copy = route.in_table(table);
                self.additions.replace_route(&copy);
                self.steps.push(format!("copying a route of `{source}` into table {table}"));
                self.copies.push(copy);
            }
        }
    }

    /// Lets packets that have no source address yet go to the address's own subnet, with that address.
    fn source_hint(&mut self, ip: &IpConfig, index: u32) {
        self.additions.hint_route(index, ip.address, MAIN, LINK_SCOPE);
        self.steps.push(format!("keeping the route to `{}`", ip.address.trunc()));
    }

    /// Makes the changes; undoes them when one fails.
    pub(super) fn carry_out(self, socket: &mut RouteSocket) -> Result<(), CniError> {
        if let Err(error) = run(socket, self.additions, self.steps) {
            let mut undo = Batch::new();
            for (source, table) in self.rules {
                undo.delete_rule(source, table);
            }
            for copy in &self.copies {
                undo.delete_route(copy);
            }
            // The error that is told is the one that led here; a table that no rule leads to harms nobody.
            drop(socket.run(undo));
            return Err(error);
        }
        let (mut batch, mut steps) = (Batch::new(), Vec::new());
        for route in &self.removals {
            batch.delete_route(route);
            steps.push("removing a route from the main table".to_owned());
        }
        run(socket, batch, steps)
    }
}
