//! The end of a new process's own work: it becomes the user's program, or tells the shim why it can't.

use std::ffi::CString;

use loam_model::{ErrorKind, Failure};
use rustix::io::Errno;

use super::channel::{Channel, Message};
use super::explain::Explain;
use super::identity::{not_runnable, seal};
use super::process_plan::ProcessPlan;
use crate::seccomp::Filter;

/// Tells the shim what went wrong; gives the code to end with.
pub(super) fn give_up(channel: &Channel, failure: Failure) -> i32 {
    let code = match failure.kind() {
        ErrorKind::CommandNotFound => 127,
        ErrorKind::CommandNotExecutable => 126,
        _ => 125,
    };
    // When this fails too, the shim sees the process end.
    channel.send(&Message::Failed(failure)).ok();
    code
}

/// Becomes the user's program. Nothing but the standard streams stays open; the channel, which tells the shim that it
/// went well by closing, is the last to go.
pub(super) fn execute(
    program: &CString,
    plan: &ProcessPlan,
    filter: Option<&Filter>,
    channel: Channel,
) -> i32 {
    loam_sys::reset_signals();
    let channel = match loam_sys::move_to(channel.into_descriptor(), 3) {
        Ok(descriptor) => Channel::from_descriptor(descriptor),
        Err(_) => return 125,
    };
    let sealed = loam_sys::close_from(4)
        .explain(|| "closing descriptors failed".to_owned())
        .and_then(|()| seal(plan, filter));
    if let Err(failure) = sealed {
        return give_up(&channel, failure);
    }
    let error = loam_sys::execute(program, &plan.arguments, &plan.environment);
    let errno = Errno::from_io_error(&error).unwrap_or(Errno::INVAL);
    give_up(&channel, not_runnable(&plan.arguments[0], errno))
}
