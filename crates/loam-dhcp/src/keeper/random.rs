//! Random numbers, for transactions that nobody can guess and pauses that differ between clients.

/// A random number. Without the kernel's generator, one of the clock's: still different in each container.
pub(super) fn random() -> u32 {
    let mut bytes = [0; 4];
    match getrandom::fill(&mut bytes) {
        Ok(()) => u32::from_ne_bytes(bytes),
        Err(_) => super::run::now().subsec_nanos(),
    }
}
