//! `loam login` and `loam logout`.

use std::io::{self, Read};

use clap::Args;
use loam_model::{ErrorKind, Failure, LoginKeeper, escaped};

use super::Outcome;
use crate::exit::Exit;
use crate::flags::RegistryFlags;
use crate::wiring::Wiring;
use crate::{render, terminal};

/// The longest password that is read, in bytes.
const LONGEST_PASSWORD: u64 = 64 * 1024;
/// Where people log in who name no registry.
const HUB: &str = "docker.io";

/// The flags of `login`.
#[derive(Args, Debug)]
pub(crate) struct Login {
    /// The user name; asked for when absent
    #[arg(short, long, value_name = "NAME")]
    username: Option<String>,
    /// Read the password from standard input; without it, it is asked for on the terminal
    #[arg(long, requires = "username")]
    password_stdin: bool,
    #[command(flatten)]
    registry: RegistryFlags,
    /// The registry, HOST[:PORT], or HOST[:PORT]/PATH for a part of it
    #[arg(value_name = "REGISTRY", default_value = HUB)]
    name: String,
}

/// The flags of `logout`.
#[derive(Args, Debug)]
pub(crate) struct Logout {
    /// Forget the login in this file in place of the usual one
    #[arg(long, env = "REGISTRY_AUTH_FILE", hide_env = true, value_name = "FILE")]
    authfile: Option<std::path::PathBuf>,
    /// The registry, as it was logged in to
    #[arg(value_name = "REGISTRY", default_value = HUB)]
    name: String,
}

impl Login {
    pub(super) fn run(self, wiring: &Wiring) -> Outcome {
        let user = match self.username {
            Some(user) => user,
            None => asked("User name: ", terminal::read_line)?,
        };
        let password = if self.password_stdin {
            password_from_stdin()?
        } else {
            asked("Password: ", terminal::read_secret)?
        };
        let options = self.registry.options();
        let keeper = wiring.registries().log_in(&self.name, &user, &password, &options)?;
        let place = match keeper {
            LoginKeeper::File(path) => format!("`{}`", path.display()),
            LoginKeeper::Helper(name) => format!("the credential helper `{name}`"),
        };
        render::note(&format!(
            "logged in to `{}` as `{}`, kept in {place}",
            escaped(&self.name),
            escaped(&user)
        ));
        Ok(Exit::SUCCESS)
    }
}

impl Logout {
    pub(super) fn run(self, wiring: &Wiring) -> Outcome {
        let options = loam_model::RegistryOptions { insecure: false, credentials_file: self.authfile };
        wiring.registries().log_out(&self.name, &options)?;
        render::note(&format!("logged out of `{}`", escaped(&self.name)));
        Ok(Exit::SUCCESS)
    }
}

/// Asks the person at the terminal.
fn asked(question: &str, read: fn(&str) -> io::Result<Option<String>>) -> Result<String, Failure> {
    if !terminal::is_interactive() {
        let failure = Failure::new(ErrorKind::Invalid, "there is no terminal to ask for the login on");
        return Err(failure.hint("use --username NAME --password-stdin"));
    }
    match read(question) {
        Ok(Some(answer)) => Ok(answer),
        Ok(None) => Err(Failure::new(ErrorKind::Invalid, "the login was given up")),
        Err(error) => Err(Failure::new(ErrorKind::Internal, "the terminal can't be read").caused_by(error)),
    }
}

/// All of standard input, without the newline that `echo` and editors put at its end.
fn password_from_stdin() -> Result<String, Failure> {
    let mut text = String::new();
    io::stdin().lock().take(LONGEST_PASSWORD + 1).read_to_string(&mut text).map_err(|error| {
        Failure::new(ErrorKind::Invalid, "the password on standard input can't be read").caused_by(error)
    })?;
    if text.len() as u64 > LONGEST_PASSWORD {
        return Err(Failure::new(ErrorKind::Invalid, "the password on standard input is too long"));
    }
    let line = text.strip_suffix('\n').unwrap_or(&text);
    Ok(line.strip_suffix('\r').unwrap_or(line).to_owned())
}
