//! New networks that have an external networker in the place of plugins.

use loam_model::{ErrorKind, Failure, NetworkName, NetworkSpec, Result};
use serde_json::{Value, json};

use crate::conflist::OWN_KEY;
use crate::external::TYPE;

/// Whether the network shall have one.
pub(super) fn is_wanted(spec: &NetworkSpec) -> bool {
    spec.driver.as_deref() == Some(TYPE) || spec.networker.is_some()
}

/// Refuses what the program decides by itself, and a program that is not named.
pub(super) fn check(name: &NetworkName, spec: &NetworkSpec) -> Result<()> {
    let invalid = |message: String| Err(Failure::new(ErrorKind::Invalid, message));
    let Some(networker) = &spec.networker else {
        let message = format!("network `{name}` needs a program for driver `{TYPE}`");
        return Err(Failure::new(ErrorKind::Invalid, message).hint("name it with `--opt program=PATH`"));
    };
    if spec.driver.as_deref() != Some(TYPE) {
        let driver = spec.driver.as_deref().unwrap_or("bridge");
        return invalid(format!("driver `{driver}` has no program: that is for `{TYPE}`"));
    }
    if !networker.program.is_absolute() {
        let program = networker.program.display();
        return invalid(format!("the program `{program}` of network `{name}` is not an absolute path"));
    }
    let plain = NetworkSpec {
        driver: spec.driver.clone(),
        networker: spec.networker.clone(),
        labels: spec.labels.clone(),
        ..NetworkSpec::default()
    };
    if *spec != plain {
        return invalid(format!(
            "an external networker decides on addresses, packets and names of network `{name}` itself"
        ));
    }
    Ok(())
}

/// Writes the list.
pub(super) fn text(name: &NetworkName, spec: &NetworkSpec) -> String {
    let mut plugin = json!({ "type": TYPE });
    if let Some(networker) = &spec.networker {
        plugin["program"] = networker.program.display().to_string().into();
        plugin["arguments"] = networker.arguments.clone().into();
        if let Some(address) = networker.external_address {
            plugin["externalAddress"] = Value::from(address.to_string());
        }
    }
    let list = json!({
        "cniVersion": "1.1.0",
        "name": name.as_str(),
        OWN_KEY: { "labels": spec.labels },
        "plugins": [plugin],
    });
    format!("{list:#}\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conflist::NetworkList;
    use loam_model::NetworkerSpec;

    fn spec(program: &str) -> NetworkSpec {
        let networker = NetworkerSpec {
            program: program.into(),
            arguments: vec!["garden-network".to_owned(), "--root".to_owned()],
            external_address: "192.0.2.1".parse().ok(),
        };
        NetworkSpec { driver: Some(TYPE.to_owned()), networker: Some(networker), ..NetworkSpec::default() }
    }

    #[test]
    fn a_list_names_the_program_and_its_arguments() {
        let name = "cf".parse().expect("valid");
        check(&name, &spec("/p")).expect("sensible");
        let list = NetworkList::parse(text(&name, &spec("/p"))).expect("a list that we can read");
        assert_eq!(list.value()["plugins"][0]["arguments"], json!(["garden-network", "--root"]));
        assert!(list.networker.is_some());
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let name = "cf".parse().expect("valid");
        for (spec, said) in [
            (
                NetworkSpec { networker: None, ..spec("/p") },
                "network `cf` needs a program for driver `external-networker`",
            ),
            (spec("p"), "the program `p` of network `cf` is not an absolute path"),
            (
                NetworkSpec { driver: None, ..spec("/p") },
                "driver `bridge` has no program: that is for `external-networker`",
            ),
            (
                NetworkSpec { mtu: Some(1400), ..spec("/p") },
                "an external networker decides on addresses, packets and names of network `cf` itself",
            ),
        ] {
            assert_eq!(check(&name, &spec).expect_err(said).to_string(), said);
        }
    }
}
