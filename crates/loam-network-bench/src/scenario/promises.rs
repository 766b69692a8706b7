//! What the specification says of calls that are repeated, come late, or find something broken (CNI SPEC.md, section 2).

use loam_cni::CniResult;
use loam_cni::netlink::{Batch, NetlinkError, RouteSocket};
use loam_cni::protocol::Version;
use loam_network::CallError;
use serde::{Deserialize, Serialize};

use crate::chain::INTERFACE;
use crate::report::Verdict;
use crate::state::{Snapshot, flush_rules};
use crate::worker::{Attached, Ground};

/// A promise, and what came of it.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Promise {
    pub(crate) promise: String,
    pub(crate) verdict: Verdict,
    pub(crate) note: String,
}

fn promise(promise: &str, outcome: Result<(), String>) -> Promise {
    let (verdict, note) = match outcome {
        Ok(()) => (Verdict::Kept, String::new()),
        Err(note) => (Verdict::Broken, note),
    };
    Promise { promise: promise.to_owned(), verdict, note }
}

fn not_tried(text: &str, note: String) -> Promise {
    Promise { promise: text.to_owned(), verdict: Verdict::NotTried, note }
}

fn well(outcome: Result<(), CallError>) -> Result<(), String> {
    outcome.map_err(|error| error.to_string())
}

fn must_fail(outcome: Result<(), CallError>) -> Result<(), String> {
    if outcome.is_err() { Ok(()) } else { Err("it succeeded".into()) }
}

/// Tries all of them, until something fails that no promise is about. The last one removes rules, those of the resident
/// attachment too.
pub(crate) fn hold(ground: &mut Ground) -> Vec<Promise> {
    let mut promises = Vec::new();
    if let Err(note) = hold_all(ground, &mut promises) {
        promises.push(not_tried("what comes after these", note));
    }
    promises
}

fn hold_all(ground: &mut Ground, promises: &mut Vec<Promise>) -> Result<(), String> {
    removals(ground, promises)?;
    promises.extend(second_add(ground)?);
    let checks: [(&str, Breakage); 3] = [
        ("CHECK fails when the interface is gone", remove_interface),
        ("CHECK fails when an address is gone", remove_addresses),
        ("CHECK fails when the rules are gone", remove_rules),
    ];
    if ground.chain.version < Version::V0_4_0 {
        let note = format!("version {} has no CHECK", ground.chain.version.as_str());
        promises.extend(checks.map(|(text, _)| not_tried(text, note.clone())));
        return Ok(());
    }
    let attached = ground.attach()?;
    let checked = ground.chain.check(&attached.container.endpoint, &attached.result);
    promises.push(promise("CHECK succeeds after ADD", well(checked)));
    ground.detach(attached)?;
    for (text, break_it) in checks {
        promises.extend(broken(ground, text, break_it)?);
    }
    Ok(())
}

/// DEL that is repeated, or has nothing to do, or does not know what ADD gave.
fn removals(ground: &mut Ground, promises: &mut Vec<Promise>) -> Result<(), String> {
    let Attached { mut container, result } = ground.attach()?;
    let (chain, endpoint) = (&ground.chain, container.endpoint.clone());
    well(chain.del(&endpoint, Some(&result)))?;
    promises.push(promise("DEL succeeds a second time", well(chain.del(&endpoint, Some(&result)))));
    container.end().map_err(|error| format!("ending the container: {error}"))?;
    let again = chain.del(&endpoint.gone(), Some(&result));
    promises.push(promise("DEL succeeds when namespace and attachment are gone", well(again)));
    let stranger = ground.container()?;
    let never = ground.chain.del(&stranger.endpoint, None);
    promises.push(promise("DEL succeeds for what was never attached", well(never)));
    let Attached { container, result } = ground.attach()?;
    let outcome =
        well(ground.chain.del(&container.endpoint, None)).and_then(|()| match container.has_interface()? {
            false => Ok(()),
            true => Err("it succeeded, but the interface is still there".into()),
        });
    promises.push(promise("DEL detaches without the result of ADD", outcome));
    // Whatever came of that, nothing of it may trouble what follows.
    let _tried_before = ground.chain.del(&container.endpoint, Some(&result)).is_err();
    Ok(())
}

