//! Who publishes the ports, by the configuration's `backend` and the keys that only one of them knows.

use crate::protocol::{CniError, Context};

/// The bit of a packet's mark that has it masqueraded, unless configured otherwise.
const MARK_BIT: u8 = 13;

/// Who publishes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Backend {
    /// Our table.
    Nftables,
    /// The programs of iptables.
    Iptables(Options),
    /// The administrator.
    Unmanaged,
}

/// What only iptables knows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Options {
    /// The bit of the mark.
    pub(super) mark_bit: u8,
    /// The chain that sets the mark, if it is somebody else's.
    pub(super) mark_chain: Option<String>,
    /// Words that are added to the rules that look for the ports.
    pub(super) conditions4: Vec<String>,
    pub(super) conditions6: Vec<String>,
}

impl Backend {
    /// Reads the configuration.
    pub(super) fn read(context: &Context<'_>) -> Result<Self, CniError> {
        let config = &context.config;
        let set =
            |key: &str| Ok::<_, CniError>(config.get::<String>(&[key])?.filter(|text| !text.is_empty()));
        let conditions4 = conditions(context, "conditionsV4")?;
        let conditions6 = conditions(context, "conditionsV6")?;
        let mark_chain = set("externalSetMarkChain")?;
        let bit: Option<u8> = config.get(&["markMasqBit"])?;
        if let Some(bit) = bit.filter(|bit| *bit > 31) {
            return Err(CniError::invalid_config(format!("`markMasqBit` {bit} is not between 0 and 31")));
        }
        if mark_chain.is_some() && bit.is_some() {
            let message = "cannot specify externalSetMarkChain and markMasqBit at the same time";
            return Err(CniError::invalid_config(message));
        }
        let only = [
            ("externalSetMarkChain", mark_chain.is_some()),
            ("conditionsV4", !conditions4.is_empty()),
            ("conditionsV6", !conditions6.is_empty()),
        ];
        let only = only.into_iter().find_map(|(key, is_set)| is_set.then_some(key));
        let mark_bit = bit.unwrap_or(MARK_BIT);
        let options = Options { mark_bit, mark_chain, conditions4, conditions6 };
        match (set("backend")?.as_deref(), only) {
            (Some("iptables"), _) | (None, Some(_)) => Ok(Backend::Iptables(options)),
            (None | Some("nftables"), None) => Ok(Backend::Nftables),
            (Some("none"), _) => Ok(Backend::Unmanaged),
            (Some("nftables"), Some(key)) => Err(CniError::invalid_config(format!(
                "`{key}` is an option of backend `iptables`, and the configuration asks for `nftables`"
            ))),
            (Some(other), _) => Err(CniError::unsupported_field("backend", other.escape_default())),
        }
    }
}

/// Reads conditions, which must be in the words of iptables: its first is an option or a negation.
fn conditions(context: &Context<'_>, key: &str) -> Result<Vec<String>, CniError> {
    let words: Vec<String> = context.config.get(&[key])?.unwrap_or_default();
    match words.first() {
        None => Ok(words),
        Some(first) if first.is_empty() => Ok(Vec::new()),
        Some(first) if first.starts_with(['-', '!']) => Ok(words),
        Some(_) => Err(CniError::unsupported_field(key, words.join(" ").escape_default())),
    }
}
