//! TAP devices: links whose other end is a file descriptor, as virtual machines use them (kernel documentation, tuntap).

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;

/// What a TAP device is made from.
#[derive(Clone, Copy, Debug, Default)]
pub struct TapSettings {
    /// Whether it has several queues.
    pub multi_queue: bool,
    /// The user who may open it; root alone when absent.
    pub owner: Option<u32>,
    /// The group that may open it.
    pub group: Option<u32>,
}

/// Makes a TAP device that stays when nobody has it open, in the network namespace of the calling thread. Frames carry the
/// header of virtio and nothing else before them.
///
/// # Errors
/// `NotFound` when the kernel has no TAP devices or there is no `/dev/net/tun`, `ResourceBusy` when the name is taken by
/// another link, `InvalidInput` when it is longer than 15 bytes.
pub fn make_tap(name: &str, settings: TapSettings) -> io::Result<()> {
    // SAFETY: an all-zero `ifreq` is a valid value of the plain structure.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    if name.len() >= request.ifr_name.len() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    for (place, byte) in request.ifr_name.iter_mut().zip(name.bytes()) {
        *place = byte.cast_signed();
    }
    let multi_queue = if settings.multi_queue { libc::IFF_MULTI_QUEUE } else { 0 };
    let flags = libc::IFF_TAP | libc::IFF_NO_PI | libc::IFF_VNET_HDR | libc::IFF_TUN_EXCL | multi_queue;
    // All bits of the field are flags, the uppermost too.
    request.ifr_ifru.ifru_flags = u16::try_from(flags).map_err(io::Error::other)?.cast_signed();
    let device = File::options().read(true).write(true).open("/dev/net/tun")?;
    // SAFETY: TUNSETIFF reads and writes an `ifreq`, which `request` is.
    let made = unsafe { libc::ioctl(device.as_raw_fd(), libc::TUNSETIFF, &raw mut request) };
    if made != 0 {
        return Err(io::Error::last_os_error());
    }
    if let Some(owner) = settings.owner {
        set(&device, libc::TUNSETOWNER, owner)?;
    }
    if let Some(group) = settings.group {
        set(&device, libc::TUNSETGROUP, group)?;
    }
    // From now on the device stays when the descriptor is closed.
    set(&device, libc::TUNSETPERSIST, 1)
}

fn set(device: &File, request: libc::Ioctl, value: u32) -> io::Result<()> {
    // SAFETY: these requests take a number, not a pointer.
    let result = unsafe { libc::ioctl(device.as_raw_fd(), request, libc::c_ulong::from(value)) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
