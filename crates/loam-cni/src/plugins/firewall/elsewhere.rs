//! What lets addresses through in the table's stead, and what of it an ADD after another one leaves over.

use super::backend::Backend;
use super::{WHAT, firewalld, iptables};
use crate::firewall::{AdmissionRecord, Elsewhere};
use crate::protocol::{CniError, Context};
use crate::unmanaged;

/// What an earlier ADD, or several of them, have set and one with this record does not.
pub(super) fn outdated(before: &AdmissionRecord, now: Option<&Elsewhere>) -> Vec<Elsewhere> {
    let known = before.elsewhere.iter().chain(&before.outdated);
    known.filter_map(|known| without(known, now)).collect()
}

/// What of one thing another one does not set too.
pub(super) fn without(known: &Elsewhere, now: Option<&Elsewhere>) -> Option<Elsewhere> {
    let same = |now: &&Elsewhere| {
        let in_zones = Backend::parse(&known.backend) == Some(Backend::Firewalld);
        now.backend == known.backend && (now.zone == known.zone || !in_zones)
    };
    let Some(now) = now.filter(same) else { return Some(known.clone()) };
    let mut left = known.clone();
    left.addresses.retain(|address| !now.addresses.contains(address));
    (!left.addresses.is_empty() && known.backend != Backend::Unmanaged.as_str()).then_some(left)
}

/// Takes back what was set.
pub(super) fn take_back<'a>(
    context: &Context<'_>,
    all: impl IntoIterator<Item = &'a Elsewhere>,
) -> Result<(), CniError> {
    for known in all {
        match Backend::parse(&known.backend) {
            Some(Backend::Iptables) => iptables::remove(context, &known.addresses)?,
            Some(Backend::Firewalld) => firewalld::remove(&known.zone, &known.addresses)?,
            // GC, which has no attachment of its own, removes notes by itself.
            Some(Backend::Unmanaged) if !context.container_id.is_empty() => {
                unmanaged::forget(context, WHAT)?;
            }
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn elsewhere(backend: &str, zone: &str, addresses: &[&str]) -> Elsewhere {
        let addresses = addresses.iter().map(|text| text.parse().expect("an address")).collect();
        Elsewhere { backend: backend.into(), zone: zone.into(), addresses }
    }

    #[test]
    fn only_what_is_not_set_again_is_outdated() {
        let known = elsewhere("iptables", "trusted", &["10.0.0.1", "10.0.0.2"]);
        assert_eq!(without(&known, None), Some(known.clone()));
        assert_eq!(without(&known, Some(&known)), None);
        let less = elsewhere("iptables", "other", &["10.0.0.2"]);
        assert_eq!(without(&known, Some(&less)), Some(elsewhere("iptables", "trusted", &["10.0.0.1"])));
        let zone = elsewhere("firewalld", "one", &["10.0.0.1"]);
        assert_eq!(without(&zone, Some(&zone)), None);
        assert_eq!(without(&zone, Some(&elsewhere("firewalld", "two", &["10.0.0.1"]))), Some(zone.clone()));
        let note = elsewhere("none", "", &["10.0.0.1"]);
        assert_eq!(without(&note, Some(&elsewhere("none", "", &["10.0.0.9"]))), None);
        let before = AdmissionRecord {
            elsewhere: Some(known.clone()),
            outdated: vec![zone.clone()],
            ..AdmissionRecord::default()
        };
        assert_eq!(outdated(&before, Some(&zone)), std::slice::from_ref(&known));
        assert_eq!(outdated(&before, None), [known, zone]);
    }
}
