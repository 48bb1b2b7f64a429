//! HTTP_GET: keywords, specification, conversation, tests.

use serde::Serialize;

use super::digest::Digest;

/// What HTTP_GET asks.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct HttpQuestion {
    /// Protocol version of the request line.
    pub version: HttpVersion,
    /// The URLs, all asked in one run, in order; at least one.
    pub urls: Vec<Url>,
}

/// keepalived `http_protocol`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub enum HttpVersion {
    /// `1.0`.
    #[default]
    #[serde(rename = "1.0")]
    V1_0,
    /// `1.0C`: 1.0 with `Connection: close`.
    #[serde(rename = "1.0C")]
    V1_0Close,
    /// `1.1` with `Connection: close`.
    #[serde(rename = "1.1")]
    V1_1,
}

/// One URL and what its answer must be.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Url {
    /// Request target, sent as written (bytes a request cannot carry percent-encoded), e.g. `/health`.
    pub path: String,
    /// Value of the Host header; None: `address:port` of the target as keepalived writes it.
    pub virtualhost: Option<String>,
    /// Acceptable status codes, inclusive ranges within 100-599, sorted and merged; never empty.
    pub status: Vec<(u16, u16)>,
    /// What the body's digest must be.
    pub digest: Option<Digest>,
}
