//! The flags of `exec`.

use clap::Args;
use loam_model::{Failure, ProcessSpec};

use super::environment::EnvironmentFlags;

/// The flags that describe a further process.
#[derive(Args, Clone, Debug)]
pub(crate) struct ProcessFlags {
    /// Keep standard input open
    #[arg(short, long)]
    pub(crate) interactive: bool,
    /// Give the process a terminal
    #[arg(short, long)]
    pub(crate) tty: bool,
    #[command(flatten)]
    environment: EnvironmentFlags,
    /// The working directory
    #[arg(short, long, value_name = "PATH")]
    workdir: Option<String>,
    /// The user and group, by name or number
    #[arg(short, long, value_name = "USER[:GROUP]")]
    user: Option<String>,
    /// Give the process all capabilities
    #[arg(long)]
    privileged: bool,
    /// The container, the program and its arguments
    #[arg(required = true, num_args = 2.., trailing_var_arg = true, value_names = ["CONTAINER", "PROGRAM"],
        hide = true)]
    words: Vec<String>,
}

impl ProcessFlags {
    /// The container's name or id.
    pub(crate) fn container(&self) -> &str {
        self.words.first().map_or("", String::as_str)
    }

    /// The spec.
    pub(crate) fn spec(&self) -> Result<ProcessSpec, Failure> {
        Ok(ProcessSpec {
            arguments: self.words.get(1..).unwrap_or_default().to_vec(),
            environment: self.environment.collect()?,
            working_directory: self.workdir.clone(),
            user: self.user.clone(),
            terminal: self.tty,
            open_stdin: self.interactive,
            privileged: self.privileged,
        })
    }
}
