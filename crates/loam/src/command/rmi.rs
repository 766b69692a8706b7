//! `loam rmi`.

use clap::Args;
use loam_model::escaped;

use super::{Outcome, each};
use crate::output;
use crate::wiring::Wiring;

/// The flags of `rmi`.
#[derive(Args, Debug)]
pub(crate) struct Rmi {
    /// Take the names away even when containers use the image; it goes with the last of them
    #[arg(short, long)]
    force: bool,
    /// Names or ids
    #[arg(required = true, value_name = "IMAGE")]
    images: Vec<String>,
}

impl Rmi {
    pub(super) fn run(self, wiring: &Wiring) -> Outcome {
        let store = wiring.images()?;
        each(&self.images, |name| {
            let removed = store.remove(name, self.force)?;
            for name in &removed.untagged {
                output::print_line(&format!("untagged {}", escaped(name)))?;
            }
            match &removed.deleted {
                Some(id) => output::print_line(&format!("deleted {id}")),
                None => Ok(()),
            }
        })
    }
}
