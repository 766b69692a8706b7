//! Checksums of tar headers, which no mutation keeps by chance.

/// How long a record of a tar is.
const RECORD: usize = 512;
/// Where the magic of ustar and GNU headers is.
const MAGIC: std::ops::Range<usize> = 257..262;
/// Where the checksum is.
const CHECKSUM: std::ops::Range<usize> = 148..156;

/// The archive with the right checksum in every record that looks like a header.
pub(crate) fn mended(archive: &[u8]) -> Vec<u8> {
    let mut archive = archive.to_vec();
    for record in archive.chunks_exact_mut(RECORD) {
        if record[MAGIC] != *b"ustar" {
            continue;
        }
        record[CHECKSUM].fill(b' ');
        let sum: u32 = record.iter().map(|byte| u32::from(*byte)).sum();
        record[CHECKSUM].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    }
    archive
}
