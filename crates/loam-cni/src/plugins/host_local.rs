//! The `host-local` plugin: addresses from ranges, kept in files on this host.
//!
//! The files are those of the reference plugin, so that either can take over from the other:
//!
//! ```text
//! DIRECTORY/NETWORK/
//!   lock                   flock'ed for each step
//!   ADDRESS                "CONTAINER\r\nIFNAME"
//!   last_reserved_ip.N     the address that range set N gave last
//!   .owners/CONTAINER:IFNAME   ours: the addresses of an attachment, one a line
//! ```
//!
//! `.owners` only spares reading every file: it is written after the addresses, removed after them, and never believed:
//! without an entry, all files are looked through. A crash leaves addresses that DEL finds by their contents.

mod config;
mod range;
mod store;

use ipnet::IpNet;

use crate::plugins::{Plugin, Role};
use crate::protocol::{CniError, CniResult, Context, IpConfig, Owner, Version, code};
use config::Config;
use store::{Store, StoreError};

pub use range::{Range, RangeSet};

/// The plugin.
pub const PLUGIN: Plugin = Plugin {
    name: "host-local",
    role: Role::Addresses,
    oldest: Version::V0_1_0,
    add,
    del,
    check,
    gc,
    status,
};

fn stored<T>(result: Result<T, StoreError>) -> Result<T, CniError> {
    result.map_err(|error| {
        let code = match &error {
            StoreError::Exhausted { .. } => code::ADDRESSES_EXHAUSTED,
            StoreError::Taken { .. } | StoreError::Duplicate { .. } => code::EXISTS,
            _ => code::IO,
        };
        let cause = std::error::Error::source(&error)
            .map(|cause| CniError::new(code, error.to_string()).because(cause));
        cause.unwrap_or_else(|| CniError::new(code, error.to_string()))
    })
}

fn open(context: &Context<'_>, config: &Config) -> Result<Store, CniError> {
    let directory = config.data_directory.as_ref().unwrap_or(&context.host.address_directory);
    stored(Store::open(directory.join(&context.config.name)))
}

/// Takes one address from each range set.
fn add(context: &Context<'_>) -> Result<CniResult, CniError> {
    let config = Config::read(context)?;
    let mut store = open(context, &config)?;
    let mut requested = config.requested.clone();
    let mut result = CniResult { routes: config.routes.clone(), dns: config.dns()?, ..CniResult::default() };
    let owner = (context.container_id.as_str(), context.interface.as_str());
    let taken = (|| {
        stored(store.refuse_duplicate(owner))?;
        for (index, set) in config.sets.iter().enumerate() {
            let wanted = requested.iter().position(|ip| set.contains(*ip)).map(|at| requested.remove(at));
            let (address, range) = match wanted {
                Some(address) => stored(store.take(set, address, owner))?,
                None => stored(store.take_next(set, index, owner))?,
            };
            let address = IpNet::new(address, range.subnet.prefix_len())
                .map_err(|cause| CniError::internal("the range's prefix length is wrong", &cause))?;
            result.ips.push(IpConfig { address, gateway: Some(range.gateway), interface: None });
        }
        if let Some(left) = requested.first() {
            return Err(CniError::invalid_config(format!(
                "requested address `{left}` is in none of the ranges"
            )));
        }
        stored(store.note(owner, result.ips.iter().map(|ip| ip.address.addr())))
    })();
    if let Err(error) = taken {
        for ip in &result.ips {
            stored(store.give_back(ip.address.addr(), owner))?;
        }
        return Err(error);
    }
    Ok(result)
}

/// Gives the addresses of an attachment back.
fn del(context: &Context<'_>) -> Result<(), CniError> {
    let config = Config::read_for_removal(context)?;
    let directory = config.data_directory.as_ref().unwrap_or(&context.host.address_directory);
    let Some(mut store) = stored(Store::open_existing(directory.join(&context.config.name)))? else {
        return Ok(());
    };
    stored(store.release((&context.container_id, &context.interface)))
}

/// Verifies that the attachment has an address.
fn check(context: &Context<'_>) -> Result<(), CniError> {
    let config = Config::read(context)?;
    let mut store = open(context, &config)?;
    if stored(store.owns_any((&context.container_id, &context.interface)))? {
        return Ok(());
    }
    Err(CniError::new(
        code::INTERNAL,
        format!("host-local: failed to find address added by container {}", context.container_id),
    ))
}

/// Gives back the addresses of all attachments that are not valid.
fn gc(context: &Context<'_>) -> Result<(), CniError> {
    let config = Config::read_for_removal(context)?;
    let valid = context.config.valid_attachments()?;
    let directory = config.data_directory.as_ref().unwrap_or(&context.host.address_directory);
    let Some(mut store) = stored(Store::open_existing(directory.join(&context.config.name)))? else {
        return Ok(());
    };
    stored(store.retain(|container, interface| {
        if interface.is_empty() {
            return valid.owners().any(|known| known.container == container);
        }
        valid.contains(&Owner { container, interface })
    }))
}

/// Verifies that the configuration is sound.
fn status(context: &Context<'_>) -> Result<(), CniError> {
    Config::read(context).map(drop)
}
