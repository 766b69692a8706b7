//! Ids and names for containers that were given none.

use loam_model::{ContainerId, ContainerName, ErrorKind, Failure, Result};

/// What a plant may be like.
const FIRST: [&str; 32] = [
    "amber", "autumn", "bold", "bright", "calm", "clear", "cool", "crisp", "dapper", "early", "fair",
    "fresh", "gentle", "golden", "hardy", "keen", "late", "lively", "lone", "mellow", "misty", "nimble",
    "plain", "proud", "quiet", "rapid", "silver", "spry", "sunny", "tidy", "warm", "young",
];

/// What grows in soil.
const SECOND: [&str; 64] = [
    "alder", "apple", "ash", "aspen", "aster", "barley", "basil", "bean", "beech", "birch", "bracken",
    "briar", "broom", "cedar", "cherry", "chive", "clover", "cress", "daisy", "dill", "elder", "elm",
    "fennel", "fern", "fig", "flax", "furze", "garlic", "gorse", "hazel", "heather", "hop", "iris", "ivy",
    "juniper", "larch", "laurel", "leek", "lilac", "linden", "lupin", "maple", "marram", "mint", "moss",
    "myrtle", "nettle", "oak", "oat", "olive", "pear", "pine", "plum", "poppy", "quince", "reed", "rose",
    "rowan", "rye", "sage", "sorrel", "thyme", "willow", "yarrow",
];

/// Makes a new id.
pub(crate) fn new_id() -> Result<ContainerId> {
    id_from(|| {
        let mut bytes = [0; 32];
        fill(&mut bytes)?;
        Ok(bytes)
    })
}

/// The first id drawn whose short form has a letter. The short form is the container's hostname, and the C library
/// takes a name of digits only for an address (inet_aton(3)): it does not look it up.
fn id_from(mut draw: impl FnMut() -> Result<[u8; 32]>) -> Result<ContainerId> {
    loop {
        let id = ContainerId::from_random(draw()?);
        if id.short().contains(|digit: char| digit.is_ascii_alphabetic()) {
            return Ok(id);
        }
    }
}

/// Makes up a name of two words; with a number behind when `attempt` says that several without were taken.
pub(crate) fn made_up_name(attempt: u32) -> Result<ContainerName> {
    let mut bytes = [0; 4];
    fill(&mut bytes)?;
    let first = FIRST[usize::from(bytes[0]) % FIRST.len()];
    let second = SECOND[usize::from(bytes[1]) % SECOND.len()];
    let text = match attempt {
        0..4 => format!("{first}-{second}"),
        _ => format!("{first}-{second}-{}", u16::from_le_bytes([bytes[2], bytes[3]])),
    };
    text.parse().map_err(|error| {
        Failure::new(ErrorKind::Internal, "a made-up container name is not valid").caused_by(error)
    })
}

fn fill(bytes: &mut [u8]) -> Result<()> {
    getrandom::fill(bytes).map_err(|error| {
        Failure::new(ErrorKind::Internal, "the kernel gives no random bytes").caused_by(error.to_string())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_short_id_is_a_number() {
        let mut draws = [[0x12; 32], [0x99; 32], [0x1a; 32]].into_iter();
        let id = id_from(|| Ok(draws.next().expect("drawn no more often than needed"))).expect("drawn");
        assert_eq!(id.short(), "1a1a1a1a1a1a");
    }

    #[test]
    fn made_up_names_are_names() {
        for attempt in 0..64 {
            let name = made_up_name(attempt).expect("valid");
            assert_eq!(name.as_str().matches('-').count(), if attempt < 4 { 1 } else { 2 }, "{name}");
        }
    }

    #[test]
    fn no_word_is_there_twice() {
        for words in [&FIRST[..], &SECOND[..]] {
            assert!(words.is_sorted() && words.windows(2).all(|pair| pair[0] != pair[1]), "{words:?}");
        }
    }
}
