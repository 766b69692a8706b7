//! Making networks and removing them.
//!
//! A list is written beside its place and renamed, under a lock of the directory (flock), so that two who make networks
//! at once see each other's. What is taken by another network, or by the host, is refused by name.

mod compose;
mod networker;
mod own_subnets;
mod taken;
mod validate;

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::net::IpAddr;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use ipnet::IpNet;
use loam_model::{ErrorKind, Failure, NetworkDescription, NetworkName, NetworkSource, Result};

pub(crate) use compose::{BRIDGES, DefaultBridge, default_text};

use crate::conflist::{MAX_BYTES, NetworkList};
use crate::describe::description;
use crate::failure::of_files;
use crate::network::CniNetwork;
use taken::Taken;

impl CniNetwork {
    /// [`loam_model::Network::create_network`].
    pub(crate) fn create(&self, source: &NetworkSource) -> Result<NetworkDescription> {
        let directory = &self.config.conf_dir;
        make_directory(directory)?;
        let _lock = lock(directory)?;
        let taken = Taken::look(directory)?;
        let list = match source {
            NetworkSource::Spec(name, spec) => {
                taken.refuse_name(name.as_str())?;
                let spec = taken.complete(name, spec)?;
                let bridge = taken.bridge(&spec)?;
                let text = compose::text(name, &spec, bridge.as_deref(), &self.config.data_dir)?;
                parse(text)?
            }
            NetworkSource::Configuration(text) if text.len() as u64 > MAX_BYTES => {
                let message = format!("the configuration is longer than {MAX_BYTES} bytes");
                return Err(Failure::new(ErrorKind::Invalid, message));
            }
            NetworkSource::Configuration(text) => {
                let list = parse(text.clone())?;
                taken.refuse_name(&list.name)?;
                taken.refuse_interface(&list)?;
                taken.refuse_subnets(&list.subnets(), false)?;
                list
            }
        };
        let name: NetworkName = list
            .name
            .parse()
            .map_err(|error: loam_model::InvalidName| Failure::new(ErrorKind::Invalid, error.to_string()))?;
        self.validate(&list)?;
        let path = directory.join(format!("{name}.conflist"));
        write(directory, &path, &list.text)
            .map_err(|error| of_files(&format!("writing `{}` failed", path.display()), error))?;
        Ok(description(name, Some(path), &list))
    }
}

fn parse(text: String) -> Result<NetworkList> {
    NetworkList::parse(text)
        .map_err(|error| Failure::new(ErrorKind::Invalid, "the configuration can't be used").caused_by(error))
}

/// Makes the directory of networks unless it is there.
pub(crate) fn make_directory(directory: &Path) -> Result<()> {
    let made = fs::DirBuilder::new().recursive(true).mode(0o755).create(directory);
    made.map_err(|cause| of_files(&format!("making directory `{}` failed", directory.display()), cause))
}

/// Locks the directory of networks, until the file is dropped.
pub(crate) fn lock(directory: &Path) -> Result<File> {
    let failed = |cause: io::Error| of_files(&format!("locking `{}` failed", directory.display()), cause);
    let file = File::open(directory).map_err(failed)?;
    loam_state_file::lock(&file).map(|()| file).map_err(failed)
}

/// Writes a list beside its place, syncs and renames it.
pub(crate) fn write(directory: &Path, path: &Path, text: &str) -> io::Result<()> {
    // The directory is locked: nobody else writes here.
    let beside = directory.join(".conflist.new");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o644).open(&beside)?;
    file.write_all(text.as_bytes()).and_then(|()| file.sync_data())?;
    fs::rename(&beside, path)
}

/// Whether an address is one that a container or a gateway of a subnet can have.
fn is_host_of(subnet: IpNet, address: IpAddr) -> bool {
    let single = subnet.prefix_len() == subnet.max_prefix_len();
    let end = address.is_ipv4() && subnet.prefix_len() < 31 && address == subnet.broadcast();
    subnet.contains(&address) && (single || address != subnet.network() || subnet.prefix_len() == 31) && !end
}
