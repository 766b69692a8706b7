//! Hardware addresses that containers may send from: one static nftables table of the bridge family, `bridge loam`.
//!
//! ```text
//! set guarded   links, the hosts' ends of containers
//! set senders   link . hardware address
//! chain prerouting   iifname @guarded iifname . ether saddr != @senders drop
//! ```
//!
//! Elements carry container and interface as comment. What the sets must hold is written below [`Host::state_directory`]
//! before it is put into the kernel, and the table is made anew from it when somebody has flushed it:
//!
//! ```text
//! senders/CONTAINER:IFNAME   JSON: network, link, hardware address
//! ```
//!
//! [`Host::state_directory`]: crate::Host::state_directory

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::nftables::{
    Batch, Chain, Element, Expression, FAMILY_BRIDGE, Field, Hook, NftablesError, NftablesSocket,
    SetDefinition, SetKind, Verdict,
};
use crate::protocol::{CniError, Context, Host, code};

const TABLE: &str = "loam";
const GUARDED: SetDefinition =
    SetDefinition { name: "guarded", key: &[SetKind::LinkName], value: &[], interval: false };
const SENDERS: SetDefinition = SetDefinition {
    name: "senders",
    key: &[SetKind::LinkName, SetKind::HardwareAddress],
    value: &[],
    interval: false,
};
const CHAIN: Chain = Chain { name: "prerouting", hook: Some(("filter", Hook::Prerouting, -300)) };
const RULE: [Expression<'static>; 6] = [
    Expression::Load(Field::InputLink, 1),
    Expression::Member { register: 1, set: GUARDED.name, inverted: false },
    Expression::Load(Field::InputLink, 1),
    Expression::Load(Field::Link(6, 6), 2),
    Expression::Member { register: 1, set: SENDERS.name, inverted: true },
    Expression::Verdict(Verdict::Drop),
];

/// A link and the address that it may send from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Sender {
    network: String,
    link: String,
    mac: [u8; 6],
}

impl Sender {
    /// The sender of an attachment.
    pub(crate) fn new(network: &str, link: &str, mac: [u8; 6]) -> Self {
        Self { network: network.to_owned(), link: link.to_owned(), mac }
    }

    fn elements(&self, owner: &str) -> [(&'static str, Element); 2] {
        let mut key = self.link.as_bytes().to_vec();
        key.resize(16, 0);
        let comment = Some(owner.replace(':', " "));
        let guarded = Element { key: key.clone(), comment: comment.clone(), ..Element::default() };
        key.extend_from_slice(&self.mac);
        key.resize(24, 0);
        [(GUARDED.name, guarded), (SENDERS.name, Element { key, comment, ..Element::default() })]
    }
}

fn refused(cause: &NftablesError) -> CniError {
    match cause {
        NftablesError::Unsupported(_) => {
            let message = "this kernel lacks nf_tables for bridges, which `macspoofchk` needs";
            CniError::new(code::UNSUPPORTED_KERNEL, message).because(cause)
        }
        _ => CniError::internal("changing table `bridge loam` failed", cause),
    }
}

fn directory(host: &Host) -> PathBuf {
    host.state_directory.join("senders")
}

fn owner(context: &Context<'_>) -> String {
    format!("{}:{}", context.container_id, context.interface)
}

fn recorded(path: &Path) -> Result<Option<Sender>, CniError> {
    match fs::read(path) {
        // One that a crash of the machine left empty is none.
        Ok(bytes) => Ok(serde_json::from_slice(&bytes).ok()),
        Err(cause) if cause.kind() == ErrorKind::NotFound => Ok(None),
        Err(cause) => Err(CniError::io(format!("reading `{}` failed", path.display()), &cause)),
    }
}

/// All records, by owner.
fn all(host: &Host) -> Result<Vec<(String, Sender)>, CniError> {
    let directory = directory(host);
    let entries = match fs::read_dir(&directory) {
        Err(cause) if cause.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries
            .map_err(|cause| CniError::io(format!("reading `{}` failed", directory.display()), &cause))?,
    };
    let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
    let mut found = Vec::new();
    for name in names {
        found.extend(recorded(&directory.join(&name))?.map(|sender| (name, sender)));
    }
    Ok(found)
}

/// Lets a link send from one hardware address only.
pub(crate) fn guard(context: &Context<'_>, sender: &Sender) -> Result<(), CniError> {
    let (directory, owner) = (directory(context.host), owner(context));
    let path = directory.join(&owner);
    let written = serde_json::to_vec(sender).map_err(std::io::Error::from).and_then(|bytes| {
        fs::create_dir_all(&directory)?;
        fs::write(&path, bytes)
    });
    written.map_err(|cause| CniError::io(format!("writing `{}` failed", path.display()), &cause))?;
    let guarded = set(context.host, &owner, sender);
    if guarded.is_err() {
        forget(&path)?;
    }
    guarded
}

fn set(host: &Host, owner: &str, sender: &Sender) -> Result<(), CniError> {
    let mut socket = NftablesSocket::open().map_err(|cause| refused(&cause))?;
    if !is_whole(&mut socket)? {
        restore(&mut socket, host)?;
    }
    let batch = elements([(owner, sender)]);
    match socket.commit(&batch) {
        // Somebody flushed it this moment; the record is there already.
        Err(NftablesError::Missing) => restore(&mut socket, host),
        result => result.map_err(|cause| refused(&cause)),
    }
}

fn is_whole(socket: &mut NftablesSocket) -> Result<bool, CniError> {
    match socket.count_rules_of(FAMILY_BRIDGE, TABLE) {
        Ok(counts) => Ok(counts.len() == 1 && counts.get(CHAIN.name) == Some(&1)),
        Err(NftablesError::Missing) => Ok(false),
        Err(cause) => Err(refused(&cause)),
    }
}

fn elements<'a>(senders: impl IntoIterator<Item = (&'a str, &'a Sender)>) -> Batch {
    let mut batch = Batch::of_family(FAMILY_BRIDGE, TABLE);
    for (owner, sender) in senders {
        for (set, element) in sender.elements(owner) {
            batch.add_elements(set, &[element], false);
        }
    }
    batch
}

