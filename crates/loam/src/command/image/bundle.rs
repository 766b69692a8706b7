//! `loam image bundle`.

use std::path::PathBuf;

use clap::Args;
use loam_model::{CopiedOwners, ErrorKind, Failure, IdMapping, IdRange};

use super::super::Outcome;
use crate::bundle::{BundleMaker, Wishes};
use crate::exit::Exit;
use crate::flags::{id_mapping, parse_id_range, words};
use crate::wiring::Wiring;

/// The flags of `image bundle`.
#[derive(Args, Debug)]
pub(crate) struct Bundle {
    /// Make a user namespace: from this user of the image on, so many are these users of the host
    #[arg(long = "uid-map", value_name = "IMAGE:HOST[:COUNT]", value_parser = parse_id_range)]
    users: Vec<IdRange>,
    /// The same for groups; as for users when absent
    #[arg(long = "gid-map", value_name = "IMAGE:HOST[:COUNT]", requires = "users", value_parser = parse_id_range)]
    groups: Vec<IdRange>,
    /// Run this in place of the image's entrypoint
    #[arg(long, value_name = "PROGRAM")]
    entrypoint: Option<String>,
    /// Give the process a terminal
    #[arg(short, long)]
    tty: bool,
    /// The host name [default: bundle]
    #[arg(long, value_name = "NAME")]
    hostname: Option<String>,
    /// Mount the root file system read-only
    #[arg(long)]
    read_only: bool,
    /// A name or id
    image: String,
    /// Where the bundle goes: nothing, or an empty directory
    directory: PathBuf,
    /// The command, in place of the image's
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "COMMAND")]
    command: Vec<String>,
}

impl Bundle {
    pub(super) fn run(self, wiring: &Wiring) -> Outcome {
        let users = self.mapping(&self.users, "users")?;
        let groups = match self.groups.is_empty() {
            true => users.clone(),
            false => self.mapping(&self.groups, "groups")?,
        };
        let image = wiring.images()?.resolve(&self.image)?;
        let wishes = Wishes {
            entrypoint: self.entrypoint.as_deref().map(words::entrypoint).transpose().map_err(invalid)?,
            command: Some(self.command).filter(|command| !command.is_empty()),
            hostname: self.hostname,
            terminal: self.tty,
            read_only: self.read_only,
        };
        let (store, trees) = (wiring.images()?, wiring.trees()?);
        let maker = BundleMaker { store, trees, wishes, owners: CopiedOwners { users, groups } };
        maker.make(&image, &self.directory)?;
        Ok(Exit::SUCCESS)
    }

    fn mapping(&self, ranges: &[IdRange], what: &str) -> Result<Option<IdMapping>, Failure> {
        if ranges.is_empty() {
            return Ok(None);
        }
        id_mapping(ranges, what).map(Some).map_err(invalid)
    }
}

fn invalid(sentence: String) -> Failure {
    Failure::new(ErrorKind::Invalid, sentence)
}
