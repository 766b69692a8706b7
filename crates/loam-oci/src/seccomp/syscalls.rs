//! Which system calls Loam's own profile allows, in groups, each with the reason.
//!
//! The list is made for all architectures at once; a name that an architecture lacks does no harm. What is in no group
//! is refused: loading kernel modules and kernels, keyrings (which no namespace separates), `userfaultfd` and `io_uring`
//! (large, with a long record of holes), swap, clocks, and what is obsolete.

mod files;
mod messages;
mod processes;
mod with_capability;

pub(super) use with_capability::WITH_CAPABILITY;

/// System calls that are allowed for one reason.
pub(super) struct Group {
    /// Why they may be called.
    #[cfg_attr(
        not(test),
        expect(dead_code, reason = "the reason is for the reader, and a test wants one of each group")
    )]
    pub(super) why: &'static str,
    /// Their names.
    pub(super) names: &'static [&'static str],
}

/// Allowed in every container.
pub(super) fn always() -> impl Iterator<Item = &'static Group> + Clone {
    [files::GROUPS, processes::GROUPS, messages::GROUPS].into_iter().flatten()
}

/// Execution domains that are only numbers to the kernel: Linux, Linux with 32-bit addresses, the answer `uname26`
/// gives for both, and asking without changing.
pub(super) const PERSONALITIES: [u64; 5] = [0x0, 0x0008, 0x2_0000, 0x2_0008, 0xffff_ffff];

/// The address families that Linux has.
pub(super) const FAMILIES: std::ops::RangeInclusive<u64> = 0..=45;

/// Address families that stay shut: the kernel's cryptography, and the way out of a virtual machine to its host.
pub(super) const SHUT_FAMILIES: [u64; 2] = [38, 40];

/// The flags of clone(2) that make namespaces.
pub(super) const NAMESPACE_FLAGS: u64 = 0x7e02_0000;

/// FS_IOC_FSSETXATTR: moves a file to another project id, and so out of a quota. Its newer form, `file_setattr`, is in
/// no group.
pub(super) const SET_PROJECT_ID: u32 = 0x401c_5820;

/// FS_IOC_SETFLAGS, and its number in 32-bit programs: `chattr -P` takes the flag from a directory by which what is made in
/// it gets its project id.
pub(super) const SET_INODE_FLAGS: [u32; 2] = [0x4008_6602, 0x4004_6602];
