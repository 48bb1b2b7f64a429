//! Digests of a body: MD5 as keepalived's `digest` and genhash, and the stronger `sha256:` form.

use std::fmt;
use std::str::FromStr;

use serde::Serialize;

/// What a body's digest must be; written as 32 hex digits (MD5) or `sha256:` and 64 hex digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Digest {
    /// MD5, as keepalived.
    Md5([u8; 16]),
    /// SHA-256.
    Sha256([u8; 32]),
}

/// The algorithm of a digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum DigestKind {
    /// MD5, as keepalived.
    Md5,
    /// SHA-256.
    Sha256,
}

impl Digest {
    /// The algorithm that made it.
    pub fn kind(&self) -> DigestKind {
        match self {
            Digest::Md5(_) => DigestKind::Md5,
            Digest::Sha256(_) => DigestKind::Sha256,
        }
    }
}

/// A text that is no digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a digest: write 32 hex digits (MD5), or sha256: and 64 hex digits")]
pub struct NotADigest;

impl FromStr for Digest {
    type Err = NotADigest;

    /// Reads what [`Digest`]'s `Display` writes; hex digits of either case.
    fn from_str(text: &str) -> Result<Digest, NotADigest> {
        match text.strip_prefix("sha256:") {
            Some(hex) => bytes(hex).map(Digest::Sha256),
            None => bytes(text).map(Digest::Md5),
        }
        .ok_or(NotADigest)
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes: &[u8] = match self {
            Digest::Md5(bytes) => bytes,
            Digest::Sha256(bytes) => {
                f.write_str("sha256:")?;
                bytes
            }
        };
        bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Exactly `N` bytes in hex.
fn bytes<const N: usize>(hex: &str) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    let mut digits = hex.chars().map(|c| c.to_digit(16).and_then(|d| u8::try_from(d).ok()));
    for byte in &mut bytes {
        *byte = digits.next()?? << 4 | digits.next()??;
    }
    digits.next().is_none().then_some(bytes)
}

#[cfg(test)]
mod text {
    use super::*;

    #[test]
    fn a_digest_reads_back_as_it_was_written() {
        let md5 = "6f5902ac237024bdd0c176cb93063dc4";
        let sha256 = format!("sha256:{}", "0123456789abcdef".repeat(4));
        assert_eq!(md5.parse::<Digest>().unwrap().to_string(), md5);
        assert_eq!(sha256.parse::<Digest>().unwrap().to_string(), sha256);
        assert_eq!(md5.to_uppercase().parse::<Digest>(), md5.parse());
    }

    #[test]
    fn what_has_another_length_or_other_digits_is_no_digest() {
        let sha256_without_prefix = "0".repeat(64);
        for text in
            ["", "6f59", "6f5902ac237024bdd0c176cb93063dcg", "sha256:00", "md5:", &sha256_without_prefix, "é"]
        {
            assert_eq!(text.parse::<Digest>(), Err(NotADigest), "{text}");
        }
    }
}
