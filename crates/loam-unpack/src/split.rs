//! What a layer's tar has beside the files' data, so that the tar can be put together again byte for byte.
//!
//! A layer is kept unpacked, and its blob is not kept. To push or save it, and to check it against its diff id, its tar is
//! needed as it was: headers in their order, extensions, padding, whatever follows the end. That is what `layers/ID/split`
//! holds, as the tar-split files of other engines do; the data comes from the unpacked files.
//!
//! ```text
//! zstd of: MAGIC, then items
//! item 1:  u32 length, bytes                                  as they stood in the archive
//! item 2:  u32 length, path, u32 count, count × (u64, u64)    parts of a file: offset and length, in bytes
//! item 0:  the end
//! ```
//!
//! Numbers are little-endian. A layer in which an entry replaced a file of an earlier one has no such record, as that
//! file's data is gone, and neither has one whose record would be larger than [`SIZE_LIMIT`].

mod reassemble;
mod recorder;

pub use reassemble::Reassembled;
pub(crate) use recorder::Recorder;

/// How the record begins, once decompressed.
const MAGIC: &[u8] = b"loam split 1\n";
/// The most bytes of a record on the disk.
const SIZE_LIMIT: u64 = 64 << 20;
/// The most bytes of one item of the first kind.
const RAW_LIMIT: usize = 64 << 10;
/// The longest path of an item.
const PATH_LIMIT: usize = 64 << 10;
/// The most parts of one file.
const PART_LIMIT: usize = 1 << 16;

const END: u8 = 0;
const RAW: u8 = 1;
const FILE: u8 = 2;

#[cfg(test)]
mod tests;
