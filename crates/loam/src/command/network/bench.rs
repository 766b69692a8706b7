//! `loam network bench`: measures CNI plugins. The flags `--as-worker` and `--as-caller` are for the program itself,
//! which runs again inside the namespaces that it measures in.

use std::error::Error;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, ValueEnum};
use loam_model::{ErrorKind, Failure};
use loam_network_bench::{BenchError, Contender, MeasuredList, Plan, Reentry, Report, Scenario};

use crate::command::Outcome;
use crate::exit::Exit;
use crate::wiring::{PLUGINS, helper, own_program};
use crate::{output, render};

/// The flags of `bench`.
#[derive(Args, Debug)]
pub(crate) struct Bench {
    /// Measure the plugins in this directory too
    #[arg(long, value_name = "DIR")]
    plugin_dir: Option<PathBuf>,
    /// Measure the plugins in this directory too, and tell ratios to them
    #[arg(long, value_name = "DIR")]
    compare: Option<PathBuf>,
    /// Measure with this configuration or list in place of the built-in ones
    #[arg(long, value_name = "FILE")]
    conf: Option<PathBuf>,
    /// How often each verb is measured
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    rounds: u16,
    /// How many attachments growth goes up to
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u16).range(1..=4000))]
    attachments: u16,
    /// How many callers there are at most at once
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=64))]
    parallel: u16,
    /// Measure only these: latency, growth, parallel, leftovers, kills, data-path, rules, promises
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    only: Vec<Scenario>,
    /// Measure only these contenders: loam, loam-cni, or a directory given above
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    contenders: Vec<String>,
    /// How many seconds a plugin may take before it is ended
    #[arg(long, value_name = "SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u16).range(1..=600))]
    timeout: u16,
    /// What the moments follow from at which callers are killed
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    seed: u64,
    /// Print text, or json
    #[arg(
        long,
        short = 'o',
        visible_alias = "output",
        value_name = "FORMAT",
        default_value = "text",
        hide_possible_values = true
    )]
    format: Format,
    /// Write the plots to this file
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
    // Not `exclusive`: clap would count what the environment gives to the global flags.
    #[arg(long, hide = true)]
    as_worker: bool,
    #[arg(long, hide = true, conflicts_with = "as_worker")]
    as_caller: bool,
}

/// In which form the report is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// Tables
    Text,
    /// For programs
    Json,
}

impl Bench {
    pub(super) fn run(self) -> Outcome {
        if self.as_worker || self.as_caller {
            return self.serve();
        }
        if !rustix::process::geteuid().is_root() {
            return Err(refused(BenchError::NotRoot));
        }
        let bench = self.prepare()?;
        // Before hours of measuring, not after them.
        if let Some(path) = &self.svg {
            write(path, "")?;
        }
        let report = loam_network_bench::run(&bench, &mut |line| render::note(line)).map_err(refused)?;
        self.print(&report)?;
        Ok(exit(&report))
    }

    fn serve(&self) -> Outcome {
        let (mut input, mut output) = (io::stdin().lock(), io::stdout().lock());
        let served = match self.as_worker {
            true => loam_network_bench::serve(&mut input, &mut output),
            false => loam_network_bench::call_once(&mut input, &mut output),
        };
        served.map_err(|error| Failure::new(ErrorKind::Internal, "measuring failed").caused_by(error))?;
        Ok(Exit::SUCCESS)
    }

    fn prepare(&self) -> Result<loam_network_bench::Bench, Failure> {
        let mut contenders =
            vec![Contender::in_process(), Contender::multi_call(helper(&own_program()?, PLUGINS))];
        for directory in self.plugin_dir.iter().chain(&self.compare) {
            if !directory.is_dir() {
                let message = format!("`{}` is no directory of plugins", directory.display());
                return Err(Failure::new(ErrorKind::Invalid, message));
            }
            let contender = Contender::directory(directory.clone());
            if !contenders.contains(&contender) {
                contenders.push(contender);
            }
        }
        if let Some(unknown) =
            self.contenders.iter().find(|name| !contenders.iter().any(|one| one.name == **name))
        {
            let names: Vec<&str> = contenders.iter().map(|one| one.name.as_str()).collect();
            let message = format!("`{unknown}` is no contender; there are {}", names.join(", "));
            return Err(Failure::new(ErrorKind::Invalid, message));
        }
        contenders.retain(|one| self.contenders.is_empty() || self.contenders.contains(&one.name));
        let compared = self.compare.as_ref().or(self.plugin_dir.as_ref());
        Ok(loam_network_bench::Bench {
            contenders,
            compared: compared.map(|directory| directory.display().to_string()),
            lists: self.conf.as_deref().map_or_else(|| Ok(MeasuredList::defaults()), read_list)?,
            plan: self.plan(),
            reentry: reentry(),
        })
    }

    fn plan(&self) -> Plan {
        let scenarios = if self.only.is_empty() { Scenario::ALL.to_vec() } else { self.only.clone() };
        Plan {
            scenarios,
            rounds: self.rounds.into(),
            attachments: self.attachments.into(),
            parallel: self.parallel.into(),
            time_limit: Duration::from_secs(self.timeout.into()),
            seed: self.seed,
            ..Plan::default()
        }
    }

    fn print(&self, report: &Report) -> Result<(), Failure> {
        if let Some(path) = &self.svg {
            write(path, &report.svg())?;
        }
        match self.format {
            Format::Text => output::print(&report.text()),
            Format::Json => output::print_json(report),
        }
    }
}

/// Whether anybody could be measured with anything. What the figures are, and who of several could not be measured, is
/// the report's business.
fn exit(report: &Report) -> Exit {
    match report.contenders.iter().all(|row| row.failure.is_some()) {
        true => Exit::FOUND_WRONG,
        false => Exit::SUCCESS,
    }
}

fn reentry() -> Reentry {
    let words = |flag: &str| ["network", "bench", flag].map(str::to_owned).to_vec();
    Reentry { worker: words("--as-worker"), caller: words("--as-caller") }
}

fn read_list(path: &Path) -> Result<Vec<MeasuredList>, Failure> {
    let refused = |error: Box<dyn Error + Send + Sync>| {
        let message = format!("`{}` can't be used as a network's configuration", path.display());
        Failure::new(ErrorKind::Invalid, message).caused_by(error)
    };
    let text = std::fs::read_to_string(path).map_err(|error| refused(error.into()))?;
    Ok(vec![MeasuredList::parse(&text).map_err(|error| refused(error.into()))?])
}

fn write(path: &Path, text: &str) -> Result<(), Failure> {
    std::fs::write(path, text).map_err(|error| {
        let message = format!("`{}` can't be written", path.display());
        Failure::new(ErrorKind::of_io(&error), message).caused_by(error)
    })
}

fn refused(error: BenchError) -> Failure {
    match error {
        BenchError::NotRoot => {
            Failure::new(ErrorKind::Denied, error.to_string()).hint("run it again with `sudo`")
        }
        BenchError::Nothing => Failure::new(ErrorKind::Invalid, error.to_string()),
        BenchError::Start(..) => Failure::new(ErrorKind::Internal, "measuring failed").caused_by(error),
    }
}
