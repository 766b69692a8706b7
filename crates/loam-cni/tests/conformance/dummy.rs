//! `dummy`: a link that leads nowhere. Debian's package does not have it yet.

use serde_json::json;

use super::case::{Case, Step};

/// The cases.
pub(crate) fn cases() -> Vec<Case> {
    let config = json!({
        "type": "dummy",
        "ipam": {
            "type": "static", "addresses": [{ "address": "10.5.0.2/24" }, { "address": "fd05::2/64" }],
        },
    });
    vec![
        Case::new("addresses", config.clone()).version("1.1.0").needs("dummy").steps(&[
            Step::Status,
            Step::Add,
            Step::Add,
            Step::Check,
            Step::Gc(&[]),
            Step::Del,
            Step::Check,
            Step::Del,
            Step::DelBlind,
        ]),
        Case::new("an ADD that was killed", config).needs("dummy").killed(),
        Case::new("no address plugin", json!({ "type": "dummy" })).version("1.1.0"),
    ]
}
