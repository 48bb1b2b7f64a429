//! Digests of a body: MD5 as keepalived's `digest` and genhash, and the stronger `sha256:` form.

use serde::Serialize;

/// What a body's digest must be; written as 32 hex digits (MD5) or `sha256:` and 64 hex digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Digest {
    /// MD5, as keepalived.
    Md5([u8; 16]),
    /// SHA-256.
    Sha256([u8; 32]),
}
