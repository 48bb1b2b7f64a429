//! Certificates and keys: from the text of their files into a specification, and from there to what rustls needs.

use rustls::RootCertStore;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use sha2::Digest as _;

use crate::check::spec::tls::{Authorities, Identity, KeyPair};

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
        if root_store(&certificates).is_empty() {
            return Err("none of its certificates can be an authority's".to_owned());
        }
        Ok(Authorities::new(sha2::Sha256::digest(pem).into(), certificates.into()))
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
        let pair = KeyPair { chain, key: private };
        certified(&pair, &super::provider()).map_err(|error| match error {
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
        Ok(Identity::new(hash.finalize().into(), pair))
    }
}

/// Those of the certificates that can be a root.
pub(super) fn root_store(certificates: &[CertificateDer<'static>]) -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(certificates.iter().cloned());
    roots
}

/// The certificate and its key, as a handshake needs them.
///
/// # Errors
/// When they do not belong together, or cannot be used.
pub(super) fn certified(pair: &KeyPair, provider: &CryptoProvider) -> Result<CertifiedKey, rustls::Error> {
    CertifiedKey::from_der(pair.chain.clone(), pair.key.clone_key(), provider)
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
