//! Writing a file without its blocks of zeros.

use std::fs::File;
use std::io::{self, Read, Seek, Write};

/// How much is read at once, in bytes.
const PIECE: usize = 128 * 1024;

/// What is left out when it is all zeros, in bytes: what most file systems give a file at least.
const BLOCK: usize = 4096;

/// Writes everything to a new file. Blocks of zeros become holes, which read as zeros and take no space.
pub(super) fn copy(source: &mut impl Read, file: &mut File) -> io::Result<()> {
    let mut piece = vec![0; PIECE];
    let mut length = 0;
    loop {
        let count = fill(source, &mut piece)?;
        if count == 0 {
            // What the last hole stands for.
            return file.set_len(length);
        }
        let mut rest = &piece[..count];
        while !rest.is_empty() {
            let (run, after) = rest.split_at(run_of(rest));
            rest = after;
            if is_hole(run) {
                file.seek_relative(i64::try_from(run.len()).unwrap_or(0))?;
            } else {
                file.write_all(run)?;
            }
        }
        length += count as u64;
    }
}

/// How many bytes at the beginning are alike: all blocks of zeros, or none.
fn run_of(bytes: &[u8]) -> usize {
    let mut blocks = bytes.chunks(BLOCK);
    let first = blocks.next().unwrap_or_default();
    let alike = blocks.take_while(|block| is_hole(block) == is_hole(first));
    first.len() + alike.map(<[u8]>::len).sum::<usize>()
}

fn is_hole(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| *byte == 0)
}

/// Reads until the piece is full or the source has ended, so that blocks keep their places.
fn fill(source: &mut impl Read, piece: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < piece.len() {
        match source.read(&mut piece[filled..]) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}
