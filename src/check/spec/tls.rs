//! How a server is asked over TLS, and the certificates and keys that this needs, as bytes.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde::{Serialize, Serializer};

/// How a URL is asked over TLS.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Tls {
    /// With which settings; shared by all URLs that have the same.
    #[serde(rename = "client")]
    pub settings: Arc<TlsSettings>,
    /// Whether the end is announced, as the standard wants it (keepalived `tls_compliant`).
    pub close_notify: bool,
}

/// What makes one TLS client different from another.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct TlsSettings {
    /// Server name sent in the handshake (SNI).
    pub server_name: Option<String>,
    /// The authorities that are trusted, and the name the certificate must have; None: every certificate passes, as in
    /// keepalived.
    pub verify: Option<(Authorities, String)>,
    /// The client certificate and its key.
    pub identity: Option<Identity>,
}

/// The authorities that are trusted: their certificates.
pub(crate) type Authorities = Material<Box<[CertificateDer<'static>]>>;

/// A client certificate and its key.
pub(crate) type Identity = Material<KeyPair>;

/// A certificate, with the certificates that lead to its authority behind it, and its key.
pub struct KeyPair {
    pub chain: Vec<CertificateDer<'static>>,
    pub key: PrivateKeyDer<'static>,
}

/// SHA-256 of files: what tells one material from another in place of its bytes, which may be secret.
pub(crate) type Fingerprint = [u8; 32];

/// What was read from files. It is compared, hashed and written down by its fingerprint.
pub struct Material<T> {
    fingerprint: Fingerprint,
    content: Arc<T>,
}

impl<T> Material<T> {
    /// The content of files with this fingerprint.
    pub fn new(fingerprint: Fingerprint, content: T) -> Material<T> {
        Material { fingerprint, content: Arc::new(content) }
    }

    /// What tells it from others.
    pub fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }

    /// What was read.
    pub fn content(&self) -> &T {
        &self.content
    }
}

impl<T> Clone for Material<T> {
    fn clone(&self) -> Material<T> {
        Material { fingerprint: self.fingerprint, content: Arc::clone(&self.content) }
    }
}

impl<T> fmt::Debug for Material<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.fingerprint.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl<T> PartialEq for Material<T> {
    fn eq(&self, other: &Material<T>) -> bool {
        self.fingerprint == other.fingerprint
    }
}

impl<T> Eq for Material<T> {}

impl<T> PartialOrd for Material<T> {
    fn partial_cmp(&self, other: &Material<T>) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> Ord for Material<T> {
    fn cmp(&self, other: &Material<T>) -> std::cmp::Ordering {
        self.fingerprint.cmp(&other.fingerprint)
    }
}

impl<T> Hash for Material<T> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.fingerprint.hash(state);
    }
}

impl<T> Serialize for Material<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.fingerprint.serialize(serializer)
    }
}