/// Makes the table as it must be, with all that is recorded.
fn restore(socket: &mut NftablesSocket, host: &Host) -> Result<(), CniError> {
    let mut batch = Batch::of_family(FAMILY_BRIDGE, TABLE);
    batch.add_table().add_set(&GUARDED).add_set(&SENDERS).add_chain(&CHAIN);
    batch.flush_chain(CHAIN.name).add_rule(CHAIN.name, &RULE);
    socket.commit(&batch).map_err(|cause| refused(&cause))?;
    let all = all(host)?;
    let batch = elements(all.iter().map(|(owner, sender)| (owner.as_str(), sender)));
    socket.commit(&batch).map_err(|cause| refused(&cause))
}

/// Undoes [`guard`]; success when there is nothing.
pub(crate) fn release(context: &Context<'_>) -> Result<(), CniError> {
    release_owner(context.host, &owner(context))
}

fn release_owner(host: &Host, owner: &str) -> Result<(), CniError> {
    let path = directory(host).join(owner);
    let Some(sender) = recorded(&path)? else { return forget(&path) };
    let mut socket = NftablesSocket::open().map_err(|cause| refused(&cause))?;
    for (set, element) in sender.elements(owner) {
        let mut batch = Batch::of_family(FAMILY_BRIDGE, TABLE);
        batch.delete_elements(set, &[Element { key: element.key, ..Element::default() }]);
        match socket.commit(&batch) {
            Ok(()) | Err(NftablesError::Missing) => {}
            Err(cause) => return Err(refused(&cause)),
        }
    }
    forget(&path)
}

fn forget(path: &Path) -> Result<(), CniError> {
    match fs::remove_file(path) {
        Err(cause) if cause.kind() != ErrorKind::NotFound => {
            Err(CniError::io(format!("removing `{}` failed", path.display()), &cause))
        }
        _ => Ok(()),
    }
}

/// Releases the attachments of a network that are not valid.
pub(crate) fn collect(
    host: &Host,
    network: &str,
    is_valid: impl Fn(&str, &str) -> bool,
) -> Result<(), CniError> {
    for (owner, sender) in all(host)? {
        let valid =
            owner.split_once(':').is_some_and(|(container, interface)| is_valid(container, interface));
        if sender.network == network && !valid {
            release_owner(host, &owner)?;
        }
    }
    Ok(())
}
