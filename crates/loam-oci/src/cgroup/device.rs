//! Device rules: checked, completed, and in the form that each version of cgroups takes.

use loam_model::oci_spec::runtime::{LinuxDeviceCgroup, LinuxDeviceType};
use loam_sys::bpf::Instruction;

use super::CgroupError;
use crate::devices;

/// The kinds of device that a rule is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DeviceKind {
    Any,
    Block,
    Character,
}

/// May a node be made.
const MAKE: u32 = 1;
/// May it be read.
const READ: u32 = 2;
/// May it be written.
const WRITE: u32 = 4;
/// The highest major number of a device (the kernel's MINORBITS leaves twelve bits).
const MAJOR_LIMIT: i64 = 1 << 12;
/// The highest minor number of a device.
const MINOR_LIMIT: i64 = 1 << 20;

/// A checked rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DeviceRule {
    pub(crate) allow: bool,
    pub(crate) kind: DeviceKind,
    pub(crate) major: Option<u32>,
    pub(crate) minor: Option<u32>,
    /// [`MAKE`], [`READ`] and [`WRITE`] bits.
    pub(crate) access: u32,
}

impl DeviceRule {
    fn checked(rule: &LinuxDeviceCgroup) -> Result<Self, CgroupError> {
        let bad = |why| CgroupError::BadLimit { limit: "devices", rule: why };
        let number = |number: Option<i64>, limit: i64| match number {
            // Older engines write -1 for "every".
            None | Some(-1) => Ok(None),
            Some(number) if (0..limit).contains(&number) => {
                Ok(Some(u32::try_from(number).expect("the limit is below 2^20")))
            }
            Some(_) => Err(bad("a device number is out of range")),
        };
        let kind = match rule.typ().unwrap_or_default() {
            LinuxDeviceType::A => DeviceKind::Any,
            LinuxDeviceType::B => DeviceKind::Block,
            LinuxDeviceType::C | LinuxDeviceType::U => DeviceKind::Character,
            LinuxDeviceType::P => return Err(bad("a FIFO is not a device")),
        };
        let text = rule.access().as_deref().filter(|text| !text.is_empty()).unwrap_or("rwm");
        let access = text.bytes().try_fold(0, |bits, byte| match byte {
            b'm' => Ok(bits | MAKE),
            b'r' => Ok(bits | READ),
            b'w' => Ok(bits | WRITE),
            _ => Err(bad("access is made of the letters r, w and m")),
        })?;
        let (major, minor) = (number(rule.major(), MAJOR_LIMIT)?, number(rule.minor(), MINOR_LIMIT)?);
        Ok(Self { allow: rule.allow(), kind, major, minor, access })
    }

    /// Whether it is about every device and every access.
    fn is_everything(self) -> bool {
        let everything = MAKE | READ | WRITE;
        self.major.is_none()
            && self.minor.is_none()
            && self.access == everything
            && self.kind == DeviceKind::Any
    }

    /// The line for `devices.allow` or `devices.deny`.
    fn v1_line(self) -> String {
        let number = |number: Option<u32>| number.map_or("*".to_owned(), |number| number.to_string());
        let access = [(READ, 'r'), (WRITE, 'w'), (MAKE, 'm')];
        let access: String =
            access.iter().filter(|(bit, _)| self.access & bit != 0).map(|&(_, c)| c).collect();
        let kind = match self.kind {
            DeviceKind::Any => 'a',
            DeviceKind::Block => 'b',
            DeviceKind::Character => 'c',
        };
        format!("{kind} {}:{} {access}", number(self.major), number(self.minor))
    }
}

/// Checks rules, and adds the default devices to a list that denies something.
pub(crate) fn rules(listed: &[LinuxDeviceCgroup]) -> Result<Vec<DeviceRule>, CgroupError> {
    let mut rules = listed.iter().map(DeviceRule::checked).collect::<Result<Vec<_>, _>>()?;
    // What came before a rule about everything has no effect.
    if let Some(last) = rules.iter().rposition(|rule| rule.is_everything()) {
        rules.drain(..last);
    }
    if rules.iter().any(|rule| !rule.allow) {
        for rule in devices::default_rules() {
            rules.push(DeviceRule::checked(&rule)?);
        }
    }
    Ok(rules)
}

/// What is written for version 1, in order: whether to `devices.allow`, and the line.
///
/// The kernel takes a rule about any kind of device only as "everything"; a narrower one becomes two.
pub(crate) fn v1_lines(rules: &[DeviceRule]) -> Vec<(bool, String)> {
    let mut lines = Vec::new();
    for &rule in rules {
        if rule.kind != DeviceKind::Any {
            lines.push((rule.allow, rule.v1_line()));
        } else if rule.is_everything() {
            lines.push((rule.allow, "a".to_owned()));
        } else {
            for kind in [DeviceKind::Block, DeviceKind::Character] {
                lines.push((rule.allow, DeviceRule { kind, ..rule }.v1_line()));
            }
        }
    }
    lines
}

