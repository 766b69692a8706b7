//! The programs of one family.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};

use super::ruleset::{Change, Table};
use crate::delegate::{Limits, run};
use crate::protocol::{CniError, Host, code};

/// How long a program may take; it may wait for the lock of another. And how many bytes it may say: the whole table of a
/// host with a hundred thousand rules is some ten million.
const LIMITS: Limits = Limits { time: Duration::from_secs(30), output: 64 << 20 };
/// How often a change is tried again when somebody else's came between.
const ATTEMPTS: u32 = 3;
/// The longest part of a program's words that is told.
const MAX_WORDS: usize = 500;

/// Whose packets: a family of addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Family {
    /// IPv4.
    Four,
    /// IPv6.
    Six,
}

impl Family {
    /// Both.
    pub const ALL: [Self; 2] = [Family::Four, Family::Six];

    /// The family of an address.
    pub fn of(address: std::net::IpAddr) -> Self {
        if address.is_ipv4() { Family::Four } else { Family::Six }
    }

    fn program(self, suffix: &str) -> String {
        let name = if self == Family::Four { "iptables" } else { "ip6tables" };
        format!("{name}-{suffix}")
    }
}

/// Why iptables can't be used.
#[derive(Debug, thiserror::Error)]
pub enum IptablesError {
    /// A program could not be run to its end.
    #[error("`{0}` {1}")]
    Run(String, String),
    /// A program refused.
    #[error("`{0}` failed: {1}")]
    Refused(String, String),
    /// The lock that keeps our own changes apart can't be taken.
    #[error("locking `{0}` failed")]
    Lock(PathBuf, #[source] io::Error),
}

impl From<IptablesError> for CniError {
    fn from(error: IptablesError) -> Self {
        match error {
            IptablesError::Run(..) => CniError::new(code::IO, error.to_string()),
            IptablesError::Refused(..) => CniError::new(code::INTERNAL, error.to_string()),
            IptablesError::Lock(ref path, ref cause) => {
                CniError::io(format!("locking `{}` failed", path.display()), cause)
            }
        }
    }
}

/// iptables of the network namespace of the calling thread. While it is open nobody else of ours changes rules.
#[derive(Debug)]
pub struct Iptables {
    _lock: File,
}

impl Iptables {
    /// Waits until nobody else of ours changes rules.
    pub fn open(host: &Host) -> Result<Self, IptablesError> {
        let path = host.state_directory.join("iptables.lock");
        let failed = |cause| IptablesError::Lock(path.clone(), cause);
        fs::create_dir_all(&host.state_directory).map_err(failed)?;
        let lock = File::options().create(true).append(true).open(&path).map_err(failed)?;
        flock(&lock, FlockOperation::LockExclusive).map_err(|errno| failed(errno.into()))?;
        Ok(Self { _lock: lock })
    }

    /// Reads a table.
    pub fn table(&self, family: Family, name: &'static str) -> Result<Table, IptablesError> {
        let text = call(&family.program("save"), &["-t", name], b"")?;
        Ok(Table::parse(name, &String::from_utf8_lossy(&text)))
    }

    /// Makes a change that is worked out from what the table holds, and gives that; an empty change is none.
    pub fn change(
        &mut self,
        family: Family,
        name: &'static str,
        fill: impl Fn(&Table, &mut Change),
    ) -> Result<Table, IptablesError> {
        let mut attempt = 1;
        loop {
            let table = self.table(family, name)?;
            let mut change = Change::default();
            fill(&table, &mut change);
            let Some(text) = change.to_text(name) else { return Ok(table) };
            match call(&family.program("restore"), &["--noflush", "-w"], text.as_bytes()) {
                // A rule that was to be removed may be gone.
                Err(IptablesError::Refused(..)) if attempt < ATTEMPTS => attempt += 1,
                result => return result.map(|_| table),
            }
        }
    }
}

/// Runs a program; gives what it says.
fn call(program: &str, arguments: &[&str], input: &[u8]) -> Result<Vec<u8>, IptablesError> {
    let path = find(program);
    let mut command = Command::new(&path);
    command.args(arguments);
    let output = run(command, input, LIMITS).map_err(|what| IptablesError::Run(program.to_owned(), what))?;
    if output.status.success() {
        return Ok(output.stdout);
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let mut words: String = said.split_whitespace().collect::<Vec<_>>().join(" ");
    if words.is_empty() {
        words = output.status.to_string();
    }
    let words: String = words.chars().take(MAX_WORDS).flat_map(char::escape_debug).collect();
    Err(IptablesError::Refused(program.to_owned(), words))
}

/// A program's path: by `PATH`, and where administrators' programs are, which runtimes often leave out of it.
fn find(program: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let more = ["/usr/sbin", "/sbin", "/usr/local/sbin"].map(PathBuf::from);
    let found = std::env::split_paths(&path).chain(more).map(|directory| directory.join(program));
    found.into_iter().find(|path| path.is_file()).unwrap_or_else(|| Path::new(program).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_is_missing_or_refuses_is_named() {
        let missing = call("iptables-nowhere", &[], b"").expect_err("there is none");
        assert!(missing.to_string().starts_with("`iptables-nowhere` can't be executed"), "{missing}");
        let refused = call("sh", &["-c", "echo one >&2; echo two >&2; exit 3"], b"").expect_err("it failed");
        assert_eq!(refused.to_string(), "`sh` failed: one two");
        let silent = call("sh", &["-c", "exit 3"], b"").expect_err("it failed");
        assert_eq!(silent.to_string(), "`sh` failed: exit status: 3");
        assert_eq!(CniError::from(missing).code, code::IO);
    }

    #[test]
    fn the_table_of_a_host_with_very_many_rules_is_read() {
        let rule = "-A KUBE-SERVICES -d 10.96.0.1/32 -p tcp -m comment --comment of-a-service -j KUBE-SVC-X";
        let script = format!("yes -- '{rule}' | head -n 250000");
        let text = call("sh", &["-c", &script], b"").expect("it is within the limit");
        assert!(text.len() > 20 << 20, "{}", text.len());
    }
}
