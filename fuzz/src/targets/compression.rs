//! Decompression of blobs.

use std::io::{Read, Write as _};

use loam_unpack::fuzzing;

use super::{seed, selected};
use crate::{Target, sentence};

/// The target. The first byte says what the rest is: a blob; pieces, each to be compressed in a way of its own; or the
/// content of one whose end is cut off.
pub const TARGET: Target = Target { name: "compression", run, seeds, words: WORDS };

const WORDS: &[&str] = &["BZh9", "P*M\x18", "7zXZ"];

/// As much is read of a stream that does not end.
const LIMIT: u64 = 8 << 20;

fn run(bytes: &[u8]) {
    let Some((how, rest)) = selected(bytes) else { return };
    match how % 3 {
        0 => blob(rest),
        1 => pieces(rest),
        _ => cut(rest),
    }
}

fn blob(bytes: &[u8]) {
    let whole = match read(bytes, 64 << 10) {
        Ok(whole) => whole,
        Err(error) => return sentence::check_text(&error),
    };
    if whole.len() < 64 << 10 {
        let slowly = read(bytes, 7).expect("it was read before");
        assert!(slowly == whole, "how much is read at a time makes a difference");
    }
}

fn pieces(bytes: &[u8]) {
    let (mut blob, mut content) = (Vec::new(), Vec::new());
    let is_gzip = bytes.first().is_some_and(|first| first & 1 == 0);
    for piece in bytes.chunks(37) {
        content.extend_from_slice(piece);
        blob.extend(if is_gzip { gzip(piece) } else { zstd(piece) });
        if !is_gzip {
            // A frame to be skipped (RFC 8878, section 3.1.2).
            blob.extend([&[0x50, 0x2a, 0x4d, 0x18, 3, 0, 0, 0][..], b"abc"].concat());
        }
    }
    if is_gzip {
        blob.resize(blob.len() + bytes.len() % 700, 0);
    }
    let found = read(&blob, 100).expect("it is well formed");
    assert!(found == content, "the pieces are not one stream");
}

fn cut(bytes: &[u8]) {
    let Some((first, content)) = bytes.split_first() else { return };
    let whole = if first & 1 == 0 { gzip(content) } else { zstd(content) };
    // What tells the compression is left.
    let length = 4 + usize::from(*first) * (whole.len() - 4) / 256;
    assert!(read(&whole[..length], 100).is_err(), "{length} bytes of {} are enough", whole.len());
}

/// The beginning of the content, read in pieces; the error as text.
fn read(bytes: &[u8], piece: usize) -> Result<Vec<u8>, String> {
    let mut reader = fuzzing::decompress(bytes).map_err(|error| error.to_string())?.take(LIMIT);
    let (mut content, mut buffer) = (Vec::new(), vec![0; piece]);
    loop {
        match reader.read(&mut buffer).map_err(|error| error.to_string())? {
            0 => return Ok(content),
            count => content.extend_from_slice(&buffer[..count]),
        }
    }
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).expect("to memory");
    encoder.finish().expect("to memory")
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::encode_all(bytes, 1).expect("to memory")
}

fn seeds() -> Vec<Vec<u8>> {
    let text = b"a layer's bytes, again a layer's bytes".repeat(9);
    let zeros = vec![0; 1 << 20];
    vec![
        seed(0, gzip(&text)),
        seed(0, [gzip(b""), gzip(&text), vec![0; 20]].concat()),
        seed(0, zstd(&text)),
        seed(0, gzip(&zeros)),
        seed(0, zstd(&zeros)),
        seed(0, b"\xfd7zXZ\0abc"),
        seed(1, [&[0], &text[..]].concat()),
        seed(1, [&[1], &text[..]].concat()),
        seed(2, [&[100], &text[..]].concat()),
        seed(2, [&[201], &text[..]].concat()),
    ]
}
