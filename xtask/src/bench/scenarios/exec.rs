//! A program in a container that runs already.

use anyhow::Result;

use super::Contender;
use super::rounds::rounds;
use crate::bench::measure::Row;
use crate::bench::peers::Net;

/// Runs `true` in the container with number 0, which is started before and removed after.
pub(super) fn exec(count: usize, contenders: &mut [Contender]) -> Result<Vec<Row>> {
    for contender in contenders.iter_mut().filter(|contender| contender.peer.exec(&contender.arena).is_some())
    {
        if let Some((start, _)) = contender.peer.stay(&contender.arena, Net::None) {
            // One that can't be started has no figures for exec, and says why there.
            let _said_later = contender.arena.sh(&start.replace("{}", "0")).is_err();
        }
    }
    let rows = rounds("exec", count, contenders, |c| c.peer.exec(&c.arena));
    for contender in contenders.iter_mut().filter(|contender| contender.peer.exec(&contender.arena).is_some())
    {
        if let Some((_, remove)) = contender.peer.stay(&contender.arena, Net::None) {
            let _said_before = contender.arena.sh(&remove.replace("{}", "0")).is_err();
        }
    }
    rows
}
