//! Weights and rates of block input and output.

use std::fs;
use std::ops::RangeInclusive;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use loam_model::oci_spec::runtime::{
    LinuxBlockIo, LinuxBlockIoBuilder, LinuxThrottleDevice, LinuxThrottleDeviceBuilder, LinuxWeightDevice,
    LinuxWeightDeviceBuilder,
};
use loam_model::{ErrorKind, Failure, Limits, Result, Throttled, shown_bytes};

use super::{invalid, needs};
use crate::bundle::Host;

/// The names of the controller, in version 1 and 2.
const CONTROLLER: [&str; 2] = ["blkio", "io"];
/// The range of weights.
const WEIGHTS: RangeInclusive<u16> = 10..=1000;

/// The limits on block devices; `None` when there are none.
pub(super) fn resolve(limits: &Limits, host: &Host) -> Result<Option<LinuxBlockIo>> {
    let mut builder = LinuxBlockIoBuilder::default();
    if let Some(weight) = limits.block_weight {
        needs(host, &CONTROLLER, "block input and output weight")?;
        builder = builder.weight(check_weight(weight)?);
    }
    if !limits.block_weight_devices.is_empty() {
        needs(host, &CONTROLLER, "block input and output weight")?;
        let one = |given: &loam_model::BlockWeight| weight(&given.device, given.weight);
        builder =
            builder.weight_device(limits.block_weight_devices.iter().map(one).collect::<Result<Vec<_>>>()?);
    }
    if !limits.block_throttles.is_empty() {
        needs(host, &CONTROLLER, "block input and output rate")?;
    }
    if let Some(list) = throttles(limits, Throttled::ReadBytes)? {
        builder = builder.throttle_read_bps_device(list);
    }
    if let Some(list) = throttles(limits, Throttled::WriteBytes)? {
        builder = builder.throttle_write_bps_device(list);
    }
    if let Some(list) = throttles(limits, Throttled::ReadOperations)? {
        builder = builder.throttle_read_iops_device(list);
    }
    if let Some(list) = throttles(limits, Throttled::WriteOperations)? {
        builder = builder.throttle_write_iops_device(list);
    }
    let block_io = builder.build().expect("every member of the block limits has a default");
    Ok(Some(block_io).filter(|block_io| *block_io != LinuxBlockIo::default()))
}

fn check_weight(weight: u16) -> Result<u16> {
    match WEIGHTS.contains(&weight) {
        true => Ok(weight),
        false => Err(invalid(format!("block weight `{weight}` is not between 10 and 1000"))),
    }
}

fn weight(device: &Path, weight: u16) -> Result<LinuxWeightDevice> {
    let weight = check_weight(weight)?;
    let (major, minor) = numbers(device)?;
    let built = LinuxWeightDeviceBuilder::default().major(major).minor(minor).weight(weight).build();
    Ok(built.expect("numbers and a weight"))
}

fn throttles(limits: &Limits, what: Throttled) -> Result<Option<Vec<LinuxThrottleDevice>>> {
    let one = |given: &loam_model::BlockThrottle| {
        let (major, minor) = numbers(&given.device)?;
        if given.rate == 0 {
            let device = shown_bytes(given.device.as_os_str().as_encoded_bytes());
            return Err(invalid(format!("a rate of nothing at all on `{device}` lets nothing through")));
        }
        let built = LinuxThrottleDeviceBuilder::default().major(major).minor(minor).rate(given.rate).build();
        Ok(built.expect("numbers and a rate"))
    };
    let of_this = limits.block_throttles.iter().filter(|throttle| throttle.what == what);
    let list: Vec<LinuxThrottleDevice> = of_this.map(one).collect::<Result<_>>()?;
    Ok(Some(list).filter(|list| !list.is_empty()))
}

/// The numbers of a block device that the kernel can throttle: a whole one.
fn numbers(device: &Path) -> Result<(i64, i64)> {
    let shown = shown_bytes(device.as_os_str().as_encoded_bytes());
    let found = fs::metadata(device).map_err(|error| {
        let kind = match error.kind() {
            std::io::ErrorKind::NotFound => ErrorKind::NotFound,
            _ => ErrorKind::of_io(&error),
        };
        Failure::new(kind, format!("block device `{shown}` can't be looked at")).caused_by(error)
    })?;
    if !found.file_type().is_block_device() {
        return Err(invalid(format!("`{shown}` is not a block device")));
    }
    let (major, minor) = (rustix::fs::major(found.rdev()), rustix::fs::minor(found.rdev()));
    if Path::new(&format!("/sys/dev/block/{major}:{minor}/partition")).exists() {
        return Err(invalid(format!("`{shown}` is a partition: limits are set on whole devices")));
    }
    Ok((major.into(), minor.into()))
}
