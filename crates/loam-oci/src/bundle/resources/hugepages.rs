//! Limits on huge pages.

use loam_model::oci_spec::runtime::{LinuxHugepageLimit, LinuxHugepageLimitBuilder};
use loam_model::{ErrorKind, Failure, Limits, Result, shown};

use super::{invalid, needs};
use crate::bundle::Host;

/// The limits on huge pages of each size; `None` when there are none.
pub(super) fn resolve(limits: &Limits, host: &Host) -> Result<Option<Vec<LinuxHugepageLimit>>> {
    let one = |(size, &bytes): (&String, &u64)| {
        needs(host, &["hugetlb"], "huge page limit")?;
        if !host.hugepages.contains(size) {
            let known = if host.hugepages.is_empty() { "none".to_owned() } else { host.hugepages.join(", ") };
            let message = format!("this kernel has no huge pages of size `{}`, but {known}", shown(size));
            return Err(Failure::new(ErrorKind::Unsupported, message));
        }
        let Ok(limit) = i64::try_from(bytes) else {
            return Err(invalid(format!("huge page limit `{bytes}` is too large")));
        };
        let limit = LinuxHugepageLimitBuilder::default().page_size(size.clone()).limit(limit);
        Ok(limit.build().expect("a size and a limit"))
    };
    let limits: Vec<LinuxHugepageLimit> = limits.hugepages.iter().map(one).collect::<Result<_>>()?;
    Ok(Some(limits).filter(|limits| !limits.is_empty()))
}
