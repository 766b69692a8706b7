//! What is asked of registries without a store.

use std::sync::Arc;

use loam_model::{Digest, ErrorKind, Failure, LoginKeeper, Registries, RegistryOptions, Result, shown};
use loam_registry::{
    Client, ClientOptions, Keeper, Login, Notes, Reference, RegistryError, Secret, forget_login, keep_login,
    login_key,
};
use tokio::runtime::Runtime;

use crate::error::failed;
use crate::names;

/// Registries, by the distribution protocol.
pub struct RemoteRegistries {
    options: ClientOptions,
    notes: Notes,
}

impl std::fmt::Debug for RemoteRegistries {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("RemoteRegistries").field("options", &self.options).finish_non_exhaustive()
    }
}

impl RemoteRegistries {
    /// The registries that this machine's settings speak of; `notes` hears sentences worth showing.
    pub fn new(notes: impl Fn(&str) + Send + Sync + 'static) -> Self {
        Self { options: ClientOptions::default(), notes: Arc::new(notes) }
    }

    fn client(&self, options: &RegistryOptions, login: Option<Login>) -> Result<Client> {
        let given = ClientOptions {
            insecure: options.insecure,
            credentials_file: options.credentials_file.clone(),
            login,
            ..self.options.clone()
        };
        Client::new(given, Arc::clone(&self.notes)).map_err(RegistryError::into_failure)
    }

    /// What a name in a registry stands for.
    fn meaning(&self, text: &str) -> Result<Reference> {
        let name = text.strip_prefix("docker://").unwrap_or(text);
        self.options.settings.meaning(name).map_err(RegistryError::into_failure)
    }
}

/// Runs to the end.
fn run<T>(work: impl Future<Output = std::result::Result<T, RegistryError>>) -> Result<T> {
    let runtime: Runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| failed("the registry can't be waited for", error))?;
    runtime.block_on(work).map_err(RegistryError::into_failure)
}

impl Registries for RemoteRegistries {
    fn tags(&self, repository: &str, options: &RegistryOptions) -> Result<Vec<String>> {
        let reference = self.meaning(repository)?;
        run(self.client(options, None)?.tags(&reference))
    }

    fn remove(&self, name: &str, options: &RegistryOptions) -> Result<Digest> {
        let written = name.strip_prefix("docker://").unwrap_or(name);
        names::reference(written)?;
        // What is removed there is gone for everybody: nobody's guess is good enough.
        if !names::has_registry(written) {
            let message = format!("`{}` names no registry", shown(name));
            let hint = "write HOST/PATH:TAG or HOST/PATH@DIGEST; `loam rmi` removes from this machine";
            return Err(Failure::new(ErrorKind::Invalid, message).hint(hint));
        }
        let reference = self.meaning(written)?;
        run(self.client(options, None)?.delete_manifest(&reference))
    }

    fn log_in(
        &self,
        registry: &str,
        user: &str,
        password: &str,
        options: &RegistryOptions,
    ) -> Result<LoginKeeper> {
        let key = login_key(registry).map_err(RegistryError::into_failure)?;
        if user.is_empty() || user.contains(':') {
            let message = format!("`{}` can't be a user name", shown(user));
            return Err(Failure::new(ErrorKind::Invalid, message));
        }
        if password.is_empty() {
            return Err(Failure::new(ErrorKind::Invalid, "the password is empty"));
        }
        let password = Secret::new(password);
        let login = Login::Password { user: user.to_owned(), password: password.clone() };
        let client = self.client(options, Some(login))?;
        let keeper = run(async {
            client.check_login(&key).await?;
            keep_login(options.credentials_file.as_deref(), &key, user, &password).await
        })?;
        Ok(match keeper {
            Keeper::File(path) => LoginKeeper::File(path),
            Keeper::Helper(name) => LoginKeeper::Helper(name),
        })
    }

    fn log_out(&self, registry: &str, options: &RegistryOptions) -> Result<()> {
        let key = login_key(registry).map_err(RegistryError::into_failure)?;
        if run(forget_login(options.credentials_file.as_deref(), &key))? {
            return Ok(());
        }
        Err(Failure::new(ErrorKind::NotFound, format!("there is no login for `{key}`")))
    }
}
