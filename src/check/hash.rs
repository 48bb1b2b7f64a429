//! Computes digests, piece by piece as a body arrives.

use sha2::Digest as _;

use super::spec::digest::{Digest, DigestKind};

/// A digest in the making.
#[derive(Clone, Debug)]
pub(crate) enum Hasher {
    Md5(md5::Md5),
    /// Of SHA-256.
    Sha256(sha2::Sha256),
}

impl Hasher {
    /// Begins a digest of no bytes yet.
    pub(crate) fn new(kind: DigestKind) -> Hasher {
        match kind {
            DigestKind::Md5 => Hasher::Md5(md5::Md5::new()),
            DigestKind::Sha256 => Hasher::Sha256(sha2::Sha256::new()),
        }
    }

    /// Takes in the next bytes.
    pub(crate) fn update(&mut self, bytes: &[u8]) {
        match self {
            Hasher::Md5(h) => h.update(bytes),
            Hasher::Sha256(h) => h.update(bytes),
        }
    }

    /// The digest of all bytes taken in.
    pub(crate) fn finish(self) -> Digest {
        match self {
            Hasher::Md5(h) => Digest::Md5(h.finalize().into()),
            Hasher::Sha256(h) => Digest::Sha256(h.finalize().into()),
        }
    }
}

#[cfg(test)]
impl Digest {
    /// The digest of `bytes`.
    pub fn of(kind: DigestKind, bytes: &[u8]) -> Digest {
        let mut hasher = Hasher::new(kind);
        hasher.update(bytes);
        hasher.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_are_those_of_the_standards() {
        // RFC 1321 A.5 and FIPS 180-2 B.1, both of "abc".
        assert_eq!(
            Digest::of(DigestKind::Md5, b"abc"),
            Digest::Md5(0x900150983cd24fb0d6963f7d28e17f72_u128.to_be_bytes())
        );
        let mut sha256 = [0; 32];
        sha256[..16].copy_from_slice(&0xba7816bf8f01cfea414140de5dae2223_u128.to_be_bytes());
        sha256[16..].copy_from_slice(&0xb00361a396177a9cb410ff61f20015ad_u128.to_be_bytes());
        assert_eq!(Digest::of(DigestKind::Sha256, b"abc"), Digest::Sha256(sha256));
    }

    #[test]
    fn bytes_in_pieces_have_the_digest_of_the_whole() {
        for kind in [DigestKind::Md5, DigestKind::Sha256] {
            let whole = [7_u8; 1000];
            let mut hasher = Hasher::new(kind);
            whole.chunks(63).for_each(|piece| hasher.update(piece));
            let digest = hasher.finish();
            assert_eq!(digest, Digest::of(kind, &whole));
            assert_eq!(digest.kind(), kind);
        }
    }
}
