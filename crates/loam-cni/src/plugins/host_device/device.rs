//! Which device is meant, and whether it is a link at all.

use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::interface::parse_hardware_address;
use crate::netlink::{Link, NetlinkError, RouteSocket};
use crate::protocol::{CniError, Context, check_interface_name};

/// Where the kernel shows its devices.
const SYSFS: &str = "/sys";
/// Drivers that hand a device to a program in user space; there is no link then.
const USER_SPACE_DRIVERS: [&str; 3] = ["vfio-pci", "uio_pci_generic", "igb_uio"];

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Keys {
    device: String,
    hwaddr: String,
    kernelpath: String,
    #[serde(rename = "pciBusID")]
    pci_bus_id: String,
    #[serde(rename = "runtimeConfig")]
    runtime: Runtime,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Runtime {
    #[serde(rename = "deviceID")]
    device_id: String,
}

/// How the configuration names a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Device {
    /// By the link's name.
    Name(String),
    /// By the link's hardware address.
    HardwareAddress(Vec<u8>),
    /// By the device's directory below `/sys/devices`.
    KernelPath(PathBuf),
    /// By its address on the PCI bus.
    Pci(String),
    /// By its name on the auxiliary bus.
    Auxiliary(String),
}

impl Device {
    /// Reads the configuration; the runtime's device comes before all, then the keys in the reference plugin's order.
    pub(super) fn read(context: &Context<'_>) -> Result<Self, CniError> {
        Self::from_keys(context.config.decode()?)
    }

    fn from_keys(keys: Keys) -> Result<Self, CniError> {
        let invalid = |key: &str, value: &str| {
            CniError::invalid_config(format!("`{key}` `{}` is invalid", value.escape_default()))
        };
        let id = keys.runtime.device_id;
        if !id.is_empty() {
            return match id {
                id if is_pci_address(&id) => Ok(Device::Pci(id)),
                id if id.contains(['/', '\0']) || id.starts_with('.') => {
                    Err(invalid("runtimeConfig.deviceID", &id))
                }
                id => Ok(Device::Auxiliary(id)),
            };
        }
        if !keys.device.is_empty() {
            check_interface_name(&keys.device).map_err(|_| invalid("device", &keys.device))?;
            return Ok(Device::Name(keys.device));
        }
        if !keys.hwaddr.is_empty() {
            let mac = parse_hardware_address(&keys.hwaddr).ok_or_else(|| invalid("hwaddr", &keys.hwaddr))?;
            return Ok(Device::HardwareAddress(mac));
        }
        if !keys.kernelpath.is_empty() {
            let path = PathBuf::from(&keys.kernelpath);
            let climbs = path.components().any(|part| part == std::path::Component::ParentDir);
            if !path.starts_with("/sys/devices") || climbs {
                return Err(invalid("kernelpath", &keys.kernelpath));
            }
            return Ok(Device::KernelPath(path));
        }
        if is_pci_address(&keys.pci_bus_id) {
            return Ok(Device::Pci(keys.pci_bus_id));
        }
        if keys.pci_bus_id.is_empty() {
            let message = "one of `device`, `hwaddr`, `kernelpath`, `pciBusID` must be there";
            return Err(CniError::invalid_config(message));
        }
        Err(invalid("pciBusID", &keys.pci_bus_id))
    }

    /// Whether a driver has handed the device to a program in user space.
    pub(super) fn is_in_user_space(&self) -> bool {
        let Device::Pci(address) = self else { return false };
        is_in_user_space(Path::new(SYSFS), address)
    }

    /// Finds the link of the device on the host.
    pub(super) fn find(&self, socket: &mut RouteSocket) -> Result<Link, CniError> {
        let missing = |what: String| CniError::invalid_config(format!("{what} does not exist"));
        let failed = |cause: NetlinkError| CniError::internal("looking up the device failed", &cause);
        let (name, shown) = match self {
            Device::Name(name) => (Some(name.clone()), format!("device `{name}`")),
            Device::HardwareAddress(mac) => {
                let links = socket.links().map_err(failed)?;
                let shown = crate::netlink::mac_text(mac);
                return links
                    .into_iter()
                    .find(|link| link.mac == *mac)
                    .ok_or_else(|| missing(format!("a device with hardware address `{shown}`")));
            }
            Device::KernelPath(path) => (
                link_of(path),
                format!("a network device at `{}`", path.display().to_string().escape_default()),
            ),
            Device::Pci(address) => {
                let path = Path::new(SYSFS).join("bus/pci/devices").join(address);
                (link_of(&path), format!("a network device at PCI address `{address}`"))
            }
            Device::Auxiliary(name) => {
                let path = Path::new(SYSFS).join("bus/auxiliary/devices").join(name);
                (
                    link_of(&path),
                    format!("a network device at `{}` of the auxiliary bus", name.escape_default()),
                )
            }
        };
        let Some(name) = name else { return Err(missing(shown)) };
        socket.link(&name).map_err(failed)?.ok_or_else(|| missing(shown))
    }
}