/// A second ADD fails or gives the same; either way the first attachment stays as it was.
fn second_add(ground: &mut Ground) -> Result<Vec<Promise>, String> {
    let attached = ground.attach()?;
    let second = ground.chain.add(&attached.container.endpoint);
    let outcome = match &second {
        Err(_) => Ok(()),
        Ok(result) if same(result, &attached.result) => Ok(()),
        Ok(_) => Err("it succeeded with another result".to_owned()),
    };
    let unharmed = attached.container.verify(&attached.result).map_err(|damage| match &second {
        Err(error) => format!("{damage}, after it failed ({error})"),
        Ok(_) => format!("{damage}, after it succeeded"),
    });
    let promises = vec![
        promise("ADD a second time fails or gives the same", outcome),
        promise("ADD a second time leaves the first attachment alone", unharmed),
    ];
    // A second attachment may have to be removed by its own result.
    if let Ok(result) = second {
        let _removed_below_otherwise = ground.chain.del(&attached.container.endpoint, Some(&result)).is_err();
    }
    let _may_be_gone = ground.detach(attached).is_err();
    Ok(promises)
}

fn same(one: &CniResult, other: &CniResult) -> bool {
    one.ips == other.ips && one.interfaces == other.interfaces
}

/// Breaks an attachment, before which the host was so; whether there was something to break.
type Breakage = fn(&Attached, &Snapshot) -> Result<bool, String>;

/// Breaks an attachment by hand: CHECK must notice, and DEL must succeed all the same.
fn broken(ground: &mut Ground, text: &str, break_it: Breakage) -> Result<Vec<Promise>, String> {
    let before = Snapshot::before()?;
    let attached = ground.attach()?;
    if !break_it(&attached, &before)? {
        ground.detach(attached)?;
        return Ok(vec![not_tried(text, "there is nothing of the kind to remove".into())]);
    }
    let noticed = must_fail(ground.chain.check(&attached.container.endpoint, &attached.result));
    let removed = ground.chain.del(&attached.container.endpoint, Some(&attached.result));
    let then = format!("DEL succeeds when {}", text.trim_start_matches("CHECK fails when "));
    Ok(vec![promise(text, noticed), promise(&then, well(removed))])
}

fn remove_interface(attached: &Attached, _before: &Snapshot) -> Result<bool, String> {
    let removed = attached.container.run(|| {
        let mut batch = Batch::new();
        batch.delete_link(INTERFACE);
        change(batch)
    })?;
    removed.map(|()| true).map_err(|error| format!("removing the interface: {error}"))
}

fn remove_addresses(attached: &Attached, _before: &Snapshot) -> Result<bool, String> {
    let removed = attached.container.run(|| {
        let mut socket = RouteSocket::open()?;
        let Some(link) = socket.link(INTERFACE)? else { return Ok(false) };
        let mut batch = Batch::new();
        let ips = &attached.result.ips;
        ips.iter().for_each(|ip| {
            batch.delete_address(link.index, ip.address);
        });
        change(batch).map(|()| !ips.is_empty())
    })?;
    removed.map_err(|error: NetlinkError| format!("removing addresses: {error}"))
}

fn change(batch: Batch) -> Result<(), NetlinkError> {
    for verdict in RouteSocket::open()?.run(batch)? {
        verdict.map_err(NetlinkError::Refused)?;
    }
    Ok(())
}

/// Only where an attachment has rules of its own can they be missed.
fn remove_rules(_attached: &Attached, before: &Snapshot) -> Result<bool, String> {
    let with = Snapshot::take()?;
    if !with.since(before).counts.contains_key("rule") || !flush_rules() {
        return Ok(false);
    }
    match with.since(&Snapshot::take()?).counts.contains_key("rule") {
        true => Ok(true),
        false => Err("the rules are still there after they were flushed".into()),
    }
}

#[cfg(test)]
mod tests;
