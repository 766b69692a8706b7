//! The removal of veth pairs, and of links that stand alone, off the caller's path.
//!
//! The kernel answers a removal when its grace periods are over, after 15 ms and more. So the pair is first taken out of
//! service, which the kernel does at once: both ends down, the host's end off its bridge, both under another name, so
//! that theirs are free and nothing passes, whoever gets the address next. Then a process that nobody waits for asks for
//! the removal.
//!
//! ```text
//! veth01234567890   the host's end in service
//! gone01234567890   either end out of service
//! ```
//!
//! Who is killed in between leaves a pair under its second name. A second DEL finds it by that, and so does GC.

use rustix::io::Errno;

use super::{Derived, done, failed};
use crate::namespace::Namespace;
use crate::netlink::{Batch, Link, RouteSocket};
use crate::protocol::CniError;
use crate::removals::Removals;

/// The beginning of the name of a pair out of service, in place of `veth`.
const RETIRED: &str = "gone";
/// The longest name of a link (`IFNAMSIZ`, with its zero).
const MAX_NAME: usize = 15;

/// Takes a pair out of service, by its end on the host, and has it removed; says whether it was there. When it can't be
/// done this way, the kernel's answer is waited for.
pub(crate) fn retire_pair(
    socket: &mut RouteSocket,
    removals: &Removals,
    host_name: &str,
    namespace: Option<&Namespace>,
) -> Result<bool, CniError> {
    let retired = retired_name(host_name);
    let mut look = |name: &str| socket.link(name).map_err(failed(format!("looking up `{name}`")));
    let Some(link) = look(host_name)? else {
        // Out of service already, by a DEL that was killed then.
        return match look(&retired)?.filter(|link| link.kind == "veth") {
            Some(link) => remove_by_another(socket, removals, &link).map(|()| true),
            None => Ok(false),
        };
    };
    let aside = put_aside(socket, link.index, &retired)
        && namespace.is_none_or(|namespace| put_other_end_aside(namespace, &link, &retired));
    match aside {
        true => remove_by_another(socket, removals, &link)?,
        false => remove(socket, &link)?,
    }
    Ok(true)
}

/// Takes a link that stands alone out of service and has it removed by another process; success when there is none. Its
/// alias stays, by which GC, too, finds one whose removal was killed.
pub(crate) fn retire_link(socket: &mut RouteSocket, removals: &Removals, name: &str) -> Result<(), CniError> {
    let retired = format!("{RETIRED}{}", &name[name.len().saturating_sub(MAX_NAME - RETIRED.len())..]);
    let mut look = |name: &str| socket.link(name).map_err(failed(format!("looking up `{name}`")));
    let Some(link) = look(name)? else {
        // Out of service already, by a DEL that was killed then.
        return match look(&retired)?.filter(|link| link.kind != "veth") {
            Some(link) => remove_by_another(socket, removals, &link),
            None => Ok(()),
        };
    };
    match put_aside(socket, link.index, &retired) {
        true => remove_by_another(socket, removals, &link),
        false => remove(socket, &link),
    }
}

/// Whether a link is the host's end of a pair that is out of service.
pub(crate) fn is_retired(link: &Link) -> bool {
    let in_service = link.name.strip_prefix(RETIRED).map(|digits| format!("veth{digits}"));
    link.kind == "veth" && !link.up && in_service.is_some_and(|name| Derived::is_host_name(&name))
}

fn retired_name(host_name: &str) -> String {
    format!("{RETIRED}{}", host_name.strip_prefix("veth").unwrap_or(host_name))
}

/// Takes one end out of service; whether the kernel did everything. A link that has vanished needs no more.
fn put_aside(socket: &mut RouteSocket, index: u32, name: &str) -> bool {
    let mut batch = Batch::new();
    // Kernels before 6.2 rename no link that is up.
    batch.link_down(index).rename_off_bridge(index, name);
    let verdicts = socket.run(batch);
    verdicts.is_ok_and(|all| {
        all.iter().all(|verdict| verdict.as_ref().map_or_else(|no| no.errno == Errno::NODEV, |()| true))
    })
}

/// The same for the end in the namespace, which is known by its other end.
fn put_other_end_aside(namespace: &Namespace, host_end: &Link, name: &str) -> bool {
    let Some(index) = host_end.peer else { return false };
    let aside = namespace.run(|| {
        let mut socket = RouteSocket::open().ok()?;
        let found = socket.link_by_index(index).ok()?;
        // It may have been moved elsewhere, to go with the host's end all the same.
        let ours = found.filter(|link| link.kind == "veth" && link.peer == Some(host_end.index));
        Some(ours.is_none_or(|link| put_aside(&mut socket, link.index, name)))
    });
    aside.ok().flatten() == Some(true)
}

/// Has a link removed by a process that nobody waits for.
fn remove_by_another(socket: &mut RouteSocket, removals: &Removals, link: &Link) -> Result<(), CniError> {
    removals.add(socket, link.index).map_err(failed(format!("removing `{}`", link.name)))
}

fn remove(socket: &mut RouteSocket, link: &Link) -> Result<(), CniError> {
    let mut batch = Batch::new();
    batch.delete_link_by_index(link.index);
    done(socket, batch, format!("removing `{}`", link.name)).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_retired_pair_is_known_by_its_name_and_state() {
        let link = |name: &str, up| {
            let mut link = Link::default();
            (link.name, link.kind, link.up) = (name.to_owned(), "veth".into(), up);
            link
        };
        let host_name = Derived::new("abc", "eth0").host_name;
        let retired = retired_name(&host_name);
        assert_eq!((retired.len(), &retired[..4]), (15, "gone"));
        assert!(is_retired(&link(&retired, false)));
        assert!(!is_retired(&link(&retired, true)), "somebody uses it");
        assert!(!is_retired(&link(&host_name, false)) && !is_retired(&link("gone", false)));
        let mut other = link(&retired, false);
        other.kind = "dummy".into();
        assert!(!is_retired(&other));
    }
}
