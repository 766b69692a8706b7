//! Rules on what containers may reach, in Garden's words.

use loam_model::{
    AddressRange, EgressAction, EgressList, EgressPolicy, EgressProtocol, EgressRule, PortRange,
};
use serde_json::{Map, Value, json};

/// Rules as Garden has them. Garden's allow always; so must these.
pub(crate) fn net_out_rules(rules: &[EgressRule]) -> Vec<Value> {
    rules.iter().map(net_out_rule).collect()
}

/// A rule as Garden has it: what has the zero value is left out, as Garden's clients do.
fn net_out_rule(rule: &EgressRule) -> Value {
    let mut written = Map::new();
    let mut set = |key: &str, value: Value| drop(written.insert(key.to_owned(), value));
    let (number, ports, messages) = match &rule.protocol {
        EgressProtocol::All => (0, &[][..], None),
        EgressProtocol::Tcp(ports) => (1, ports.as_slice(), None),
        EgressProtocol::Udp(ports) => (2, ports.as_slice(), None),
        EgressProtocol::Icmp(messages) => (3, &[][..], *messages),
        EgressProtocol::IcmpV6(messages) => (4, &[][..], *messages),
    };
    if number > 0 {
        set("protocol", number.into());
    }
    if !rule.networks.is_empty() {
        let range = |range: &AddressRange| json!({ "start": range.first, "end": range.last });
        set("networks", rule.networks.iter().map(range).collect());
    }
    if !ports.is_empty() {
        let range = |range: &PortRange| json!({ "start": range.first, "end": range.last });
        set("ports", ports.iter().map(range).collect());
    }
    if let Some(messages) = messages {
        let mut icmps = Map::new();
        if messages.kind > 0 {
            icmps.insert("type".to_owned(), messages.kind.into());
        }
        icmps.extend(messages.code.map(|code| ("code".to_owned(), code.into())));
        set("icmps", icmps.into());
    }
    if rule.log {
        set("log", true.into());
    }
    written.into()
}

/// The rules of a policy that says no more than Garden's rules can, else what it is that they can't say. Only whoever
/// sets the rules can promise the rest. What lines of a log begin with is theirs to choose.
pub(crate) fn only_allowed(policy: &EgressPolicy) -> Result<&[EgressRule], &'static str> {
    let EgressPolicy { to_others, to_host, guarded } = policy;
    let silent = |list: &EgressList| {
        EgressList { rules: Vec::new(), log_prefix: String::new(), ..list.clone() } == EgressList::default()
    };
    if to_others.rules.iter().any(|rule| rule.action != EgressAction::Allow) {
        return Err("rules that refuse");
    }
    if !silent(to_others) {
        return Err("what becomes of connections that no rule is about, or how many there may be");
    }
    if !silent(to_host) || !to_host.rules.is_empty() {
        return Err("what reaches the host itself");
    }
    if *guarded {
        return Err("from which addresses a container sends");
    }
    Ok(&to_others.rules)
}

#[cfg(test)]
mod tests {
    use super::*;
    use loam_model::{ConnectionRate, IcmpMessages};

    fn rule(protocol: EgressProtocol) -> EgressRule {
        EgressRule { protocol, ..EgressRule::default() }
    }

    #[test]
    fn every_form_of_a_rule_is_written_as_garden_has_it() {
        let ports = vec![PortRange { first: 80, last: 90 }];
        let networks = vec![AddressRange {
            first: "10.0.0.1".parse().expect("valid"),
            last: "10.0.0.9".parse().expect("valid"),
        }];
        let rules = [
            rule(EgressProtocol::All),
            EgressRule { networks, log: true, ..rule(EgressProtocol::Tcp(ports)) },
            rule(EgressProtocol::Udp(Vec::new())),
            rule(EgressProtocol::Icmp(Some(IcmpMessages { kind: 0, code: Some(0) }))),
            rule(EgressProtocol::IcmpV6(Some(IcmpMessages { kind: 128, code: None }))),
        ];
        let expected = json!([
            {},
            {"protocol": 1, "networks": [{"start": "10.0.0.1", "end": "10.0.0.9"}],
             "ports": [{"start": 80, "end": 90}], "log": true},
            {"protocol": 2},
            {"protocol": 3, "icmps": {"code": 0}},
            {"protocol": 4, "icmps": {"type": 128}},
        ]);
        assert_eq!(Value::from(net_out_rules(&rules)), expected);
    }

    #[test]
    fn what_garden_s_rules_can_t_say_is_named() {
        let plain = EgressPolicy::default;
        let list = EgressList { log_prefix: "handle ".to_owned(), ..EgressList::default() };
        let reject = EgressRule { action: EgressAction::Reject, ..EgressRule::default() };
        let refusing = EgressList { otherwise: EgressAction::Reject, ..EgressList::default() };
        let rate = Some(ConnectionRate { per_second: 1, burst: 1 });
        assert_eq!(only_allowed(&EgressPolicy { to_others: list.clone(), ..plain() }), Ok(&[][..]));
        for (policy, thing) in [
            (
                EgressPolicy { to_others: EgressList { rules: vec![reject], ..list.clone() }, ..plain() },
                "refuse",
            ),
            (EgressPolicy { to_others: refusing.clone(), ..plain() }, "no rule is about"),
            (EgressPolicy { to_others: EgressList { rate, ..list }, ..plain() }, "how many"),
            (EgressPolicy { to_host: refusing, ..plain() }, "the host itself"),
            (EgressPolicy { guarded: true, ..plain() }, "from which addresses"),
        ] {
            assert!(only_allowed(&policy).expect_err(thing).contains(thing));
        }
    }
}
