//! Asks the keeper of leases, and starts one when nobody listens.

use std::io;
use std::os::fd::BorrowedFd;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command as Program;
use std::time::Duration;

use loam_dhcp::{Answer, Call, Caller, Refusal, code};

use crate::delegate::{self, Limits};
use crate::protocol::{CniError, LeaseKeeping};

/// What the process that starts a keeper may take.
const LIMITS: Limits = Limits { time: Duration::from_secs(10), output: 4096 };

/// When a keeper is started that is not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Start {
    /// Always.
    Always,
    /// When an earlier one has left leases.
    ForLeases,
    /// Never.
    Never,
}

/// Asks the keeper at a socket; `None` when there is none, and none was started.
pub(super) fn ask(
    socket: &Path,
    leases: &LeaseKeeping,
    call: Call,
    namespace: Option<BorrowedFd<'_>>,
    start: Start,
) -> Result<Option<Answer>, CniError> {
    let started = |cause: &io::Error| {
        let wanted = match start {
            Start::Always => true,
            Start::ForLeases => loam_dhcp::has_leases(socket)?,
            Start::Never => false,
        };
        if wanted {
            start_keeper(socket, leases, cause)?;
        }
        Ok(wanted)
    };
    let caller = Caller { socket, patience: leases.patience, start: &started };
    Ok(loam_dhcp::ask(&caller, call, namespace)?)
}

/// Starts a keeper, which is ready when this returns. When another one was faster, that is as good.
fn start_keeper(socket: &Path, leases: &LeaseKeeping, cause: &io::Error) -> Result<(), Refusal> {
    let Some(program) = &leases.program else {
        return Err(Refusal::unreachable(socket, cause));
    };
    let mut child = Program::new(program);
    child.arg0("loam-cni").args(["dhcp", "keep", "-socketpath"]).arg(socket).current_dir("/").env_clear();
    let failed = |what: String| {
        let message = format!("starting `{}` to keep DHCP leases failed", program.display());
        Refusal { code: code::INTERNAL, message, details: what }
    };
    let output = delegate::run(child, b"", LIMITS).map_err(|what| failed(format!("it {what}")))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(failed(said.trim().escape_debug().to_string()));
    }
    Ok(())
}
