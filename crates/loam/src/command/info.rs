//! `loam info`: what this host can do, and where things are. It needs no rights, though
//! without root's it can't try everything; and it leaves nothing.

mod features;
mod host;

use std::env;
use std::path::{Path, PathBuf};

use clap::Args;
use loam_model::{CgroupDriver, Failure, QuotaMechanism};
use serde::Serialize;

use super::{FormatFlag, Outcome};
use crate::exit::Exit;
use crate::output;
use crate::table::Table;
use crate::wiring::{SHIM, UNPACKER, Wiring, helper};
use host::Host;

/// Runtimes that are looked for.
const RUNTIMES: [&str; 5] = ["crun", "runc", "youki", "runsc", "kata-runtime"];

/// The flags of `info`.
#[derive(Args, Debug)]
pub(crate) struct Info {
    #[command(flatten)]
    format: FormatFlag,
}

/// Everything that `info` says.
#[derive(Debug, Serialize)]
struct Report {
    version: &'static str,
    root: PathBuf,
    run: PathBuf,
    database_exists: bool,
    shim: PathBuf,
    shim_exists: bool,
    unpacker: PathBuf,
    unpacker_exists: bool,
    runtimes: Vec<PathBuf>,
    cgroup_driver: Option<CgroupDriver>,
    /// Why there is no driver.
    cgroup_driver_failure: Option<String>,
    /// What enforces disk limits in the state directory; absent when that can't be told.
    disk_quota: Option<QuotaMechanism>,
    host: Host,
}

impl Info {
    pub(super) fn run(self, wiring: &Wiring) -> Outcome {
        let report = report(wiring)?;
        match self.format.is_json() {
            true => output::print_json(&report)?,
            false => output::print(&report.render())?,
        }
        Ok(Exit::SUCCESS)
    }
}

fn report(wiring: &Wiring) -> Result<Report, Failure> {
    let root = wiring.root()?;
    let program = env::current_exe().unwrap_or_default();
    let (shim, unpacker) = (helper(&program, SHIM), helper(&program, UNPACKER));
    let path = env::var_os("PATH").unwrap_or_default();
    let find =
        |name: &&str| env::split_paths(&path).map(|place| place.join(name)).find(|path| path.is_file());
    let (cgroup_driver, cgroup_driver_failure) = match wiring.cgroup_driver() {
        Ok(driver) => (Some(driver), None),
        Err(failure) => (None, Some(failure.chain())),
    };
    Ok(Report {
        version: env!("CARGO_PKG_VERSION"),
        database_exists: root.join("loam.db").exists(),
        disk_quota: wiring.quota_mechanism(),
        root,
        run: wiring.run()?,
        shim_exists: shim.is_file(),
        shim,
        unpacker_exists: unpacker.is_file(),
        unpacker,
        runtimes: RUNTIMES.iter().filter_map(find).collect(),
        cgroup_driver,
        cgroup_driver_failure,
        host: Host::look(Path::new("/"), wiring.host_report(), &wiring.mount_ways()),
    })
}

impl Report {
    fn render(&self) -> String {
        let mut table = Table::without_headings();
        let mut row = |name: &str, value: String| table.row([name.to_owned(), value]);
        row("version", self.version.to_owned());
        row("state directory", note(&self.root, self.database_exists, "nothing there yet"));
        row("run directory", self.run.display().to_string());
        row("shim", note(&self.shim, self.shim_exists, "missing"));
        row("unpacker", note(&self.unpacker, self.unpacker_exists, "missing"));
        let runtimes = self.runtimes.iter().map(|path| path.display().to_string());
        row("runtimes", ["embedded".to_owned()].into_iter().chain(runtimes).collect::<Vec<_>>().join(", "));
        let driver = self.cgroup_driver.map(|driver| driver.to_string());
        row("cgroup driver", driver.or(self.cgroup_driver_failure.clone()).unwrap_or_default());
        row("disk limits by", self.disk_quota.map_or("unknown", QuotaMechanism::as_str).to_owned());
        for (name, value) in self.host.rows() {
            row(name, value);
        }
        table.render()
    }
}

fn note(path: &Path, well: bool, otherwise: &str) -> String {
    if well { path.display().to_string() } else { format!("{} ({otherwise})", path.display()) }
}
