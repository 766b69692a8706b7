//! GrootFS's command line.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::error::ErrorKind;
use clap::{ArgAction, Args, CommandFactory as _, FromArgMatches as _, Parser, Subcommand};

use crate::error::GrootfsError;

/// The command line.
#[derive(Debug, Parser)]
#[command(
    name = "grootfs",
    about = "Keeps root file systems for Garden, with the commands and flags of GrootFS",
    version,
    disable_help_subcommand = true,
    subcommand_required = true,
    arg_required_else_help = true,
    args_override_self = true,
    max_term_width = 100
)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// The flags before the command.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct Global {
    /// The configuration file, in YAML
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// The store's directory [default: /var/lib/grootfs]
    #[arg(long, value_name = "DIR")]
    pub(crate) store: Option<PathBuf>,
    /// What is logged: debug, info, error or fatal [default: fatal]
    #[arg(long, value_name = "LEVEL")]
    pub(crate) log_level: Option<String>,
    /// A file to log to, in place of standard error
    #[arg(long, value_name = "FILE")]
    pub(crate) log_file: Option<PathBuf>,
    /// Where metrics are sent to, as Dropsonde envelopes by UDP
    #[arg(long, value_name = "HOST:PORT")]
    pub(crate) metron_endpoint: Option<String>,
    /// Taken for GrootFS's sake; nothing needs it
    #[arg(long, value_name = "PROGRAM")]
    pub(crate) tardis_bin: Option<PathBuf>,
    /// Taken for GrootFS's sake; nothing needs it
    #[arg(long, value_name = "PROGRAM")]
    pub(crate) newuidmap_bin: Option<PathBuf>,
    /// Taken for GrootFS's sake; nothing needs it
    #[arg(long, value_name = "PROGRAM")]
    pub(crate) newgidmap_bin: Option<PathBuf>,
}

/// A command.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Make a store ready
    InitStore(InitStore),
    /// Remove a store with everything in it
    DeleteStore,
    /// Make a root file system from an image, and print a runtime specification that has it
    Create(Create),
    /// Remove a root file system
    Delete(Named),
    /// Print what a root file system takes, as JSON
    Stats(Named),
    /// Remove what no root file system needs
    Clean(Clean),
    /// List the root file systems
    List,
    /// Print what the store may take, as JSON
    Capacity,
    /// Count the layers' bytes anew
    #[command(hide = true)]
    GenerateVolumeSizeMetadata,
}

/// The flags of `init-store`. One that is yes or no may be written `--flag`, `--flag=true` and `--flag=false`.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct InitStore {
    /// A range of user ids, NAMESPACE:HOST:SIZE; may be given several times
    #[arg(long, value_name = "RANGE")]
    pub(crate) uid_mapping: Vec<String>,
    /// A range of group ids, likewise
    #[arg(long, value_name = "RANGE")]
    pub(crate) gid_mapping: Vec<String>,
    /// What the store may take: it is then put into a file of this size, unless its file system has quotas
    #[arg(long, value_name = "BYTES", allow_negative_numbers = true)]
    pub(crate) store_size_bytes: Option<i64>,
    /// Read and write that file past the page cache
    #[arg(long, action = ArgAction::Set, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub(crate) with_direct_io: Option<bool>,
}

/// The flags of `create`.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct Create {
    /// The limit on layers and writes together
    #[arg(long, value_name = "BYTES", allow_negative_numbers = true)]
    pub(crate) disk_limit_size_bytes: Option<i64>,
    /// Let the limit be on what is written only
    #[arg(long, action = ArgAction::Set, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub(crate) exclude_image_from_quota: Option<bool>,
    /// A registry that may speak plain HTTP or show any certificate; may be given several times
    #[arg(long, value_name = "HOST[:PORT]")]
    pub(crate) insecure_registry: Vec<String>,
    /// Take the layers of an oci: image as they are
    #[arg(long, action = ArgAction::Set, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub(crate) skip_layer_validation: Option<bool>,
    /// Remove what is not needed afterwards, in the background
    #[arg(long)]
    pub(crate) with_clean: bool,
    /// Don't
    #[arg(long)]
    pub(crate) without_clean: bool,
    /// Remove only when layers and limits come to so much
    #[arg(long, value_name = "BYTES", allow_negative_numbers = true)]
    pub(crate) threshold_bytes: Option<i64>,
    /// Mount the root file system (the default)
    #[arg(long)]
    pub(crate) with_mount: bool,
    /// Print how to mount it instead
    #[arg(long)]
    pub(crate) without_mount: bool,
    /// The user at the registry
    #[arg(long, value_name = "NAME")]
    pub(crate) username: Option<String>,
    /// The password there
    #[arg(long, value_name = "PASSWORD")]
    pub(crate) password: Option<Password>,
    /// A file for the log of the removal in the background
    #[arg(long, value_name = "FILE")]
    pub(crate) clean_log_file: Option<PathBuf>,
    /// The image, docker://…, oci://… or the path of a tar, and the id
    #[arg(value_name = "IMAGE ID")]
    pub(crate) words: Vec<OsString>,
}

