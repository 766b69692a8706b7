//! Garden's rules as the network seam's.

use std::net::IpAddr;

use loam_garden_wire::NetOutRule;
use loam_model::{
    AddressRange, ConnectionRate, EgressAction, EgressList, EgressPolicy, EgressProtocol, EgressRule,
    PortRange,
};

use crate::arguments::PolicyOptions;
use crate::error::NetworkerError;

/// How much of a handle a line of the kernel's log begins with, as in Guardian.
const LOGGED_HANDLE: usize = 28;
/// The port of name servers.
const DNS: PortRange = PortRange { first: 53, last: 53 };

/// What rules of a container allow.
pub(crate) fn allowed(rules: &[NetOutRule]) -> Result<Vec<EgressRule>, NetworkerError> {
    let numbered = rules.iter().zip(1..);
    numbered
        .map(|(rule, number)| rule.to_egress().map_err(|why| NetworkerError::Rule { number, why }))
        .collect()
}

/// What a container may reach: its rules first, then what the operator refuses, then all or nothing.
pub(crate) fn policy(
    handle: &str,
    rules: &[NetOutRule],
    options: &PolicyOptions,
    name_servers: &[IpAddr],
) -> Result<EgressPolicy, NetworkerError> {
    let mut allowed = allowed(rules)?;
    allowed.extend(name_servers.iter().flat_map(|server| to_name_server(*server)));
    let otherwise = if options.deny_by_default { EgressAction::Reject } else { EgressAction::Allow };
    if !options.deny_networks.is_empty() {
        allowed.push(EgressRule {
            action: EgressAction::Reject,
            networks: options.deny_networks.iter().map(|net| AddressRange::from(*net)).collect(),
            ..EgressRule::default()
        });
    }
    let host = if options.allow_host_access { EgressAction::Allow } else { EgressAction::Reject };
    let common = EgressList {
        log_prefix: format!("{} ", handle.chars().take(LOGGED_HANDLE).collect::<String>()),
        logs_per_second: options.logs_per_second,
        log_refused: options.log_refused,
        ..EgressList::default()
    };
    let rate = options
        .connections_per_second
        .map(|per_second| ConnectionRate { per_second, burst: options.connections_burst });
    Ok(EgressPolicy {
        to_others: EgressList { rules: allowed, otherwise, rate, ..common.clone() },
        to_host: EgressList {
            rules: name_servers.iter().flat_map(|server| to_name_server(*server)).collect(),
            otherwise: host,
            ..common
        },
        guarded: true,
    })
}

fn to_name_server(server: IpAddr) -> [EgressRule; 2] {
    let networks = vec![AddressRange { first: server, last: server }];
    [EgressProtocol::Udp(vec![DNS]), EgressProtocol::Tcp(vec![DNS])].map(|protocol| EgressRule {
        protocol,
        networks: networks.clone(),
        ..EgressRule::default()
    })
}

#[cfg(test)]
mod tests {
    use loam_model::IcmpMessages;

    use super::*;

    fn rules(text: &str) -> Result<EgressPolicy, NetworkerError> {
        let rules: Vec<NetOutRule> = serde_json::from_str(text).expect("JSON");
        policy("handle", &rules, &PolicyOptions::default(), &[])
    }

    #[test]
    fn every_form_of_a_rule_is_understood() {
        let text = r#"[{}, {"protocol":1,"networks":[{"start":"10.0.0.1","end":"10.0.0.9"},{"end":"::ffff:1.2.3.4"}],
            "ports":[{"start":80,"end":90}],"log":true},
            {"protocol":2,"networks":null,"ports":null}, {"protocol":3,"icmps":{"code":0}}, {"protocol":4,"icmps":{"type":128}}]"#;
        let policy = rules(text).expect("valid");
        let list = policy.to_others.rules;
        assert_eq!(list[0], EgressRule::default());
        assert_eq!(list[1].networks[1].first.to_string(), "1.2.3.4");
        assert!(list[1].log);
        assert_eq!(list[1].protocol, EgressProtocol::Tcp(vec![PortRange { first: 80, last: 90 }]));
        assert_eq!(list[2].protocol, EgressProtocol::Udp(vec![]));
        assert_eq!(list[3].protocol, EgressProtocol::Icmp(Some(IcmpMessages { kind: 0, code: Some(0) })));
        assert_eq!(list[4].protocol, EgressProtocol::IcmpV6(Some(IcmpMessages { kind: 128, code: None })));
        assert_eq!(policy.to_others.otherwise, EgressAction::Allow);
        assert_eq!(policy.to_host.otherwise, EgressAction::Reject);
        assert_eq!(policy.to_others.log_prefix, "handle ");
    }

    #[test]
    fn rules_that_make_no_sense_are_named() {
        for (text, why) in [
            (r#"[{}, {"protocol":9}]"#, "rule 2 can't be used: invalid protocol: 9"),
            (
                r#"[{"ports":[{"start":1,"end":1}]}]"#,
                "rule 1 can't be used: Ports cannot be specified for Protocol ALL",
            ),
            (
                r#"[{"networks":[{"start":"10.0.0.2","end":"10.0.0.1"}]}]"#,
                "rule 1 can't be used: `10.0.0.2-10.0.0.1` is no range of addresses",
            ),
        ] {
            assert_eq!(rules(text).expect_err(text).to_string(), why);
        }
    }

    #[test]
    fn the_operator_s_networks_come_after_the_container_s_rules() {
        let options = PolicyOptions {
            deny_networks: vec!["10.0.0.0/8".parse().expect("valid")],
            connections_per_second: Some(5),
            connections_burst: 9,
            ..PolicyOptions::default()
        };
        let server = "10.0.0.53".parse().expect("valid");
        let policy = policy("h", &[NetOutRule::default()], &options, &[server]).expect("valid");
        let actions: Vec<_> = policy.to_others.rules.iter().map(|rule| rule.action).collect();
        use EgressAction::{Allow, Reject};
        assert_eq!(actions, [Allow, Allow, Allow, Reject]);
        assert_eq!(policy.to_others.rate, Some(ConnectionRate { per_second: 5, burst: 9 }));
        assert_eq!(policy.to_host.rules.len(), 2);
    }
}
