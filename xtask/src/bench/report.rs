//! The table: as text for people, as JSON for programs, as SVG for pages.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use anyhow::Result;
use serde::Serialize;

use super::measure::Row;
use super::plot;
use crate::shell::output;

/// All that was measured.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    /// When and where.
    pub(crate) machine: String,
    /// Versions by engine.
    pub(crate) versions: BTreeMap<String, String>,
    /// Engines without figures, and why.
    pub(crate) missing: Vec<String>,
    /// The figures.
    pub(crate) rows: Vec<Row>,
}

impl Report {
    /// An empty report about this machine.
    pub(crate) fn new(missing: Vec<&'static str>) -> Self {
        let line = |program: &str, arguments: &[&str]| {
            output(Command::new(program).args(arguments)).unwrap_or_default().trim().to_owned()
        };
        let cpuinfo = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let model = cpuinfo.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or_default();
        let machine = format!(
            "{}, {} x {}, Linux {}",
            line("date", &["--utc", "+%Y-%m-%d"]),
            line("nproc", &[]),
            model.trim_start_matches([' ', '\t', ':']),
            line("uname", &["-r"]),
        );
        let missing = missing.into_iter().map(|name| format!("{name} (not on this machine)")).collect();
        Self { machine, versions: BTreeMap::new(), missing, rows: Vec::new() }
    }

    /// Writes `table.txt`, `table.json` and `table.svg`.
    pub(crate) fn write(&self, directory: &Path) -> Result<()> {
        std::fs::write(directory.join("table.txt"), self.text())?;
        std::fs::write(directory.join("table.json"), serde_json::to_string_pretty(self)? + "\n")?;
        std::fs::write(directory.join("table.svg"), plot::svg(&self.rows))?;
        Ok(())
    }

    /// The table in Markdown: medians, p95 of wall time, and what Loam needs as a share of each engine.
    pub(crate) fn text(&self) -> String {
        let mut text = format!("{}\n\n", self.machine);
        for (engine, version) in &self.versions {
            text.push_str(&format!("- {engine}: {version}\n"));
        }
        for missing in &self.missing {
            text.push_str(&format!("- no figures: {missing}\n"));
        }
        let mut scenario = "";
        for row in &self.rows {
            if row.scenario != scenario {
                scenario = &row.scenario;
                let figure = if scenario.contains("KiB") { "KiB" } else { "wall ms" };
                text.push_str(&format!(
                    "\n**{scenario}**\n\n| engine | {figure} | p95 | CPU ms | peak MiB | loam / it | loam / it, CPU |\n\
                     |---|---|---|---|---|---|---|\n"
                ));
            }
            text.push_str(&self.line(row));
        }
        text
    }

    fn line(&self, row: &Row) -> String {
        if let Some(reason) = &row.missing {
            return format!("| {} | no figures: {reason} | | | | | |\n", row.engine);
        }
        let loam = self.rows.iter().find(|other| other.scenario == row.scenario && other.engine == "loam");
        let ratio = |of: fn(&Row) -> Option<f64>| match (loam.and_then(of), of(row)) {
            (Some(ours), Some(theirs)) if row.engine != "loam" && theirs > 0.0 => {
                format!("{:.2}", ours / theirs)
            }
            _ => String::new(),
        };
        format!(
            "| {} | {} | {} | {} | {} | {} | {} |\n",
            row.engine,
            number(row.wall.median()),
            number(row.wall.p95()),
            number(row.cpu.median()),
            number(row.peak_mib.median()),
            ratio(|row| row.wall.median()),
            ratio(|row| row.cpu.median()),
        )
    }
}

/// Three significant digits are all that a shared machine gives.
fn number(value: Option<f64>) -> String {
    match value {
        None => String::new(),
        Some(value) if value < 10.0 => format!("{value:.2}"),
        Some(value) if value < 100.0 => format!("{value:.1}"),
        Some(value) => format!("{value:.0}"),
    }
}