/// The program for version 2 (bpf(2), `BPF_PROG_TYPE_CGROUP_DEVICE`).
///
/// It goes through the rules from the last to the first. Each asked-for right is decided by the last rule that is
/// about it, as if the rules had been written one after another: an allowing rule strikes its rights off, and when
/// none is left the answer is yes; a denying rule that finds one of its rights asked for answers no. What no rule
/// is about is allowed, as in a cgroup without rules.
pub(crate) fn program(rules: &[DeviceRule]) -> Vec<Instruction> {
    const CONTEXT: u8 = 1;
    const KIND: u8 = 2;
    const ACCESS: u8 = 3;
    const MAJOR: u8 = 4;
    const MINOR: u8 = 5;
    const SCRATCH: u8 = 6;
    let answer = |yes: i32| [Instruction::move_value(0, yes), Instruction::exit()];
    // struct bpf_cgroup_dev_ctx: access_type (the kind below, the rights above 16 bits), major, minor.
    let mut program = vec![
        Instruction::load_word(KIND, CONTEXT, 0),
        Instruction::move_register(ACCESS, KIND),
        Instruction::and_value(KIND, 0xffff),
        Instruction::shift_right(ACCESS, 16),
        Instruction::load_word(MAJOR, CONTEXT, 4),
        Instruction::load_word(MINOR, CONTEXT, 8),
    ];
    for rule in rules.iter().rev() {
        let bits = i32::try_from(rule.access).expect("three bits");
        let mut body = Vec::new();
        if rule.allow {
            body.push(Instruction::and_value(ACCESS, !bits));
            body.push(Instruction::jump_unless_equal(ACCESS, 0, 2));
        } else {
            body.push(Instruction::move_register(SCRATCH, ACCESS));
            body.push(Instruction::and_value(SCRATCH, bits));
            body.push(Instruction::jump_if_equal(SCRATCH, 0, 2));
        }
        body.extend(answer(i32::from(rule.allow)));
        let kind = match rule.kind {
            DeviceKind::Any => None,
            DeviceKind::Block => Some(1),
            DeviceKind::Character => Some(2),
        };
        let mut tests = Vec::new();
        for (register, value) in [(KIND, kind), (MAJOR, rule.major), (MINOR, rule.minor)] {
            tests.extend(
                value.map(|value| (register, i32::try_from(value).expect("checked against the limits"))),
            );
        }
        let count = tests.len();
        for (index, (register, value)) in tests.into_iter().enumerate() {
            let over = i16::try_from(count - index - 1 + body.len()).expect("a rule is a dozen instructions");
            program.push(Instruction::jump_unless_equal(register, value, over));
        }
        program.extend(body);
    }
    program.extend(answer(1));
    program
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(json: &str) -> Vec<DeviceRule> {
        let listed: Vec<LinuxDeviceCgroup> = serde_json::from_str(json).expect("valid rules");
        rules(&listed).expect("valid rules")
    }

    #[test]
    fn a_denying_list_is_completed_with_the_default_devices() {
        let rules = parse(
            r#"[{"allow":true,"access":"r"},{"allow":false,"access":"rwm"},{"allow":true,"type":"c","major":10,"minor":229,"access":"rw"}]"#,
        );
        let lines = v1_lines(&rules);
        let shown: Vec<String> =
            lines.iter().map(|(allow, line)| format!("{} {line}", if *allow { "+" } else { "-" })).collect();
        insta::assert_snapshot!(shown.join("\n"), @r"
        - a
        + c 10:229 rw
        + c *:* m
        + b *:* m
        + c 1:3 rwm
        + c 1:5 rwm
        + c 1:7 rwm
        + c 1:8 rwm
        + c 1:9 rwm
        + c 5:0 rwm
        + c 136:* rwm
        + c 5:2 rwm
        + c 5:1 rwm
        ");
    }

    #[test]
    fn an_allowing_list_is_left_alone_and_bad_rules_are_refused() {
        assert_eq!(parse(r#"[{"allow":true,"type":"b","access":"r"}]"#).len(), 1);
        for json in [
            r#"[{"allow":true,"type":"c","major":-2}]"#,
            r#"[{"allow":true,"type":"c","major":1,"minor":1048576}]"#,
            r#"[{"allow":true,"type":"c","access":"x"}]"#,
            r#"[{"allow":true,"type":"p"}]"#,
        ] {
            let listed: Vec<LinuxDeviceCgroup> = serde_json::from_str(json).expect("valid JSON");
            assert!(rules(&listed).is_err(), "{json}");
        }
    }

    /// What the rules mean, said plainly: the last rule about a right decides.
    fn meaning(rules: &[DeviceRule], kind: DeviceKind, major: u32, minor: u32, access: u32) -> bool {
        [MAKE, READ, WRITE].into_iter().filter(|bit| access & bit != 0).all(|bit| {
            let about = |rule: &&DeviceRule| {
                (rule.kind == DeviceKind::Any || rule.kind == kind)
                    && rule.major.is_none_or(|number| number == major)
                    && rule.minor.is_none_or(|number| number == minor)
                    && rule.access & bit != 0
            };
            rules.iter().rev().find(about).is_none_or(|rule| rule.allow)
        })
    }

    fn any_rule() -> impl Strategy<Value = DeviceRule> {
        let kind = prop_oneof![Just(DeviceKind::Any), Just(DeviceKind::Block), Just(DeviceKind::Character)];
        let number = || proptest::option::of(0u32..3);
        (any::<bool>(), kind, number(), number(), 1u32..8)
            .prop_map(|(allow, kind, major, minor, access)| DeviceRule { allow, kind, major, minor, access })
    }

    proptest! {
        #[test]
        fn the_program_means_what_the_rules_mean(
            rules in proptest::collection::vec(any_rule(), 0..8),
            block in any::<bool>(), major in 0u32..3, minor in 0u32..3, access in 1u32..8,
        ) {
            let kind = if block { DeviceKind::Block } else { DeviceKind::Character };
            let number = if block { 1 } else { 2 };
            let context = [(access << 16) | number, major, minor];
            let answer = loam_sys::bpf::interpret(&program(&rules), &context);
            prop_assert_eq!(answer == Some(1), meaning(&rules, kind, major, minor, access));
        }
    }
}
