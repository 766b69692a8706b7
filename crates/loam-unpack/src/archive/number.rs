//! Numbers in tar headers: octal text, or base 256 with the top bit set (a GNU extension).

use crate::unpack::UnpackError;

/// A field that can't be negative.
pub(super) fn field(bytes: &[u8], what: &str) -> Result<u64, UnpackError> {
    let value = signed_field(bytes, what)?;
    u64::try_from(value).map_err(|_| bad(what))
}

/// A field that may be negative. An empty one is zero.
pub(super) fn signed_field(bytes: &[u8], what: &str) -> Result<i64, UnpackError> {
    let Some(first) = bytes.first() else { return Err(bad(what)) };
    if first & 0x80 != 0 {
        return base_256(bytes).ok_or_else(|| bad(what));
    }
    let trimmed = bytes.trim_ascii_start();
    let end = trimmed.iter().position(|b| matches!(b, 0 | b' ')).unwrap_or(trimmed.len());
    let digits = &trimmed[..end];
    digits
        .iter()
        .try_fold(0_i64, |value, byte| match byte {
            b'0'..=b'7' => value.checked_mul(8)?.checked_add(i64::from(byte - b'0')),
            _ => None,
        })
        .ok_or_else(|| bad(what))
}

fn base_256(bytes: &[u8]) -> Option<i64> {
    let negative = bytes[0] & 0x40 != 0;
    let first = if negative { i64::from(bytes[0].cast_signed()) } else { i64::from(bytes[0] & 0x3f) };
    bytes[1..].iter().try_fold(first, |value, byte| value.checked_mul(256)?.checked_add(i64::from(*byte)))
}

fn bad(what: &str) -> UnpackError {
    UnpackError::malformed(format!("the field `{what}` of a header is not a number"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn octal_and_base_256_are_read() {
        assert_eq!(field(b"0000644\0", "mode").expect("octal"), 0o644);
        assert_eq!(field(b" 644 \0\0\0", "mode").expect("padded"), 0o644);
        assert_eq!(field(b"\0\0\0\0\0\0\0\0", "uid").expect("empty"), 0);
        assert_eq!(field(b"77777777777", "size").expect("unterminated"), 0o77_777_777_777);
        assert_eq!(field(b"\x80\0\0\0\0\0\0\x02\0\0\0\0", "size").expect("large"), 1 << 33);
        assert_eq!(signed_field(&[0xff; 12], "mtime").expect("negative"), -1);
        for bad in [&b"89"[..], b"0x1", b"-1", &[0xff; 8][..]] {
            assert!(field(bad, "size").is_err(), "{bad:?}");
        }
    }
}
