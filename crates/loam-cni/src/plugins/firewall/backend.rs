//! The configuration of `firewall`, and the choice of a backend.

use std::fs;

use super::firewalld;
use crate::iptables::{Family, Iptables};
use crate::nftables::NftablesSocket;
use crate::protocol::{CniError, Context};

/// Who lets traffic through.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Backend {
    /// Our table.
    #[default]
    Nftables,
    /// The programs of iptables.
    Iptables,
    /// firewalld.
    Firewalld,
    /// The administrator.
    Unmanaged,
}

/// What reaches a container from other containers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Policy {
    /// Everything.
    #[default]
    Open,
    /// What comes from the same bridge.
    SameBridge,
    /// Nothing.
    Isolated,
}

impl Backend {
    /// Reads a backend's name.
    pub(super) fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "nftables" => Backend::Nftables,
            "iptables" => Backend::Iptables,
            "firewalld" => Backend::Firewalld,
            "none" => Backend::Unmanaged,
            _ => return None,
        })
    }

    /// Its name.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Backend::Nftables => "nftables",
            Backend::Iptables => "iptables",
            Backend::Firewalld => "firewalld",
            Backend::Unmanaged => "none",
        }
    }

    /// Whether bridges are guarded by our table: what it drops is dropped, whoever else lets it through.
    pub(super) fn guards_in_table(self) -> bool {
        matches!(self, Backend::Nftables | Backend::Firewalld)
    }
}

/// The configuration.
#[derive(Debug)]
pub(super) struct Config {
    /// The backend that it names.
    pub(super) backend: Option<Backend>,
    /// The chain of iptables with the administrator's own rules.
    pub(super) admin_chain: String,
    /// firewalld's zone.
    pub(super) zone: String,
    pub(super) policy: Policy,
}

impl Config {
    /// Reads the configuration.
    pub(super) fn read(context: &Context<'_>) -> Result<Self, CniError> {
        let text = |key: &str| {
            let text: Option<String> = context.config.get(&[key])?;
            Ok::<_, CniError>(text.filter(|text| !text.is_empty()))
        };
        let unknown = |key: &str, text: &str| CniError::unsupported_field(key, text.escape_default());
        let backend = match text("backend")? {
            None => None,
            Some(name) => Some(Backend::parse(&name).ok_or_else(|| unknown("backend", &name))?),
        };
        let policy = match text("ingressPolicy")?.as_deref() {
            None | Some("open") => Policy::Open,
            Some("same-bridge") => Policy::SameBridge,
            Some("isolated") => Policy::Isolated,
            Some(other) => return Err(unknown("ingressPolicy", other)),
        };
        let admin_chain = text("iptablesAdminChainName")?.unwrap_or_else(|| "CNI-ADMIN".into());
        // The longest that both kinds of iptables take (x_tables.h, `XT_EXTENSION_MAXNAMELEN`).
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
        if admin_chain.len() > 28 || admin_chain.starts_with('-') || !admin_chain.bytes().all(plain) {
            let name = admin_chain.escape_default();
            return Err(CniError::invalid_config(format!(
                "`iptablesAdminChainName` `{name}` is no chain's name"
            )));
        }
        let zone = text("firewalldZone")?.unwrap_or_else(|| "trusted".into());
        Ok(Self { backend, admin_chain, zone, policy })
    }

    /// The backend: the one that is named, or else the one whose rules decide on this host. An `accept` in one table
    /// does not overrule the policy of another.
    pub(super) fn choose(&self, context: &Context<'_>) -> Result<Backend, CniError> {
        if let Some(backend) = self.backend {
            return Ok(backend);
        }
        if firewalld::is_running() {
            return Ok(Backend::Firewalld);
        }
        Ok(if iptables_drops(context) { Backend::Iptables } else { Backend::Nftables })
    }
}

/// Whether packets that pass through this host are dropped by the policy of iptables.
fn iptables_drops(context: &Context<'_>) -> bool {
    // Its present kind keeps its tables in nf_tables, where they are read without a program.
    let drops = NftablesSocket::open().and_then(|mut socket| socket.drops_by_policy("filter", "FORWARD"));
    if drops.unwrap_or_default() {
        return true;
    }
    let old = fs::read_to_string("/proc/thread-self/net/ip_tables_names").unwrap_or_default();
    if !old.lines().any(|table| table == "filter") {
        return false;
    }
    let table = Iptables::open(context.host).and_then(|iptables| iptables.table(Family::Four, "filter"));
    table.is_ok_and(|table| table.policy("FORWARD") == Some("DROP"))
}
