//! `--uid-map` and `--gid-map`: ranges of ids, in the words of newuidmap(1) and umoci.

use loam_model::{IdMapping, IdRange, shown};

use super::Parsed;

/// The most ranges that the kernel takes (user_namespaces(7)).
const MOST: usize = 340;

/// Reads `CONTAINER:HOST[:COUNT]`; the count is 1 when absent.
pub(crate) fn parse_id_range(text: &str) -> Parsed<IdRange> {
    let malformed = || format!("`{}` is not of the form ID:HOST_ID[:COUNT]", shown(text));
    let numbers: Vec<u32> =
        text.split(':').map(|part| part.parse().map_err(|_| malformed())).collect::<Parsed<_>>()?;
    let (container, host, size) = match numbers[..] {
        [container, host] => (container, host, 1),
        [container, host, size] => (container, host, size),
        _ => return Err(malformed()),
    };
    let fits = |first: u32| first.checked_add(size).is_some();
    match size > 0 && fits(container) && fits(host) {
        true => Ok(IdRange { container, host, size }),
        false => Err(format!("`{}` is not a range of ids", shown(text))),
    }
}

/// A mapping of ranges that do not overlap and have an id for root.
pub(crate) fn id_mapping(ranges: &[IdRange], what: &str) -> Parsed<IdMapping> {
    let overlap = |first: fn(&IdRange) -> u32| {
        let mut sorted: Vec<(u32, u32)> = ranges.iter().map(|range| (first(range), range.size)).collect();
        sorted.sort_unstable();
        sorted.windows(2).any(|pair| pair[0].0 + pair[0].1 > pair[1].0)
    };
    if overlap(|range| range.container) || overlap(|range| range.host) {
        return Err(format!("the ranges of {what} overlap"));
    }
    if ranges.len() > MOST {
        return Err(format!("there are more than {MOST} ranges of {what}"));
    }
    let mapping = IdMapping { ranges: ranges.to_vec() };
    match mapping.to_host(0) {
        Some(_) => Ok(mapping),
        None => Err(format!("the ranges of {what} have no id for 0, which is root")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read_and_must_fit() {
        let range = |container, host, size| IdRange { container, host, size };
        assert_eq!(parse_id_range("0:1000").expect("a range"), range(0, 1000, 1));
        assert_eq!(parse_id_range("0:100000:65536").expect("a range"), range(0, 100_000, 65_536));
        for bad in ["", "0", "0:", "0:1:2:3", "-1:0", "0:1:0", "0:4294967295:2", "a:b"] {
            assert!(parse_id_range(bad).is_err(), "{bad}");
        }
        assert!(id_mapping(&[range(0, 5, 1), range(1, 100, 9)], "users").is_ok());
        for (ranges, word) in [
            (&[range(1, 5, 1)][..], "root"),
            (&[range(0, 5, 2), range(1, 9, 1)], "overlap"),
            (&[range(0, 5, 2), range(7, 6, 1)], "overlap"),
        ] {
            let refusal = id_mapping(ranges, "users").expect_err("makes no sense");
            assert!(refusal.contains(word), "{refusal}");
        }
    }
}
