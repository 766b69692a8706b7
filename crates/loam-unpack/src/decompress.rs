//! Decompression of a layer's blob: gzip of any number of members, zstd of any number of frames, or none.

use std::io::{self, BufRead, Read};

use flate2::bufread::GzDecoder;
use loam_model::Failure;
use serde::{Deserialize, Serialize};

use crate::error::invalid;

/// The largest window that a zstd frame may ask for, as a power of two: 128 MiB, the limit of the zstd program itself.
const ZSTD_WINDOW_LOG: u32 = 27;

/// How a blob is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Compression {
    /// Not at all.
    None,
    /// gzip (RFC 1952).
    Gzip,
    /// Zstandard (RFC 8878).
    Zstd,
}

/// Tells the compression by the first bytes; media types are known to lie.
pub fn sniff(start: &[u8]) -> Result<Compression, Failure> {
    let other = match start {
        [0x1f, 0x8b, ..] => return Ok(Compression::Gzip),
        [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => return Ok(Compression::Zstd),
        [0xfd, b'7', b'z', b'X', ..] => "xz",
        [b'B', b'Z', b'h', b'0'..=b'9', ..] => "bzip2",
        _ => return Ok(Compression::None),
    };
    Err(invalid(format!("the data is compressed with {other}, not gzip or zstd")))
}

/// A reader of the decompressed bytes.
pub fn decoder<'a, R>(input: R, compression: Compression) -> io::Result<Box<dyn Read + Send + 'a>>
where
    R: BufRead + Send + 'a,
{
    Ok(match compression {
        Compression::None => Box::new(input),
        Compression::Gzip => Box::new(Members { decoder: Some(GzDecoder::new(input)) }),
        Compression::Zstd => {
            let mut decoder = zstd::stream::read::Decoder::with_buffer(input)?;
            decoder.window_log_max(ZSTD_WINDOW_LOG)?;
            Box::new(Pieces(decoder))
        }
    })
}

/// Bytes that are copied at once out of zstd's window. Copies of somewhat more the C library leaves to `rep movsb`
/// (`ld.so --list-tunables` says from where: `x86_rep_movsb_threshold`, 2112 bytes), which on Zen 4 takes three times as long
/// where the two places lie alike in their pages (glibc bug 30994).
const PIECE: usize = 2048;

/// A reader that gives [`PIECE`] bytes at once at most.
struct Pieces<R>(R);

impl<R: Read> Read for Pieces<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = buffer.len().min(PIECE);
        self.0.read(&mut buffer[..most])
    }
}

/// All members of a gzip stream (RFC 1952, section 2.2), one after another; zeros may follow the last, as tape
/// programs pad.
struct Members<R> {
    decoder: Option<GzDecoder<R>>,
}

impl<R: BufRead> Read for Members<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while let Some(decoder) = &mut self.decoder {
            let count = decoder.read(buffer)?;
            if count > 0 || buffer.is_empty() {
                return Ok(count);
            }
            let rest = decoder.get_mut();
            match rest.fill_buf()?.first() {
                None => self.decoder = None,
                Some(0x1f) => self.decoder = self.decoder.take().map(|old| GzDecoder::new(old.into_inner())),
                Some(_) => {
                    skip_zeros(rest)?;
                    self.decoder = None;
                }
            }
        }
        Ok(0)
    }
}

fn skip_zeros(input: &mut impl BufRead) -> io::Result<()> {
    loop {
        let bytes = input.fill_buf()?;
        if bytes.is_empty() {
            return Ok(());
        }
        if bytes.iter().any(|byte| *byte != 0) {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "there is garbage after the gzip stream"));
        }
        let count = bytes.len();
        input.consume(count);
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn gzip(text: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(text).expect("to memory");
        encoder.finish().expect("to memory")
    }

    fn decode(bytes: &[u8]) -> io::Result<Vec<u8>> {
        let mut out = Vec::new();
        decoder(bytes, sniff(bytes).map_err(io::Error::other)?)?.read_to_end(&mut out)?;
        Ok(out)
    }

    #[test]
    fn members_and_frames_are_one_stream() {
        let two = [gzip(b"one "), gzip(b""), gzip(b"two")].concat();
        assert_eq!(decode(&two).expect("members"), b"one two");
        assert_eq!(decode(&[two.clone(), vec![0; 700]].concat()).expect("padded"), b"one two");
        let frame = |text: &[u8]| zstd::encode_all(text, 3).expect("to memory");
        let skippable = [&[0x50, 0x2a, 0x4d, 0x18, 3, 0, 0, 0][..], b"abc"].concat();
        let frames = [frame(b"one "), skippable.clone(), frame(b"two")].concat();
        assert_eq!(decode(&frames).expect("frames"), b"one two");
        assert_eq!(decode(&[skippable, frame(b"x")].concat()).expect("skippable first"), b"x");
        assert_eq!(decode(b"plain").expect("none"), b"plain");
    }

    #[test]
    fn zstd_s_window_is_copied_out_in_pieces() {
        let text = vec![7; 10 * PIECE + 1];
        let frame = zstd::encode_all(&text[..], 3).expect("to memory");
        let mut decoder = decoder(&frame[..], Compression::Zstd).expect("a decoder");
        let (mut out, mut buffer) = (Vec::new(), vec![0; 4 * PIECE]);
        loop {
            let count = decoder.read(&mut buffer).expect("whole");
            assert!(count <= PIECE, "{count}");
            out.extend_from_slice(&buffer[..count]);
            if count == 0 {
                break;
            }
        }
        assert_eq!(out, text);
    }

    #[test]
    fn damage_is_noticed() {
        let whole = gzip(&[7; 100_000]);
        assert!(decode(&whole[..whole.len() - 9]).is_err(), "cut short");
        assert!(decode(&[whole, b"garbage".to_vec()].concat()).is_err(), "garbage after the end");
        let xz = decode(b"\xfd7zXZ\0").expect_err("xz");
        assert!(xz.to_string().contains("compressed with xz"), "{xz}");
    }

    #[test]
    fn a_huge_zstd_window_is_refused() {
        let mut encoder = zstd::Encoder::new(Vec::new(), 1).expect("encoder");
        encoder.window_log(30).expect("the library allows it");
        encoder.include_contentsize(false).expect("flag");
        encoder.write_all(&[0; 1 << 20]).expect("to memory");
        let bytes = encoder.finish().expect("to memory");
        assert!(decode(&bytes).is_err());
    }
}
