//! `./x bench`: Loam beside the engines that are on this machine, and beside a floor: a small program that makes the
//! same namespaces, cgroup, overlay, mounts and veth by bare system calls, and unpacks the same layers in one pass.
//!
//! Every engine works in an [`arena`]: namespaces and cgroups of its own, its state on a fresh journalled file system
//! in a loop file. Rounds are interleaved (each engine once a round), wall time is taken around each command, CPU time
//! is what the kernel counted for the arena's cgroup: of everything that the engine started, daemons and all.

mod arena;
mod bare;
mod measure;
mod peers;
mod plot;
mod report;
pub(crate) mod runner;
mod scenarios;
mod store;

use std::path::PathBuf;

use anyhow::{Result, bail};

use crate::fixtures;
use crate::packages::{self, BENCH, RUN, TEST};
use crate::programs::{self, Profile};
use crate::shell::{cache, is_root, note, print};

const USAGE: &str = "\
usage: ./x bench [--rounds N] [--only SCENARIO,…] [--engines ENGINE,…]

  --rounds N    how often each command is measured (default 15; pulls a fifth of that, at least 3)
  --only        run-none, run-bridge, exec, starts, memory, create, prune, growth, pull (default: all)
  --images      small, python:gzip, python:zstd, many (default: all)
  --programs D  measures the programs in this directory instead of building them
  --engines     loam, floor, podman, ctr, crun, runc, crun-plain, runc-plain, skopeo+umoci, buildah, grootfs, loam-grootfs,
                floor-inflate, floor-hash (default: all that are there); crun and runc have the bundle that Loam makes, the
                plain ones that of `runc spec`; loam-grootfs is Loam under the command line of GrootFS, which needs
                tardis and mkfs.xfs beside it, and whose pulls make a container as well; floor-inflate and floor-hash are
                parts of what the floor does of a pull

The table is printed, and written as text, JSON and SVG below .cache/bench/.
";

/// What was asked for.
pub(crate) struct Options {
    pub(crate) rounds: usize,
    pub(crate) only: Vec<String>,
    pub(crate) engines: Vec<String>,
    pub(crate) programs: Option<PathBuf>,
    images: Vec<String>,
}

impl Options {
    fn parse(arguments: &[String]) -> Result<Option<Self>> {
        let mut options =
            Self { rounds: 15, only: Vec::new(), engines: Vec::new(), programs: None, images: Vec::new() };
        let mut words = arguments.iter();
        while let Some(word) = words.next() {
            let mut value = || words.next().ok_or_else(|| anyhow::anyhow!("`{word}` wants a value\n{USAGE}"));
            match word.as_str() {
                "--rounds" => options.rounds = value()?.parse()?,
                "--only" => options.only = value()?.split(',').map(str::to_owned).collect(),
                "--images" => options.images = value()?.split(',').map(str::to_owned).collect(),
                "--programs" => options.programs = Some(PathBuf::from(value()?)),
                "--engines" => options.engines = value()?.split(',').map(str::to_owned).collect(),
                "--help" | "-h" => return Ok(None),
                other => bail!("`{other}` is not an option\n{USAGE}"),
            }
        }
        Ok(Some(options))
    }

    /// Whether the pull of an image is wanted.
    pub(crate) fn wants_image(&self, image: &str) -> bool {
        self.images.is_empty() || self.images.iter().any(|name| name == image)
    }

    /// Whether a scenario is wanted.
    pub(crate) fn wants(&self, scenario: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|name| name == scenario)
    }
}

/// Runs the benchmark.
pub(crate) fn bench(arguments: &[String]) -> Result<()> {
    let Some(options) = Options::parse(arguments)? else { return print(USAGE) };
    if !is_root() {
        bail!("benchmarks make namespaces, mounts and cgroups and so need root; run `sudo ./x bench`");
    }
    packages::require(&[RUN, TEST])?;
    if let Err(error) = packages::require(&[BENCH]) {
        note(&format!("some peers are missing: {error}"));
    }
    let programs = match &options.programs {
        Some(directory) => directory.clone(),
        None => {
            note("building the release programs");
            programs::build_floor()?;
            programs::build(Profile::Release)?
        }
    };
    fixtures::all()?;
    let directory = cache().join("bench");
    std::fs::create_dir_all(&directory)?;
    let report = scenarios::measure_all(&options, &programs, &directory)?;
    report.write(&directory)?;
    print(&report.text())
}
