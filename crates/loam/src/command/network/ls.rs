//! `loam network ls`.

use clap::Args;
use loam_model::NetworkDescription;

use super::{FormatFlag, Outcome};
use crate::exit::Exit;
use crate::table::Table;
use crate::wiring::Wiring;
use crate::{output, render};

/// The flags of `network ls`.
#[derive(Args, Debug)]
pub(crate) struct Ls {
    /// Print names only
    #[arg(short, long)]
    quiet: bool,
    #[command(flatten)]
    format: FormatFlag,
}

impl Ls {
    pub(super) fn run(self, wiring: &Wiring) -> Outcome {
        let listing = wiring.engine()?.networks()?;
        if self.format.is_json() {
            output::print_json(&listing.networks)?;
        } else if self.quiet {
            let lines = listing.networks.iter().map(|network| format!("{}\n", network.name));
            output::print(&lines.collect::<String>())?;
        } else {
            output::print(&table(&listing.networks))?;
        }
        listing.problems.iter().for_each(|problem| render::warning(problem));
        Ok(Exit::SUCCESS)
    }
}

fn table(networks: &[NetworkDescription]) -> String {
    let mut table = Table::new(&["NAME", "DRIVER", "INTERFACE", "SUBNETS"]);
    for network in networks {
        let subnets: Vec<String> = network.subnets.iter().map(ToString::to_string).collect();
        table.row([
            network.name.to_string(),
            network.driver.clone(),
            network.interface.clone().unwrap_or_default(),
            subnets.join(", "),
        ]);
    }
    table.render()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_for_each_network() {
        let network = NetworkDescription {
            name: "db".parse().expect("valid"),
            driver: "bridge".to_owned(),
            plugins: Vec::new(),
            cni_version: "1.1.0".to_owned(),
            interface: Some("loam1".to_owned()),
            subnets: ["10.99.0.0/24", "fd00::/64"].map(|text| text.parse().expect("valid")).to_vec(),
            internal: false,
            capabilities: Vec::new(),
            labels: Default::default(),
            file: None,
            configuration: serde_json::Value::Null,
        };
        insta::assert_snapshot!(table(&[network]), @r"
        NAME  DRIVER  INTERFACE  SUBNETS
        db    bridge  loam1      10.99.0.0/24, fd00::/64
        ");
    }
}
