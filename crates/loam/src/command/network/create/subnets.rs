//! Joining `--subnet`, `--gateway` and `--ip-range`, which belong together by what lies in what.

use std::net::IpAddr;

use ipnet::IpNet;
use loam_model::SubnetSpec;

/// Gives each subnet its gateway and its range.
pub(super) fn join(
    subnets: &[IpNet],
    gateways: &[IpAddr],
    ranges: &[IpNet],
) -> Result<Vec<SubnetSpec>, String> {
    let plain = |subnet: &IpNet| SubnetSpec { subnet: *subnet, gateway: None, range: None };
    let mut specs: Vec<SubnetSpec> = subnets.iter().map(plain).collect();
    for gateway in gateways {
        let found = specs.iter_mut().find(|spec| spec.subnet.contains(gateway));
        let spec = found.ok_or_else(|| format!("gateway `{gateway}` is in none of the subnets"))?;
        if let Some(other) = spec.gateway.replace(*gateway) {
            return Err(format!("subnet `{}` has two gateways, `{other}` and `{gateway}`", spec.subnet));
        }
    }
    for range in ranges {
        let found = specs.iter_mut().find(|spec| spec.subnet.contains(range));
        let spec = found.ok_or_else(|| format!("range `{range}` is in none of the subnets"))?;
        if let Some(other) = spec.range.replace(*range) {
            return Err(format!("subnet `{}` has two ranges, `{other}` and `{range}`", spec.subnet));
        }
    }
    Ok(specs)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nets(texts: &[&str]) -> Vec<IpNet> {
        texts.iter().map(|text| text.parse().expect("valid")).collect()
    }

    fn addresses(texts: &[&str]) -> Vec<IpAddr> {
        texts.iter().map(|text| text.parse().expect("valid")).collect()
    }

    #[test]
    fn gateways_and_ranges_find_their_subnet_in_any_order() {
        let subnets = nets(&["10.1.0.0/24", "fd01::/64"]);
        let specs = join(&subnets, &addresses(&["fd01::9", "10.1.0.9"]), &nets(&["10.1.0.128/25"]));
        let specs = specs.expect("they fit");
        assert_eq!(specs[0].gateway, "10.1.0.9".parse().ok());
        assert_eq!(specs[0].range, "10.1.0.128/25".parse().ok());
        assert_eq!((specs[1].gateway, specs[1].range), ("fd01::9".parse().ok(), None));
        assert!(join(&subnets, &addresses(&["10.2.0.1"]), &[]).is_err());
        assert!(join(&subnets, &addresses(&["10.1.0.1", "10.1.0.2"]), &[]).is_err());
        assert!(join(&[], &[], &nets(&["10.1.0.128/25"])).is_err());
    }
}
