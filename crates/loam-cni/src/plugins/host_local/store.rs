//! The files of `host-local`; see the module above for the tree.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::net::IpAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

use super::range::{Range, RangeSet};

/// The largest reservation that is read: an id, a line end and an interface.
const MAX_RESERVATION: u64 = 1024;

/// Whose addresses: container id and interface.
pub(super) type Owner<'a> = (&'a str, &'a str);

/// Why an address can't be taken or given back.
#[derive(Debug, thiserror::Error)]
pub(super) enum StoreError {
    #[error("opening address directory `{0}` failed")]
    Open(PathBuf, #[source] io::Error),
    #[error("locking address directory `{0}` failed")]
    Lock(PathBuf, #[source] io::Error),
    #[error("reading `{0}` failed")]
    Read(PathBuf, #[source] io::Error),
    #[error("writing `{0}` failed")]
    Write(PathBuf, #[source] io::Error),
    #[error("removing `{0}` failed")]
    Remove(PathBuf, #[source] io::Error),
    #[error("no IP addresses available in range set: {range}")]
    Exhausted { range: String },
    #[error("requested IP address {address} is not available in range set: {reason}")]
    Taken { address: IpAddr, reason: &'static str },
    #[error("`{interface}` of container `{container}` has an address already: {address}")]
    Duplicate { container: String, interface: String, address: String },
}

/// The addresses of one network, locked as long as this lives.
#[derive(Debug)]
pub(super) struct Store {
    directory: PathBuf,
    _lock: File,
}

impl Store {
    /// Opens and locks a network's directory, and makes it when it is missing.
    pub(super) fn open(directory: PathBuf) -> Result<Self, StoreError> {
        let mut made = false;
        loop {
            if let Some(store) = Self::open_existing(directory.clone())? {
                return Ok(store);
            }
            if made {
                let cause = io::Error::from(ErrorKind::NotFound);
                return Err(StoreError::Open(directory, cause));
            }
            let owners = directory.join(".owners");
            fs::create_dir_all(&owners).map_err(|cause| StoreError::Open(owners, cause))?;
            made = true;
        }
    }

    /// Opens and locks a network's directory; `None` when there is none.
    pub(super) fn open_existing(directory: PathBuf) -> Result<Option<Self>, StoreError> {
        let path = directory.join("lock");
        let lock = match OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path) {
            Err(cause) if cause.kind() == ErrorKind::NotFound => return Ok(None),
            lock => lock.map_err(|cause| StoreError::Lock(directory.clone(), cause))?,
        };
        loop {
            match flock(&lock, FlockOperation::LockExclusive) {
                Ok(()) => return Ok(Some(Self { directory, _lock: lock })),
                Err(rustix::io::Errno::INTR) => {}
                Err(cause) => return Err(StoreError::Lock(directory, cause.into())),
            }
        }
    }

    fn path(&self, address: IpAddr) -> PathBuf {
        self.directory.join(address.to_string())
    }

    fn owners_path(&self, owner: Owner<'_>) -> PathBuf {
        self.directory.join(".owners").join(format!("{}:{}", owner.0, owner.1))
    }

    /// Makes a reservation; says `false` when the address is taken. It is there with its owner or not at all: one of
    /// nobody would never be given back.
    fn reserve(&self, address: IpAddr, owner: Owner<'_>) -> Result<bool, StoreError> {
        let (path, beside) = (self.path(address), self.directory.join(".reservation"));
        let failed = |cause| StoreError::Write(path.clone(), cause);
        if fs::exists(&path).map_err(failed)? {
            return Ok(false);
        }
        // The directory is locked: nobody else writes here.
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&beside)
            .map_err(failed)?;
        file.write_all(format!("{}\r\n{}", owner.0, owner.1).as_bytes()).map_err(failed)?;
        fs::rename(&beside, &path).map_err(failed)?;
        Ok(true)
    }

    /// Takes a certain address.
    pub(super) fn take<'a>(
        &mut self,
        set: &'a RangeSet,
        address: IpAddr,
        owner: Owner<'_>,
    ) -> Result<(IpAddr, &'a Range), StoreError> {
        let taken = |reason| StoreError::Taken { address, reason };
        let range = set.range_of(address).ok_or_else(|| taken("it is in none of the ranges"))?;
        if set.is_gateway(address) {
            return Err(taken("it is the gateway"));
        }
        if !self.reserve(address, owner)? {
            return Err(taken("it is in use"));
        }
        Ok((address, range))
    }

    /// Takes the next free address after the one that was taken last.
    pub(super) fn take_next<'a>(
        &mut self,
        set: &'a RangeSet,
        index: usize,
        owner: Owner<'_>,
    ) -> Result<(IpAddr, &'a Range), StoreError> {
        let last_path = self.directory.join(format!("last_reserved_ip.{index}"));
        let last = read_small(&last_path)?.and_then(|text| text.trim().parse().ok());
        for (address, range) in set.addresses_after(last) {
            if self.reserve(address, owner)? {
                let text = address.to_string();
                fs::write(&last_path, text).map_err(|cause| StoreError::Write(last_path.clone(), cause))?;
                return Ok((address, range));
            }
        }
        let subnets: Vec<String> = set.subnets().map(|subnet| subnet.to_string()).collect();
        Err(StoreError::Exhausted { range: subnets.join(", ") })
    }

    /// Fails when the attachment has addresses already.
    pub(super) fn refuse_duplicate(&mut self, owner: Owner<'_>) -> Result<(), StoreError> {
        for address in self.noted(owner)? {
            if self.is_owned(address, owner)? {
                let address = address.to_string();
                return Err(StoreError::Duplicate {
                    container: owner.0.into(),
                    interface: owner.1.into(),
                    address,
                });
            }
        }
        Ok(())
    }

    /// Notes which addresses an attachment has.
    pub(super) fn note(
        &mut self,
        owner: Owner<'_>,
        addresses: impl Iterator<Item = IpAddr>,
    ) -> Result<(), StoreError> {
        let text: String = addresses.map(|address| format!("{address}\n")).collect();
        let path = self.owners_path(owner);
        match fs::write(&path, &text) {
            // The directory was made by the reference plugin.
            Err(cause) if cause.kind() == ErrorKind::NotFound => {
                let parent = self.directory.join(".owners");
                fs::create_dir_all(&parent).map_err(|cause| StoreError::Open(parent, cause))?;
                fs::write(&path, &text).map_err(|cause| StoreError::Write(path, cause))
            }
            result => result.map_err(|cause| StoreError::Write(path, cause)),
        }
    }

    fn noted(&self, owner: Owner<'_>) -> Result<Vec<IpAddr>, StoreError> {
        let text = read_small(&self.owners_path(owner))?.unwrap_or_default();
        Ok(text.lines().filter_map(|line| line.parse().ok()).collect())
    }

    fn is_owned(&self, address: IpAddr, owner: Owner<'_>) -> Result<bool, StoreError> {
        let content = read_small(&self.path(address))?;
        Ok(content.is_some_and(|content| belongs(&content, owner)))
    }

    /// Gives one address of an attachment back.
    pub(super) fn give_back(&mut self, address: IpAddr, owner: Owner<'_>) -> Result<(), StoreError> {
        if self.is_owned(address, owner)? {
            remove(&self.path(address))?;
        }
        Ok(())
    }

    /// Gives all addresses of an attachment back.
    pub(super) fn release(&mut self, owner: Owner<'_>) -> Result<(), StoreError> {
        let noted = self.noted(owner)?;
        if noted.is_empty() {
            let other = |container: &str, interface: &str| {
                container != owner.0 || (interface != owner.1 && !interface.is_empty())
            };
            return self.retain(other);
        }
        for address in noted {
            self.give_back(address, owner)?;
        }
        remove(&self.owners_path(owner))
    }

    /// Whether an attachment has an address.
    pub(super) fn owns_any(&mut self, owner: Owner<'_>) -> Result<bool, StoreError> {
        let reservations = self.reservations()?;
        Ok(reservations.iter().any(|(_, content)| belongs(content, owner)))
    }

    /// Gives back all addresses but those whose owner the function keeps. Reservations of old versions have no
    /// interface.
    pub(super) fn retain(&mut self, keep: impl Fn(&str, &str) -> bool) -> Result<(), StoreError> {
        for (address, content) in self.reservations()? {
            let (container, interface) = split(&content);
            if !keep(container, interface) {
                remove(&self.path(address))?;
                remove(&self.owners_path((container, interface)))?;
            }
        }
        self.retain_notes(keep)
    }

    /// Removes the notes of those whom the function does not keep: whoever gave addresses back may have been killed before it
    /// removed the note.
    fn retain_notes(&mut self, keep: impl Fn(&str, &str) -> bool) -> Result<(), StoreError> {
        let directory = self.directory.join(".owners");
        let failed = |cause| StoreError::Read(directory.clone(), cause);
        let entries = match fs::read_dir(&directory) {
            Err(cause) if cause.kind() == ErrorKind::NotFound => return Ok(()),
            entries => entries.map_err(failed)?,
        };
        for entry in entries {
            let path = entry.map_err(failed)?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            if name.split_once(':').is_some_and(|(container, interface)| !keep(container, interface)) {
                remove(&path)?;
            }
        }
        Ok(())
    }

    fn reservations(&self) -> Result<Vec<(IpAddr, String)>, StoreError> {
        let failed = |cause| StoreError::Read(self.directory.clone(), cause);
        let mut found = Vec::new();
        for entry in fs::read_dir(&self.directory).map_err(failed)? {
            let name = entry.map_err(failed)?.file_name();
            let Some(address) = name.to_str().and_then(|name| name.parse().ok()) else { continue };
            if let Some(content) = read_small(&self.path(address))? {
                found.push((address, content));
            }
        }
        Ok(found)
    }
}

/// Container id and interface of a reservation.
fn split(content: &str) -> (&str, &str) {
    let (container, interface) = content.trim().split_once('\n').unwrap_or((content.trim(), ""));
    (container.trim(), interface.trim())
}

fn belongs(content: &str, owner: Owner<'_>) -> bool {
    let (container, interface) = split(content);
    container == owner.0 && (interface == owner.1 || interface.is_empty())
}

/// Reads a small file; `None` when it is missing.
fn read_small(path: &Path) -> Result<Option<String>, StoreError> {
    let failed = |cause| StoreError::Read(path.to_owned(), cause);
    let file = match File::open(path) {
        Err(cause) if cause.kind() == ErrorKind::NotFound => return Ok(None),
        file => file.map_err(failed)?,
    };
    let mut bytes = Vec::new();
    file.take(MAX_RESERVATION).read_to_end(&mut bytes).map_err(failed)?;
    Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
}

/// Removes a file that may be gone.
fn remove(path: &Path) -> Result<(), StoreError> {
    match fs::remove_file(path) {
        Err(cause) if cause.kind() != ErrorKind::NotFound => Err(StoreError::Remove(path.to_owned(), cause)),
        _ => Ok(()),
    }
}
