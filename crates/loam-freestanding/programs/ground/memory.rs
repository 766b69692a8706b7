//! The routines that the compiler calls for moves, fills and comparisons (a C library's otherwise). The programs
//! are `#![no_builtins]`, so that these loops are not themselves turned into calls of them.

/// # Safety
/// `to` and `from` must be valid for `length` bytes and must not overlap.
#[unsafe(no_mangle)]
unsafe extern "C" fn memcpy(to: *mut u8, from: *const u8, length: usize) -> *mut u8 {
    let mut at = 0;
    while at < length {
        // SAFETY: `at` is below `length`, for which the caller vouches.
        unsafe { *to.add(at) = *from.add(at) };
        at += 1;
    }
    to
}

/// # Safety
/// `to` and `from` must be valid for `length` bytes.
#[unsafe(no_mangle)]
unsafe extern "C" fn memmove(to: *mut u8, from: *const u8, length: usize) -> *mut u8 {
    if (to as usize) <= (from as usize) {
        // SAFETY: as for this function; going upward is right when the target lies lower, even when they overlap.
        return unsafe { memcpy(to, from, length) };
    }
    let mut at = length;
    while at > 0 {
        at -= 1;
        // SAFETY: `at` is below `length`, for which the caller vouches.
        unsafe { *to.add(at) = *from.add(at) };
    }
    to
}

/// # Safety
/// `to` must be valid for `length` bytes.
#[unsafe(no_mangle)]
unsafe extern "C" fn memset(to: *mut u8, byte: i32, length: usize) -> *mut u8 {
    let mut at = 0;
    while at < length {
        // SAFETY: `at` is below `length`, for which the caller vouches.
        unsafe { *to.add(at) = byte as u8 };
        at += 1;
    }
    to
}

/// # Safety
/// `a` and `b` must be valid for `length` bytes.
#[unsafe(no_mangle)]
unsafe extern "C" fn memcmp(a: *const u8, b: *const u8, length: usize) -> i32 {
    let mut at = 0;
    while at < length {
        // SAFETY: `at` is below `length`, for which the caller vouches.
        let (left, right) = unsafe { (*a.add(at), *b.add(at)) };
        if left != right {
            return i32::from(left) - i32::from(right);
        }
        at += 1;
    }
    0
}

/// # Safety
/// As for [`memcmp`].
#[unsafe(no_mangle)]
unsafe extern "C" fn bcmp(a: *const u8, b: *const u8, length: usize) -> i32 {
    // SAFETY: as for this function.
    unsafe { memcmp(a, b, length) }
}

/// # Safety
/// `text` must end with a zero byte.
#[unsafe(no_mangle)]
unsafe extern "C" fn strlen(text: *const u8) -> usize {
    let mut length = 0;
    // SAFETY: no byte after the zero is looked at.
    while unsafe { *text.add(length) } != 0 {
        length += 1;
    }
    length
}
