//! `--security-opt`, `--cap-add` and `--cap-drop`.

use std::path::PathBuf;

use loam_model::shown;

use super::Parsed;

/// One `--security-opt`, before the profile's file is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum SecurityOption {
    /// `seccomp=unconfined`.
    SeccompUnconfined,
    /// `seccomp=builtin` or `default`.
    SeccompDefault,
    /// `seccomp=FILE`.
    SeccompFile(PathBuf),
    /// `no-new-privileges[:BOOL]`.
    NoNewPrivileges(bool),
    /// `apparmor=PROFILE`.
    AppArmor(String),
    /// `label=disable`, or a part of the SELinux labels and its value.
    Label(LabelPart, String),
    /// `unmask=ALL|PATH[:PATH…]`.
    Unmask(Vec<String>),
}

/// Parses one `--security-opt`. Docker's older form with a colon in place of `=` is understood too.
pub(super) fn security_option(text: &str) -> Parsed<SecurityOption> {
    let separator = text.find(['=', ':']);
    let (key, value) = match separator {
        Some(at) => (&text[..at], Some(&text[at + 1..])),
        None => (text, None),
    };
    let needed = || {
        let value = value.filter(|value| !value.is_empty());
        value.ok_or_else(|| format!("`{}` needs a value", shown(key)))
    };
    Ok(match key {
        "seccomp" => match needed()? {
            "unconfined" => SecurityOption::SeccompUnconfined,
            "builtin" | "default" => SecurityOption::SeccompDefault,
            file => SecurityOption::SeccompFile(file.into()),
        },
        "no-new-privileges" => match value {
            None | Some("true") => SecurityOption::NoNewPrivileges(true),
            Some("false") => SecurityOption::NoNewPrivileges(false),
            Some(_) => return Err("no-new-privileges is true or false".to_owned()),
        },
        "apparmor" => SecurityOption::AppArmor(needed()?.to_owned()),
        "label" => label(needed()?)?,
        "unmask" => {
            let paths: Vec<String> = needed()?.split(':').map(str::to_owned).collect();
            if let Some(path) = paths.iter().find(|path| *path != "ALL" && !path.starts_with('/')) {
                return Err(format!("`{}` is neither ALL nor an absolute path", shown(path)));
            }
            SecurityOption::Unmask(paths)
        }
        key => return Err(format!("the option `{}` is not known", shown(key))),
    })
}

/// A part of a container's SELinux labels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LabelPart {
    /// None: the container gets no labels.
    Disable,
    /// `user`.
    User,
    /// `role`.
    Role,
    /// `type`.
    Kind,
    /// `level`.
    Level,
    /// `filetype`.
    FileKind,
}

fn label(text: &str) -> Parsed<SecurityOption> {
    if text == "disable" {
        return Ok(SecurityOption::Label(LabelPart::Disable, String::new()));
    }
    let (part, value) = text.split_once(':').unwrap_or((text, ""));
    let part = match part {
        "user" => LabelPart::User,
        "role" => LabelPart::Role,
        "type" => LabelPart::Kind,
        "level" => LabelPart::Level,
        "filetype" => LabelPart::FileKind,
        _ => {
            return Err(
                "a label is disable, or one of user, role, type, level and filetype, a colon, and its value"
                    .to_owned(),
            );
        }
    };
    if value.is_empty() {
        return Err(format!("the label `{}` needs a value", shown(text)));
    }
    Ok(SecurityOption::Label(part, value.to_owned()))
}

/// Checks the form of a capability's name: with or without `CAP_`, or `ALL`. Whether the kernel knows it, the
/// bundler says.
pub(super) fn capability(text: &str) -> Parsed<String> {
    let is_name = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphabetic() || byte == b'_');
    match is_name {
        true => Ok(text.to_ascii_uppercase()),
        false => Err("a capability is a name such as NET_ADMIN, or ALL".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_understood_in_both_forms() {
        use SecurityOption as Is;
        for (text, expected) in [
            ("seccomp=unconfined", Is::SeccompUnconfined),
            ("seccomp:unconfined", Is::SeccompUnconfined),
            ("seccomp=/etc/p.json", Is::SeccompFile("/etc/p.json".into())),
            ("seccomp=builtin", Is::SeccompDefault),
            ("no-new-privileges", Is::NoNewPrivileges(true)),
            ("no-new-privileges:false", Is::NoNewPrivileges(false)),
            ("no-new-privileges=true", Is::NoNewPrivileges(true)),
            ("apparmor=x", Is::AppArmor("x".to_owned())),
            ("label=type:container_t", Is::Label(LabelPart::Kind, "container_t".to_owned())),
            ("label:level:s0:c1,c2", Is::Label(LabelPart::Level, "s0:c1,c2".to_owned())),
            ("label=disable", Is::Label(LabelPart::Disable, String::new())),
            ("unmask=ALL", Is::Unmask(vec!["ALL".to_owned()])),
            (
                "unmask=/proc/kcore:/sys/firmware",
                Is::Unmask(vec!["/proc/kcore".to_owned(), "/sys/firmware".to_owned()]),
            ),
        ] {
            assert_eq!(security_option(text), Ok(expected), "{text}");
        }
        for text in ["seccomp", "seccomp=", "privileged", "", "no-new-privileges=maybe", "unmask=proc"] {
            assert!(security_option(text).is_err(), "{text}");
        }
    }

    #[test]
    fn capabilities_are_upper_case_words() {
        assert_eq!(capability("net_admin"), Ok("NET_ADMIN".to_owned()));
        for text in ["", "NET ADMIN", "cap-chown", "1"] {
            assert!(capability(text).is_err(), "{text}");
        }
    }
}
