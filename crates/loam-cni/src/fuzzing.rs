//! What the fuzz targets (`fuzz/`) reach of this crate's parsers of strangers' bytes. It is no part of the interface.

use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::ExitStatus;

use crate::delegate::{Output, read_output, read_versions};
use crate::iptables::{Rule, Table};
use crate::protocol::{CniError, CniResult, Command, Version};

const PROGRAM: &str = "/p/x";

fn output(code: u8, stdout: &[u8], stderr: &[u8]) -> Output {
    let status = ExitStatus::from_raw(i32::from(code) << 8);
    Output { status, stdout: stdout.to_vec(), stderr: stderr.to_vec() }
}

/// What came of ADD by a plugin's program.
pub fn add(code: u8, stdout: &[u8], stderr: &[u8]) -> Result<CniResult, CniError> {
    let read = read_output(Path::new(PROGRAM), Command::Add, Version::NEWEST, &output(code, stdout, stderr));
    read.map(Option::unwrap_or_default)
}

/// What came of VERSION.
pub fn versions(code: u8, stdout: &[u8]) -> Result<Vec<String>, CniError> {
    read_versions(Path::new(PROGRAM), &output(code, stdout, b""))
}

/// A table of iptables as `iptables-save` says it: which rules a chain has that lead to it or are in it, and whether each
/// rule is found again by its words.
pub fn table(text: &str, chain: &str) -> (usize, bool) {
    let table = Table::parse("nat", text);
    let rules: Vec<&str> = table.rules(chain).collect();
    let is_plain = |word: &str| {
        !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_graphic() && !b"\"\\".contains(&byte))
    };
    let is_found = |rule: &&&str| {
        let words: Vec<&str> = rule.split(' ').collect();
        !words.iter().all(|word| is_plain(word))
            || table.has(chain, &Rule::new(words.get(2..).unwrap_or(&[])))
    };
    let all_found = rules.iter().filter(is_found).count() == rules.len();
    (table.leading_to(chain).count() + rules.len(), all_found)
}
