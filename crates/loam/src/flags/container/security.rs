//! `--cap-add`, `--cap-drop` and `--security-opt`.

use clap::Args;
use loam_model::{CapabilityChange, Failure, SeccompChoice, Security, SelinuxOptions};

use crate::flags::security::{LabelPart, SecurityOption, capability, security_option};
use crate::flags::words::read_text;

/// The flags of what a container may do.
#[derive(Args, Clone, Debug)]
pub(super) struct SecurityFlags {
    /// Give a capability, or ALL
    #[arg(long, value_name = "NAME", value_parser = capability, help_heading = "Security")]
    cap_add: Vec<String>,
    /// Take a capability away, or ALL
    #[arg(long, value_name = "NAME", value_parser = capability, help_heading = "Security")]
    cap_drop: Vec<String>,
    /// seccomp=unconfined|FILE, no-new-privileges[:false], apparmor=unconfined|PROFILE, label=disable|PART:VALUE,
    /// unmask=ALL|PATH
    #[arg(long, value_name = "OPTION", value_parser = security_option, help_heading = "Security")]
    security_opt: Vec<SecurityOption>,
}

impl SecurityFlags {
    /// What they come to.
    pub(super) fn collect(&self) -> Result<Security, Failure> {
        // As Docker has it: what is added counts after `ALL` was dropped, whatever the order of the flags.
        let drop = self.cap_drop.iter().cloned().map(CapabilityChange::Drop);
        let add = self.cap_add.iter().cloned().map(CapabilityChange::Add);
        let drops_all = self.cap_drop.iter().any(|name| name == "ALL");
        let mut security = Security {
            capabilities: if drops_all { drop.chain(add).collect() } else { add.chain(drop).collect() },
            ..Security::default()
        };
        for option in &self.security_opt {
            match option {
                SecurityOption::SeccompDefault => security.seccomp = SeccompChoice::Default,
                SecurityOption::SeccompUnconfined => security.seccomp = SeccompChoice::Unconfined,
                SecurityOption::SeccompFile(path) => {
                    security.seccomp = SeccompChoice::Profile(read_text("seccomp profile", path)?);
                }
                SecurityOption::NoNewPrivileges(on) => security.allow_new_privileges = !on,
                SecurityOption::AppArmor(profile) => security.apparmor = Some(profile.clone()),
                SecurityOption::Label(part, value) => set_label(&mut security.selinux, *part, value),
                SecurityOption::Unmask(paths) => security.unmask.extend(paths.iter().cloned()),
            }
        }
        Ok(security)
    }
}

fn set_label(labels: &mut SelinuxOptions, part: LabelPart, value: &str) {
    let place = match part {
        LabelPart::Disable => {
            labels.disable = true;
            return;
        }
        LabelPart::User => &mut labels.user,
        LabelPart::Role => &mut labels.role,
        LabelPart::Kind => &mut labels.kind,
        LabelPart::Level => &mut labels.level,
        LabelPart::FileKind => &mut labels.file_kind,
    };
    *place = Some(value.to_owned());
}
