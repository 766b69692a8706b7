//! `loam network create`.

mod networker;
mod subnets;

use std::net::IpAddr;
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use ipnet::IpNet;
use loam_model::{AddressDriver, ErrorKind, Failure, NetworkSource, NetworkSpec};

use super::Outcome;
use crate::exit::Exit;
use crate::flags::labels;
use crate::flags::words::read_text;
use crate::output;
use crate::wiring::Wiring;

/// The flags of `network create`.
#[derive(Args, Debug)]
pub(crate) struct Create {
    /// The plugin that makes the interfaces: bridge, ptp, macvlan, ipvlan, or any other one; or external-networker, a
    /// program that was made for Guardian
    #[arg(short, long, value_name = "PLUGIN")]
    driver: Option<String>,
    /// A subnet; may be repeated, for IPv4 and IPv6 [default: free ones]
    #[arg(long = "subnet", value_name = "SUBNET")]
    subnets: Vec<IpNet>,
    /// The gateway of the subnet that it is in [default: the subnet's first address]
    #[arg(long = "gateway", value_name = "ADDRESS")]
    gateways: Vec<IpAddr>,
    /// The part of a subnet that containers get addresses from [default: all of it]
    #[arg(long = "ip-range", value_name = "SUBNET")]
    ranges: Vec<IpNet>,
    /// Who gives addresses: this host, a DHCP server, or nobody [default: this host; a DHCP server for drivers with a
    /// parent, without --subnet]
    #[arg(long, value_name = "DRIVER")]
    ipam_driver: Option<IpamDriver>,
    /// The host's interface that macvlan, ipvlan and the like stand on
    #[arg(long, value_name = "INTERFACE")]
    parent: Option<String>,
    /// Containers reach each other and nothing else, not even this host
    #[arg(long)]
    internal: bool,
    /// With IPv6
    #[arg(long, conflicts_with = "no_ipv6")]
    ipv6: bool,
    /// Without IPv6
    #[arg(long)]
    no_ipv6: bool,
    /// The largest packet in bytes
    #[arg(long, value_name = "BYTES", value_parser = clap::value_parser!(u32).range(68..=65535))]
    mtu: Option<u32>,
    /// Keep containers of the network from each other
    #[arg(long)]
    isolate: bool,
    /// Each container is in a subnet and on a bridge of its own, of the addresses of `--subnet`
    #[arg(long)]
    subnet_per_container: bool,
    /// A name server of the network's containers
    #[arg(long = "dns", value_name = "ADDRESS")]
    name_servers: Vec<IpAddr>,
    /// Set a label
    #[arg(short, long = "label", value_name = "KEY[=VALUE]")]
    labels: Vec<String>,
    /// Set a key of the driver's own: bridge, vlan, promisc; mode; vlanId; program, argument (repeatable), external_ip
    #[arg(short, long = "opt", value_name = "KEY=VALUE")]
    options: Vec<String>,
    /// Take a CNI configuration list from this file in place of everything else
    #[arg(long, value_name = "FILE", conflicts_with_all = ["driver", "subnets", "gateways", "ranges", "ipam_driver",
        "parent", "internal", "ipv6", "no_ipv6", "mtu", "isolate", "subnet_per_container", "name_servers", "labels",
        "options", "name"])]
    conf: Option<PathBuf>,
    /// The network's name
    #[arg(value_name = "NETWORK", required_unless_present = "conf")]
    name: Option<String>,
}

/// Who gives addresses.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum IpamDriver {
    HostLocal,
    Dhcp,
    None,
}

impl Create {
    pub(super) fn run(self, wiring: &Wiring) -> Outcome {
        let source = match (&self.conf, &self.name) {
            (Some(file), _) => NetworkSource::Configuration(read_text("configuration", file)?),
            (None, name) => {
                let name = name.as_deref().unwrap_or_default();
                let name =
                    name.parse().map_err(|error: loam_model::InvalidName| invalid(error.to_string()))?;
                NetworkSource::Spec(name, Box::new(self.spec()?))
            }
        };
        let made = wiring.engine()?.create_network(&source);
        let made = made.map_err(|failure| match &self.conf {
            Some(file) => failure.within(format!("no network can be made of `{}`", file.display())),
            None => failure,
        })?;
        output::print_line(made.name.as_str())?;
        Ok(Exit::SUCCESS)
    }

    fn spec(&self) -> Result<NetworkSpec, Failure> {
        let mut spec = NetworkSpec {
            driver: self.driver.clone(),
            parent: self.parent.clone(),
            subnets: subnets::join(&self.subnets, &self.gateways, &self.ranges).map_err(invalid)?,
            addresses: self.ipam_driver.map(|driver| match driver {
                IpamDriver::HostLocal => AddressDriver::HostLocal,
                IpamDriver::Dhcp => AddressDriver::Dhcp,
                IpamDriver::None => AddressDriver::None,
            }),
            internal: self.internal,
            ipv6: (self.ipv6 || self.no_ipv6).then_some(self.ipv6),
            mtu: self.mtu,
            isolate: self.isolate,
            subnet_per_container: self.subnet_per_container,
            name_servers: self.name_servers.clone(),
            labels: labels(&[], &self.labels)?,
            ..NetworkSpec::default()
        };
        let is_program = self.driver.as_deref() == Some(networker::DRIVER);
        for option in &self.options {
            let taken = is_program && networker::set(&mut spec, option).map_err(invalid)?;
            if !taken {
                set(&mut spec, option).map_err(invalid)?;
            }
        }
        Ok(spec)
    }
}

fn invalid(sentence: String) -> Failure {
    Failure::new(ErrorKind::Invalid, sentence)
}

/// Sets what `--opt KEY=VALUE` says: other engines' keys for what has a flag here, else the driver's own.
fn set(spec: &mut NetworkSpec, option: &str) -> Result<(), String> {
    let (key, value) = option
        .split_once('=')
        .filter(|(key, _)| !key.is_empty())
        .ok_or_else(|| format!("`--opt {option}` is not KEY=VALUE"))?;
    let wrong = || format!("`--opt {option}` can't be used: `{value}` is not what `{key}` takes");
    match key {
        "mtu" | "com.docker.network.driver.mtu" => spec.mtu = Some(value.parse().map_err(|_| wrong())?),
        "parent" => spec.parent = Some(value.to_owned()),
        "isolate" => spec.isolate = value.parse().map_err(|_| wrong())?,
        "bridge" | "com.docker.network.bridge.name" => {
            spec.options.insert("bridge".to_owned(), value.to_owned());
        }
        "macvlan_mode" | "ipvlan_mode" => {
            spec.options.insert("mode".to_owned(), value.to_owned());
        }
        _ => {
            spec.options.insert(key.to_owned(), value.to_owned());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_that_have_a_flag_mean_the_same() {
        let mut spec = NetworkSpec::default();
        for option in
            ["mtu=1400", "parent=eth0", "isolate=true", "com.docker.network.bridge.name=br7", "mode=l3"]
        {
            set(&mut spec, option).expect("valid");
        }
        assert_eq!((spec.mtu, spec.parent.as_deref(), spec.isolate), (Some(1400), Some("eth0"), true));
        assert_eq!((spec.options["bridge"].as_str(), spec.options["mode"].as_str()), ("br7", "l3"));
        for bad in ["mtu", "=1", "mtu=much", "isolate=yes"] {
            assert!(set(&mut spec, bad).is_err(), "{bad}");
        }
    }
}
