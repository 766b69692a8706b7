//! What was seen of an implementation, as lines that can be compared.

use serde_json::Value;

use super::case::Case;
use super::lab::Lab;
use super::state;

const DOCUMENTATION: &str = include_str!("../../../../docs/cni-plugins.md");

/// Lines, in the order of the steps. What differs by nature (hardware addresses, names that contain random digits, paths of
/// namespaces and directories) is replaced.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Observation {
    lines: Vec<String>,
    errors: Vec<String>,
}

impl Observation {
    /// Notes a result or an error. An error's text is kept apart: implementations need not agree in it.
    pub(crate) fn outcome(&mut self, step: &str, outcome: &Result<Value, Value>) {
        match outcome {
            Ok(value) => {
                self.lines.push(format!("{step}: succeeds"));
                let mut lines = Vec::new();
                flatten("result", &normal(value.clone()), &mut lines);
                self.lines(step, lines);
            }
            Err(error) => {
                self.lines.push(format!("{step}: fails"));
                self.errors.push(format!("{step}: {error}"));
            }
        }
    }

    /// Notes the kernel's state on both sides.
    pub(crate) fn state(&mut self, step: &str, lab: &Lab) {
        lab.settle();
        for (place, sandbox) in [("host", &lab.host), ("container", &lab.container)] {
            let lines = state::lines(sandbox).into_iter().map(|line| format!("{place}: {line}"));
            self.lines(step, lines.collect());
        }
    }

    /// Notes lines.
    pub(crate) fn lines(&mut self, step: &str, lines: Vec<String>) {
        self.lines.extend(lines.into_iter().map(|line| format!("{step}: {line}")));
    }

    fn without(&self, case: &Case) -> Vec<&String> {
        let covered = |line: &String| case.differences.iter().any(|difference| (difference.covers)(line));
        self.lines.iter().filter(|line| !covered(line)).collect()
    }
}

/// Our function and our program must agree in everything.
pub(crate) fn assert_same(test: &str, case: &Case, function: &Observation, program: &Observation) {
    assert_eq!(function.lines, program.lines, "{test}, {}: function and program", case.title);
    let text = |observation: &Observation| observation.errors.join("\n").replace(char::is_numeric, "0");
    assert_eq!(text(function), text(program), "{test}, {}: errors of function and program", case.title);
}

/// We and the reference agree but for the differences that the case names.
pub(crate) fn assert_agree(test: &str, case: &Case, ours: &Observation, theirs: &Observation) {
    let (left, right) = (ours.without(case), theirs.without(case));
    let only = |some: &[&String], others: &[&String]| -> String {
        some.iter().filter(|line| !others.contains(line)).map(|line| format!("  {line}\n")).collect()
    };
    assert!(
        left == right,
        "{test}, {}: we and the reference differ\nonly ours:\n{}only theirs:\n{}errors of ours: {:#?}\nof theirs: {:#?}\n\
         all of ours:\n{:#?}",
        case.title,
        only(&left, &right),
        only(&right, &left),
        ours.errors,
        theirs.errors,
        ours.lines,
    );
    for difference in &case.differences {
        let name = difference.name;
        assert!(DOCUMENTATION.contains(&format!("| {name} |")), "`{name}` is not in docs/cni-plugins.md");
        let some = |observation: &Observation| -> Vec<String> {
            observation.lines.iter().filter(|line| (difference.covers)(line)).cloned().collect()
        };
        assert_ne!(some(ours), some(theirs), "{test}, {}: there is no difference `{name}`", case.title);
    }
}

/// A result without what differs by nature.
fn normal(mut result: Value) -> Value {
    let Some(object) = result.as_object_mut() else { return result };
    // Older releases of the reference write it when it is empty, newer ones do not.
    object.retain(|key, value| key != "dns" || value.as_object().is_none_or(|dns| !dns.is_empty()));
    let interfaces = object.get_mut("interfaces").and_then(Value::as_array_mut);
    for interface in interfaces.into_iter().flatten() {
        // Of version 1.1.0; the reference writes it in older results too.
        interface.as_object_mut().map(|keys| keys.remove("mtu"));
        interface["mac"] = state::plain_mac(interface["mac"].as_str().unwrap_or_default()).into();
        interface["name"] = state::plain_name(interface["name"].as_str().unwrap_or_default()).into();
        if interface["sandbox"].is_string() {
            interface["sandbox"] = "sandbox".into();
        }
    }
    result
}

/// A value as one line for each leaf.
fn flatten(path: &str, value: &Value, lines: &mut Vec<String>) {
    match value {
        Value::Object(members) => {
            members.iter().for_each(|(key, value)| flatten(&format!("{path}.{key}"), value, lines));
        }
        Value::Array(members) => {
            let members = members.iter().enumerate();
            members.for_each(|(index, value)| flatten(&format!("{path}[{index}]"), value, lines));
        }
        Value::Null => {}
        leaf => lines.push(format!("{path} = {leaf}")),
    }
}
