//! `loam network check`.

use clap::Args;
use loam_engine::NetworkFinding;
use loam_model::{NetworkName, escaped};
use serde::Serialize;

use super::{FormatFlag, Outcome, named};
use crate::exit::Exit;
use crate::output;
use crate::wiring::Wiring;

/// The flags of `network check`.
#[derive(Args, Debug)]
pub(crate) struct Check {
    /// Only these networks
    #[arg(value_name = "NETWORK")]
    networks: Vec<String>,
    #[command(flatten)]
    format: FormatFlag,
}

/// A network and what is wrong with it.
#[derive(Debug, Serialize)]
struct Checked {
    network: NetworkName,
    findings: Vec<NetworkFinding>,
}

impl Check {
    pub(super) fn run(self, wiring: &Wiring) -> Outcome {
        let engine = wiring.engine()?;
        let names = match self.networks.is_empty() {
            true => engine.networks()?.networks.into_iter().map(|network| network.name).collect(),
            false => self.networks.iter().map(|name| named(name)).collect::<Result<Vec<_>, _>>()?,
        };
        let mut checked = Vec::new();
        for network in names {
            checked.push(Checked { findings: engine.check_network(&network)?, network });
        }
        if self.format.is_json() {
            output::print_json(&checked)?;
        } else {
            output::print(&checked.iter().map(text).collect::<String>())?;
        }
        let well = checked.iter().all(|one| one.findings.is_empty());
        Ok(if well { Exit::SUCCESS } else { Exit::FOUND_WRONG })
    }
}

fn text(checked: &Checked) -> String {
    if checked.findings.is_empty() {
        return format!("{}: well\n", checked.network);
    }
    let line = |finding: &NetworkFinding| {
        let of = finding.container.as_ref().map(|name| format!("container {name}: ")).unwrap_or_default();
        format!("{}: {of}{}\n", checked.network, escaped(&finding.problem))
    };
    checked.findings.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_finding_is_a_line() {
        let network: NetworkName = "db".parse().expect("valid");
        assert_eq!(text(&Checked { network: network.clone(), findings: Vec::new() }), "db: well\n");
        let finding = NetworkFinding { container: "web".parse().ok(), problem: "gone\n".to_owned() };
        let checked = Checked { network, findings: vec![finding] };
        assert_eq!(text(&checked), "db: container web: gone\\n\n");
    }
}
