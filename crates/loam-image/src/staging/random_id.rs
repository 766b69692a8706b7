//! Names for directories that nothing else has.

/// Twelve random hexadecimal digits.
pub(crate) fn random_id() -> String {
    let mut bytes = [0_u8; 6];
    // The kernel's pool can't fail once the machine is up.
    getrandom::fill(&mut bytes).expect("the kernel gives random bytes");
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