/// Whether a text is an address such as `0000:3b:02.1`: domain, bus, device, function.
fn is_pci_address(text: &str) -> bool {
    let hexadecimal =
        |part: &str, length: usize| part.len() == length && part.bytes().all(|byte| byte.is_ascii_hexdigit());
    let mut parts = text.split(':');
    let (domain, bus, rest) = (parts.next(), parts.next(), parts.next());
    let (Some(domain), Some(bus), Some((device, function)), None) =
        (domain, bus, rest.and_then(|rest| rest.split_once('.')), parts.next())
    else {
        return false;
    };
    hexadecimal(domain, 4) && hexadecimal(bus, 2) && hexadecimal(device, 2) && hexadecimal(function, 1)
}

fn is_in_user_space(sysfs: &Path, address: &str) -> bool {
    let driver = fs::read_link(sysfs.join("bus/pci/devices").join(address).join("driver"));
    driver
        .ok()
        .and_then(|link| link.file_name().map(|name| name.to_string_lossy().into_owned()))
        .is_some_and(|driver| USER_SPACE_DRIVERS.contains(&driver.as_str()))
}

/// The name of a device's link; that of a virtio device is one directory deeper.
fn link_of(device: &Path) -> Option<String> {
    let mut places = vec![device.join("net")];
    if let Ok(entries) = fs::read_dir(device) {
        let names = entries.flatten().map(|entry| entry.file_name());
        let deeper = names.filter(|name| name.to_string_lossy().starts_with("virtio"));
        places.extend(deeper.map(|name| device.join(name).join("net")));
    }
    let mut names: Vec<String> = places
        .iter()
        .filter_map(|place| fs::read_dir(place).ok())
        .flat_map(|entries| entries.flatten())
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect();
    names.sort();
    names.into_iter().next()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn device(text: &str) -> Result<Device, CniError> {
        Device::from_keys(serde_json::from_str(text).expect("valid JSON"))
    }

    #[test]
    fn devices_are_named_in_many_ways() {
        assert_eq!(device(r#"{"device":"ens5","hwaddr":"x"}"#), Ok(Device::Name("ens5".into())));
        assert_eq!(device(r#"{"pciBusID":"0000:3b:02.1"}"#), Ok(Device::Pci("0000:3b:02.1".into())));
        let runtime = r#"{"device":"ens5","runtimeConfig":{"deviceID":"0000:3b:02.1"}}"#;
        assert_eq!(device(runtime), Ok(Device::Pci("0000:3b:02.1".into())));
        let auxiliary = r#"{"runtimeConfig":{"deviceID":"mlx5_core.sf.4"}}"#;
        assert_eq!(device(auxiliary), Ok(Device::Auxiliary("mlx5_core.sf.4".into())));
        assert_eq!(
            device(r#"{"hwaddr":"02:00:00:00:00:01"}"#),
            Ok(Device::HardwareAddress(vec![2, 0, 0, 0, 0, 1]))
        );
        for bad in [
            "{}",
            r#"{"device":"sixteen-letters-"}"#,
            r#"{"hwaddr":"02:00"}"#,
            r#"{"kernelpath":"/etc"}"#,
            r#"{"kernelpath":"/sys/devices/../../etc"}"#,
            r#"{"pciBusID":"../../x"}"#,
            r#"{"runtimeConfig":{"deviceID":"../x"}}"#,
        ] {
            assert_eq!(device(bad).expect_err("refused").code, 7, "{bad}");
        }
    }

    #[test]
    fn the_kernel_s_directories_are_read() {
        let sysfs = tempfile::tempdir().expect("a temporary directory");
        let device = |address: &str| sysfs.path().join("bus/pci/devices").join(address);
        fs::create_dir_all(device("0000:00:01.0").join("net/ens5")).expect("writable");
        fs::create_dir_all(device("0000:00:02.0").join("virtio3/net/ens6")).expect("writable");
        fs::create_dir_all(device("0000:00:03.0")).expect("writable");
        symlink("../../drivers/vfio-pci", device("0000:00:03.0").join("driver")).expect("writable");
        symlink("../../drivers/ixgbe", device("0000:00:01.0").join("driver")).expect("writable");
        assert_eq!(link_of(&device("0000:00:01.0")).as_deref(), Some("ens5"));
        assert_eq!(link_of(&device("0000:00:02.0")).as_deref(), Some("ens6"));
        assert_eq!(link_of(&device("0000:00:03.0")), None);
        assert!(is_in_user_space(sysfs.path(), "0000:00:03.0"));
        assert!(!is_in_user_space(sysfs.path(), "0000:00:01.0"));
    }
}
