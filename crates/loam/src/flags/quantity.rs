//! Numbers with units: sizes, processors, ulimits.

use loam_model::{Limits, shown};

use super::{Parsed, options};

/// What stands for no limit.
const UNLIMITED: &str = "-1";

/// Parses a size such as `64m`, `1.5g`, `512` (bytes) or `10KiB`. Units are powers of 1024, as Docker has it.
pub(super) fn size(text: &str) -> Parsed<u64> {
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let malformed = || "a size is a number and a unit, such as 64m or 1.5g".to_owned();
    if number.is_empty() {
        return Err(malformed());
    }
    let shift = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 0,
        "k" | "kb" | "kib" => 10,
        "m" | "mb" | "mib" => 20,
        "g" | "gb" | "gib" => 30,
        "t" | "tb" | "tib" => 40,
        "p" | "pb" | "pib" => 50,
        _ => return Err("the unit must be one of b, k, m, g, t, p".to_owned()),
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() || fraction.len() > 9 || fraction.contains('.') {
        return Err(malformed());
    }
    let too_large = || "the size is too large".to_owned();
    let whole: u64 = whole.parse().map_err(|_| too_large())?;
    let bytes = whole.checked_mul(1 << shift).ok_or_else(too_large)?;
    if fraction.is_empty() {
        return Ok(bytes);
    }
    let numerator: u64 = fraction.parse().map_err(|_| malformed())?;
    let denominator = 10_u128.pow(u32::try_from(fraction.len()).map_err(|_| malformed())?);
    let part = (u128::from(numerator) << shift) / denominator;
    bytes.checked_add(u64::try_from(part).map_err(|_| too_large())?).ok_or_else(too_large)
}

/// Parses one `--storage-opt`, of which there is `size=SIZE`.
pub(crate) fn storage_option(text: &str) -> Parsed<u64> {
    match options::list(text).collect::<Vec<_>>()[..] {
        [("size", value)] => match size(options::needed("size", value)?)? {
            bytes if bytes < Limits::LEAST_DISK => Err("the least is 1 MiB".to_owned()),
            bytes => Ok(bytes),
        },
        [(key, _)] => options::unknown(key),
        _ => Err("a storage option is size=SIZE, such as size=1g".to_owned()),
    }
}

/// Parses `--memory-swap`: a size, or -1 for no limit.
pub(super) fn swap(text: &str) -> Parsed<i64> {
    if text == UNLIMITED {
        return Ok(-1);
    }
    i64::try_from(size(text)?).map_err(|_| "the size is too large".to_owned())
}

/// Parses `--memory`: likewise, and a size must be one that a program can start with.
pub(super) fn memory(text: &str) -> Parsed<i64> {
    match swap(text)? {
        bytes if u64::try_from(bytes).is_ok_and(|bytes| bytes < Limits::LEAST_MEMORY) => {
            Err("it is less than 6 MiB, with which no program starts".to_owned())
        }
        bytes => Ok(bytes),
    }
}

/// Parses `--pids-limit`: a number of processes, or -1 for no limit.
pub(super) fn processes(text: &str) -> Parsed<i64> {
    match text.parse() {
        Ok(number) if number >= -1 => Ok(number),
        _ => Err("it is neither a number of processes nor -1 for no limit".to_owned()),
    }
}

/// Parses a number of processors such as `1.5` into thousandths.
pub(super) fn processors(text: &str) -> Parsed<u64> {
    let malformed = || "a number of processors is such as 2 or 1.5, with at most three decimals".to_owned();
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let is_number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if (whole.is_empty() && fraction.is_empty()) || !is_number(whole) || !is_number(fraction) {
        return Err(malformed());
    }
    let fraction = fraction.trim_end_matches('0');
    if fraction.len() > 3 {
        return Err(malformed());
    }
    let whole: u64 = if whole.is_empty() { 0 } else { whole.parse().map_err(|_| malformed())? };
    let fraction: u64 = format!("{fraction:0<3}").parse().map_err(|_| malformed())?;
    match whole.checked_mul(1000).and_then(|whole| whole.checked_add(fraction)) {
        Some(0) => Err("no processor time at all lets nothing run".to_owned()),
        Some(thousandths) => Ok(thousandths),
        None => Err(malformed()),
    }
}

