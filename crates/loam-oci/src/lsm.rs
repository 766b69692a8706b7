//! Linux security modules: AppArmor profiles and SELinux labels for containers.
//!
//! What comes in: what was asked for and what the kernel runs; what goes out: the profile and the labels of a
//! configuration (`process.apparmorProfile`, `process.selinuxLabel`, `linux.mountLabel`), and, before a container is
//! made, a loaded default profile. Something that was asked for by name and can't be had is refused; what is only a
//! default is left out where the kernel runs no such module.

pub mod apparmor;
pub mod selinux;

use loam_model::{ErrorKind, Failure, Result, shown};

/// A label is written to a file of `/proc` as it is.
fn check_label(what: &str, label: &str) -> Result<()> {
    if !label.is_empty()
        && label.len() <= 4096
        && !label.contains(|c: char| c.is_control() || c.is_whitespace())
    {
        return Ok(());
    }
    Err(Failure::new(ErrorKind::Invalid, format!("{what} `{}` is not a plain name", shown(label))))
}
