//! Certificates and keys, from the text of their files: whom to trust, and who we are.
//!
//! It refuses to know files and where their names were written; the configuration reads them and calls it.

use std::sync::Arc;

use rustls::RootCertStore;
use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use sha2::Digest as _;

/// SHA-256 of the files something was made of: what tells it from others, in place of what is secret.
pub(super) type Fingerprint = [u8; 32];

/// Whom to trust.
#[derive(Clone, Debug)]
pub(crate) struct Authorities {
    pub(super) fingerprint: Fingerprint,
    pub(super) roots: Arc<RootCertStore>,
    /// The certificates themselves: a server may show one of them.
    pub(super) certificates: Arc<[CertificateDer<'static>]>,
}

/// Who we are.
#[derive(Clone, Debug)]
pub(crate) struct Identity {
    pub(super) fingerprint: Fingerprint,
    pub(super) resolver: Arc<SingleCertAndKey>,
}

/// Why an [`Identity`] cannot be made, and of which file that is said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum NotAnIdentity {
    /// Of the file of the certificate.
    Certificate(String),
    /// Of the file of the key.
    Key(String),
}

impl Authorities {
    /// The certificates of a PEM file. Those that cannot be a root are left out, as long as one can.
    ///
    /// # Errors
    /// When there is none, in the operator's words.
    pub(crate) fn from_pem(pem: &[u8]) -> Result<Authorities, String> {
        let certificates = certificates(pem)?;
        let mut roots = RootCertStore::empty();
        let (good, _) = roots.add_parsable_certificates(certificates.iter().cloned());
        if good == 0 {
            return Err("none of its certificates can be an authority's".to_owned());
        }
        let fingerprint = sha2::Sha256::digest(pem).into();
        Ok(Authorities { fingerprint, roots: Arc::new(roots), certificates: certificates.into() })
    }
}

impl Identity {
    /// A certificate, with those that lead to its authority behind it, and its key, both PEM.
    ///
    /// # Errors
    /// What is wrong with which file, in the operator's words.
    pub(crate) fn from_pem(certificate: &[u8], key: &[u8]) -> Result<Identity, NotAnIdentity> {
        let chain = certificates(certificate).map_err(NotAnIdentity::Certificate)?;
        let private = private_key(key).map_err(NotAnIdentity::Key)?;
        let certified =
            CertifiedKey::from_der(chain, private, &super::provider()).map_err(|error| match error {
                rustls::Error::InconsistentKeys(_) => {
                    NotAnIdentity::Key("this key does not belong to the certificate".to_owned())
                }
                rustls::Error::InvalidCertificate(_) => {
                    NotAnIdentity::Certificate("its first certificate cannot be read".to_owned())
                }
                error => NotAnIdentity::Key(format!("this key cannot be used: {error}")),
            })?;
        let mut hash = sha2::Sha256::new();
        hash.update(sha2::Sha256::digest(certificate));
        hash.update(sha2::Sha256::digest(key));
        Ok(Identity {
            fingerprint: hash.finalize().into(),
            resolver: Arc::new(SingleCertAndKey::from(certified)),
        })
    }
}

fn certificates(text: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text).collect();
    match all {
        Ok(all) if all.is_empty() => Err("there is no certificate in it (PEM)".to_owned()),
        Ok(all) => Ok(all),
        Err(error) => Err(malformed(&error)),
    }
}

fn private_key(text: &[u8]) -> Result<PrivateKeyDer<'static>, String> {
    let has = |mark: &[u8]| text.windows(mark.len()).any(|window| window == mark);
    if has(b"BEGIN ENCRYPTED PRIVATE KEY") || has(b"Proc-Type: 4,ENCRYPTED") {
        return Err("the key is encrypted, and lvsd reads no encrypted keys: \
                    decrypt it with `openssl pkey -in KEY -out NEW`, readable by root only"
            .to_owned());
    }
    match PrivateKeyDer::from_pem_slice(text) {
        Ok(key) => Ok(key),
        Err(pem::Error::NoItemsFound) => Err("there is no private key in it (PEM)".to_owned()),
        Err(error) => Err(malformed(&error)),
    }
}

fn malformed(error: &pem::Error) -> String {
    match error {
        pem::Error::MissingSectionEnd { .. } => "a PEM section in it does not end".to_owned(),
        error => format!("it is not PEM: {error}"),
    }
}
