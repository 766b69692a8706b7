//! Digests of what passes by.

use std::io::{self, Read};

use loam_model::{Digest, DigestAlgorithm};
use sha2::{Digest as _, Sha256, Sha512};

/// A hash being computed, by either registered algorithm.
#[derive(Debug)]
pub enum Hasher {
    /// SHA-256.
    Sha256(Sha256),
    /// SHA-512.
    Sha512(Box<Sha512>),
}

impl Hasher {
    /// Begins.
    pub fn new(algorithm: DigestAlgorithm) -> Self {
        match algorithm {
            DigestAlgorithm::Sha256 => Hasher::Sha256(Sha256::new()),
            DigestAlgorithm::Sha512 => Hasher::Sha512(Box::new(Sha512::new())),
        }
    }

    /// Takes what comes next.
    pub fn update(&mut self, bytes: &[u8]) {
        match self {
            Hasher::Sha256(hash) => hash.update(bytes),
            Hasher::Sha512(hash) => hash.update(bytes),
        }
    }

    /// The digest of all that came.
    pub fn finish(self) -> Digest {
        match self {
            Hasher::Sha256(hash) => Digest::sha256(&hash.finalize().into()),
            Hasher::Sha512(hash) => {
                let hex: String = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
                format!("sha512:{hex}").parse().expect("128 lower-case digits")
            }
        }
    }
}

/// The SHA-256 digest of some bytes.
pub fn sha256(bytes: &[u8]) -> Digest {
    digest(DigestAlgorithm::Sha256, bytes)
}

/// The digest of some bytes.
pub fn digest(algorithm: DigestAlgorithm, bytes: &[u8]) -> Digest {
    let mut hasher = Hasher::new(algorithm);
    hasher.update(bytes);
    hasher.finish()
}

/// Whether what is left of a file has this digest.
pub fn is_digest_of(mut file: impl Read, expected: &Digest) -> io::Result<bool> {
    let mut hasher = Hasher::new(expected.algorithm());
    let mut piece = vec![0; 128 * 1024];
    loop {
        match file.read(&mut piece) {
            Ok(0) => return Ok(hasher.finish() == *expected),
            Ok(count) => hasher.update(&piece[..count]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_empty_text_has_its_well_known_digests() {
        assert_eq!(sha256(b"{}").hex(), "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a");
        assert!(digest(DigestAlgorithm::Sha512, b"").to_string().starts_with("sha512:cf83e1357eefb8bd"));
    }
}