/// Parses `NAME=SOFT[:HARD]`; the name without `RLIMIT_`, in lower case. -1 is no limit.
pub(super) fn ulimit(text: &str) -> Parsed<(String, (u64, u64))> {
    const NAMES: [&str; 16] = [
        "as",
        "core",
        "cpu",
        "data",
        "fsize",
        "locks",
        "memlock",
        "msgqueue",
        "nice",
        "nofile",
        "nproc",
        "rss",
        "rtprio",
        "rttime",
        "sigpending",
        "stack",
    ];
    let malformed = || "a ulimit is NAME=SOFT[:HARD], such as nofile=1024:2048".to_owned();
    let (name, values) = text.split_once('=').ok_or_else(malformed)?;
    let name = name.to_ascii_lowercase();
    if !NAMES.contains(&name.as_str()) {
        return Err(format!("`{}` is not a resource limit", shown(&name)));
    }
    let value = |text: &str| match text {
        "-1" | "unlimited" => Ok(u64::MAX),
        text => text.parse().map_err(|_| malformed()),
    };
    let (soft, hard) = values.split_once(':').unwrap_or((values, values));
    let (soft, hard) = (value(soft)?, value(hard)?);
    if soft > hard {
        return Err("the soft limit is above the hard one".to_owned());
    }
    Ok((name, (soft, hard)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_units_of_1024() {
        for (text, bytes) in [
            ("0", 0),
            ("512", 512),
            ("512b", 512),
            ("64m", 64 << 20),
            ("64M", 64 << 20),
            ("64MiB", 64 << 20),
            ("1.5g", 3 << 29),
            ("0.5k", 512),
            ("1.k", 1024),
            ("2tb", 2 << 40),
        ] {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
        for text in ["", "m", "-1", "1x", "1 m", ".5m", "1.2.3m", "99999999999999999999", "20000000p", "1.m5"]
        {
            assert!(size(text).is_err(), "{text}");
        }
        for text in ["", "lots", "-1", "-5m"] {
            let sentence = "a size is a number and a unit, such as 64m or 1.5g";
            assert_eq!(size(text), Err(sentence.to_owned()), "{text}");
        }
        assert_eq!(size("5x"), Err("the unit must be one of b, k, m, g, t, p".to_owned()));
    }

    #[test]
    fn storage_options_are_sizes() {
        assert_eq!(storage_option("size=1g"), Ok(1 << 30));
        assert_eq!(storage_option("size=1.5m"), Ok(3 << 19));
        for text in ["", "size", "size=", "size=lots", "1g", "inodes=5", "size=1g,size=2g", "size=1g,x=y"] {
            assert!(storage_option(text).is_err(), "{text}");
        }
    }

    #[test]
    fn the_least_that_makes_sense_is_named_in_units() {
        assert_eq!(memory("6m"), Ok(6 << 20));
        assert_eq!(memory("-1"), Ok(-1));
        for text in ["0", "1k", "6291455"] {
            let sentence = "it is less than 6 MiB, with which no program starts";
            assert_eq!(memory(text), Err(sentence.to_owned()), "{text}");
        }
        assert_eq!(memory("10000000p"), Err("the size is too large".to_owned()));
        assert_eq!(storage_option("size=1m"), Ok(1 << 20));
        assert_eq!(storage_option("size=1"), Err("the least is 1 MiB".to_owned()));
    }

    #[test]
    fn processes_are_a_number_or_without_limit() {
        assert_eq!((processes("100"), processes("-1")), (Ok(100), Ok(-1)));
        for text in ["x", "", "-2", "1.5", "99999999999999999999"] {
            let sentence = "it is neither a number of processes nor -1 for no limit";
            assert_eq!(processes(text), Err(sentence.to_owned()), "{text}");
        }
    }

    #[test]
    fn swap_may_be_without_limit() {
        assert_eq!(swap("-1"), Ok(-1));
        assert_eq!(swap("1k"), Ok(1024));
        assert!(swap("-2").is_err());
    }

    #[test]
    fn processors_have_three_decimals() {
        for (text, thousandths) in
            [("1", 1000), ("1.5", 1500), (".5", 500), ("0.001", 1), ("2.", 2000), ("1.5000", 1500)]
        {
            assert_eq!(processors(text), Ok(thousandths), "{text}");
        }
        for text in ["", ".", "0", "0.0", "1.0001", "-1", "1e3", "x", "1.5.1"] {
            assert!(processors(text).is_err(), "{text}");
        }
    }

    #[test]
    fn ulimits_have_a_soft_and_a_hard_value() {
        assert_eq!(ulimit("nofile=1024"), Ok(("nofile".to_owned(), (1024, 1024))));
        assert_eq!(ulimit("CORE=0:unlimited"), Ok(("core".to_owned(), (0, u64::MAX))));
        assert_eq!(ulimit("stack=-1"), Ok(("stack".to_owned(), (u64::MAX, u64::MAX))));
        for text in ["nofile", "nofile=", "nofile=2:1", "files=1", "nofile=1:2:3", "=1"] {
            assert!(ulimit(text).is_err(), "{text}");
        }
    }
}
