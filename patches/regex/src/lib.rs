//! What `oci-spec` uses of the crate `regex`, from `regex-lite`.
//!
//! It asks for one expression, the list of processors of `execCPUAffinity` (OCI runtime specification, config.md), and for that
//! `regex` brings tables of all of Unicode, ten thousand pointers in them. Where a program is placed at an address of the kernel's
//! choice, each of them is adjusted at its start, and each page of them copied: in every shim. `docs/decisions/0031-small-expressions.md`
//! has the figures. In `regex-lite` `\d` is an ASCII digit, which is what that list is made of.

pub use regex_lite::Regex;

#[cfg(test)]
mod tests {
    use super::Regex;

    #[test]
    fn the_list_of_processors_is_told_from_others() {
        let list = Regex::new(r"^(\d+(-\d+)?)(,\d+(-\d+)?)*$").expect("an expression");
        for text in ["0", "0-3,7", "1,2,3-4"] {
            assert!(list.is_match(text), "{text}");
        }
        for text in ["", "a", "0-", "0,,1", "0 ", "\u{664}"] {
            assert!(!list.is_match(text), "{text}");
        }
    }
}
