//! Time lost waiting (the kernel's accounting/psi): two lines such as `some avg10=0.00 avg60=0.00 avg300=0.00 total=0`.

use std::path::Path;

use loam_model::{Pressure, PressureStall};
use rustix::io::Errno;

use crate::cgroup::{CgroupError, read as read_file};

/// The figures in a file; `None` where this kernel does not count.
pub(super) fn read(directory: &Path, file: &str) -> Result<Option<Pressure>, CgroupError> {
    let text = match read_file(&directory.join(file)) {
        Err(CgroupError::Read { source, .. })
            if source.kind() == std::io::ErrorKind::NotFound
                || source.raw_os_error() == Some(Errno::OPNOTSUPP.raw_os_error()) =>
        {
            return Ok(None);
        }
        other => other?,
    };
    Ok(parse(&text))
}

fn parse(text: &str) -> Option<Pressure> {
    let line = |kind: &str| text.lines().find_map(|line| stall(line.strip_prefix(kind)?));
    Some(Pressure { some: line("some ")?, full: line("full ") })
}

fn stall(line: &str) -> Option<PressureStall> {
    let value = |key: &str| line.split_whitespace().find_map(|word| word.strip_prefix(key));
    Some(PressureStall {
        avg10: value("avg10=")?.parse().ok()?,
        avg60: value("avg60=")?.parse().ok()?,
        avg300: value("avg300=")?.parse().ok()?,
        total_us: value("total=")?.parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_lines_are_read() {
        let text = "some avg10=12.34 avg60=5.00 avg300=0.01 total=123456\nfull avg10=1.00 avg60=0.00 avg300=0.00 total=7\n";
        let pressure = parse(text).expect("figures");
        assert_eq!((pressure.some.avg10, pressure.some.total_us), (12.34, 123_456));
        assert_eq!(pressure.full.map(|full| full.total_us), Some(7));
        assert_eq!(parse("some avg10=x\n"), None);
    }
}