/// A password, which shows nowhere.
#[derive(Clone)]
pub(crate) struct Password(pub(crate) String);

impl std::fmt::Debug for Password {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("(password)")
    }
}

impl std::str::FromStr for Password {
    type Err = std::convert::Infallible;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(Self(text.to_owned()))
    }
}

/// A root file system.
#[derive(Args, Clone, Debug)]
pub(crate) struct Named {
    /// Its id, or its directory in the store
    #[arg(value_name = "ID")]
    pub(crate) words: Vec<OsString>,
}

/// The flags of `clean`.
#[derive(Args, Clone, Debug)]
pub(crate) struct Clean {
    /// Remove only when layers and limits come to so much
    #[arg(long, value_name = "BYTES", allow_negative_numbers = true)]
    pub(crate) threshold_bytes: Option<i64>,
}

/// The definition, for those who list or print it.
pub fn definition() -> clap::Command {
    Arguments::command()
}

impl Arguments {
    /// Reads the words after the program's name; the inner `Err` is the text of a help that was asked for.
    pub(crate) fn read(
        words: impl IntoIterator<Item = OsString>,
    ) -> Result<Result<Self, String>, GrootfsError> {
        let words = std::iter::once("grootfs".into()).chain(words.into_iter().map(two_dashes));
        let parsed = definition()
            .try_get_matches_from(words)
            .and_then(|mut matches| Self::from_arg_matches_mut(&mut matches));
        match parsed {
            Ok(arguments) => Ok(Ok(arguments)),
            Err(error) => match error.kind() {
                ErrorKind::DisplayHelp
                | ErrorKind::DisplayVersion
                | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => Ok(Err(error.to_string())),
                _ => Err(GrootfsError::said(error.to_string())),
            },
        }
    }
}

/// GrootFS's flags may have one dash, too.
fn two_dashes(word: OsString) -> OsString {
    match word.to_str() {
        Some(text) if text.len() > 2 && text.starts_with('-') && text.as_bytes()[1].is_ascii_lowercase() => {
            format!("-{text}").into()
        }
        _ => word,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Arguments {
        Arguments::read(line.split(' ').map(OsString::from)).expect("good words").expect("no help")
    }

    #[test]
    fn the_definition_is_consistent() {
        definition().debug_assert();
    }

    #[test]
    fn what_guardian_writes_is_understood() {
        let line = "--config /c.yml --store /s create --disk-limit-size-bytes 5 --exclude-image-from-quota \
                    --username u --password p docker:///busybox:1 some-id";
        let arguments = read(line);
        let Command::Create(create) = &arguments.command else { panic!("{arguments:?}") };
        assert_eq!(create.words, ["docker:///busybox:1", "some-id"]);
        assert_eq!((create.disk_limit_size_bytes, create.exclude_image_from_quota), (Some(5), Some(true)));
        assert!(!format!("{arguments:?}").contains("\"p\""), "{arguments:?}");
    }

    #[test]
    fn flags_have_go_s_forms() {
        let Command::Create(create) = read("-store /s create -skip-layer-validation=false a b").command
        else {
            panic!("a create")
        };
        assert_eq!(create.skip_layer_validation, Some(false));
        let wrong =
            Arguments::read(["create", "--no-such"].map(OsString::from)).expect_err("an unknown flag");
        assert!(wrong.to_string().contains("--no-such"), "{wrong}");
        assert!(Arguments::read(["--help".into()]).expect("no error").is_err());
    }
}
