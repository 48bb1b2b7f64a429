//! What HTTP_GET and SSL_GET ask, and which answers pass.

use serde::Serialize;

use super::digest::Digest;
use super::pattern::Pattern;
use super::tls::Tls;

/// What HTTP_GET and SSL_GET ask.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct HttpQuestion {
    /// Protocol version of the request line.
    pub version: HttpVersion,
    /// The URLs, all asked in one run, in order; at least one.
    pub urls: Vec<Url>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
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

/// How a URL is asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum HttpMethod {
    #[default]
    Get,
    /// The answer has no body.
    Head,
}

/// A header line of a request; the configuration sees to it that a request can carry it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Header {
    pub name: Box<str>,
    /// It may be a secret, and is not written down.
    #[serde(skip)]
    pub value: Box<str>,
}

/// One URL and what its answer must be.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Url {
    /// Request target, e.g. `/health`; sent as written, but for what a request line cannot carry: that is
    /// percent-encoded, and a slash goes before a path that lacks it.
    pub path: String,
    pub method: HttpMethod,
    /// Further header lines of the request; one that lvsd sends, too, goes in its place.
    pub headers: Box<[Header]>,
    /// Value of the Host header; None: `address:port` of the target as keepalived writes it.
    pub virtualhost: Option<String>,
    /// Acceptable status codes, inclusive ranges within 100-599, sorted and merged; never empty.
    pub status: Vec<(u16, u16)>,
    /// What the body's digest must be.
    pub digest: Option<Digest>,
    /// What the body must match, or must not.
    pub pattern: Option<Pattern>,
    /// Asked over TLS, and how.
    pub tls: Option<Tls>,
}

impl Url {
    /// A `GET` of this path, of which any status from 200 to 299 passes.
    pub fn new(path: impl Into<String>) -> Url {
        Url {
            path: path.into(),
            method: HttpMethod::Get,
            headers: Box::default(),
            virtualhost: None,
            status: vec![(200, 299)],
            digest: None,
            pattern: None,
            tls: None,
        }
    }
}
