//! `--opt` of networks with an external networker.

use std::net::IpAddr;
use std::path::PathBuf;

use loam_model::{NetworkSpec, NetworkerSpec};

/// The name of the driver.
pub(super) const DRIVER: &str = "external-networker";

/// Sets what such a network has a key for; says whether it has one for this.
pub(super) fn set(spec: &mut NetworkSpec, option: &str) -> Result<bool, String> {
    let Some((key, value)) = option.split_once('=') else { return Ok(false) };
    if !matches!(key, "program" | "argument" | "external_ip") {
        return Ok(false);
    }
    let networker = spec.networker.get_or_insert_with(|| NetworkerSpec {
        program: PathBuf::new(),
        arguments: Vec::new(),
        external_address: None,
    });
    match key {
        "program" => networker.program = value.into(),
        "argument" => networker.arguments.push(value.to_owned()),
        _ => {
            let address: Result<IpAddr, _> = value.parse();
            let wrong = |_| format!("`--opt {option}` can't be used: `{value}` is no address");
            networker.external_address = Some(address.map_err(wrong)?);
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn program_and_arguments_are_taken_in_order() {
        let mut spec = NetworkSpec::default();
        for option in ["program=/p", "argument=--config", "argument=/c=d", "external_ip=192.0.2.1"] {
            assert_eq!(set(&mut spec, option), Ok(true), "{option}");
        }
        let networker = spec.networker.clone().expect("set");
        assert_eq!(
            (networker.program, networker.arguments),
            ("/p".into(), vec!["--config".into(), "/c=d".into()])
        );
        assert_eq!(set(&mut spec, "mtu=1400"), Ok(false));
        assert!(set(&mut spec, "external_ip=here").is_err());
    }
}
