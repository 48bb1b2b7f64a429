//! The TLS clients of a process that runs conversations.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::client::ClientConfig;
use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::CryptoProvider;
use rustls::sign::SingleCertAndKey;

use super::material::{certified, root_store};
use super::verify::{Anyone, Verifier};
use super::{At, TlsClient, names};
use crate::check::outcome::{Outcome, Phase};
use crate::check::spec::Question;
use crate::check::spec::tls::{Authorities, Fingerprint, Identity, TlsSettings};

/// One client for each settings that a conversation needed, made when the first one does.
#[derive(Debug)]
pub(crate) struct TlsClients {
    provider: Arc<CryptoProvider>,
    clients: BTreeMap<Arc<TlsSettings>, Arc<TlsClient>>,
    /// Made once for all clients that trust the same authorities: there may be hundreds of certificates.
    roots: BTreeMap<Fingerprint, Arc<RootCertStore>>,
    keys: BTreeMap<Fingerprint, Arc<SingleCertAndKey>>,
}

impl Default for TlsClients {
    fn default() -> TlsClients {
        TlsClients {
            provider: Arc::new(super::provider()),
            clients: BTreeMap::new(),
            roots: BTreeMap::new(),
            keys: BTreeMap::new(),
        }
    }
}

impl TlsClients {
    /// The clients that a run of this question needs.
    pub(crate) fn of(&mut self, question: &Question) -> RunClients {
        let mut clients = RunClients::default();
        for settings in question.tls() {
            if clients.find(settings).is_none() {
                clients.0.push((Arc::clone(settings), self.client(settings)));
            }
        }
        clients
    }

    /// The client with these settings.
    ///
    /// # Errors
    /// In the operator's words, when [`verify`](super::verify) refuses the settings.
    pub(super) fn client(&mut self, settings: &Arc<TlsSettings>) -> Result<Arc<TlsClient>, String> {
        if let Some(client) = self.clients.get(settings) {
            return Ok(Arc::clone(client));
        }
        let client = Arc::new(self.make(settings)?);
        self.clients.insert(Arc::clone(settings), Arc::clone(&client));
        Ok(client)
    }

    /// Forgets the clients, and the sessions, that none of these questions needs.
    pub(crate) fn keep<'a>(&mut self, questions: impl Iterator<Item = &'a Question>) {
        if self.clients.is_empty() {
            return;
        }
        let used: BTreeSet<&TlsSettings> =
            questions.flat_map(Question::tls).map(|settings| &**settings).collect();
        self.clients.retain(|settings, _| used.contains(&**settings));
        let of = |material: fn(&TlsSettings) -> Option<Fingerprint>| -> BTreeSet<Fingerprint> {
            used.iter().filter_map(|settings| material(settings)).collect()
        };
        let authorities = of(|settings| Some(settings.verify.as_ref()?.0.fingerprint()));
        let identities = of(|settings| Some(settings.identity.as_ref()?.fingerprint()));
        self.roots.retain(|fingerprint, _| authorities.contains(fingerprint));
        self.keys.retain(|fingerprint, _| identities.contains(fingerprint));
    }

    /// How many clients there are, and of how many authorities and keys.
    #[cfg(test)]
    pub(super) fn counts(&self) -> (usize, usize) {
        (self.clients.len(), self.roots.len() + self.keys.len())
    }

    fn make(&mut self, settings: &Arc<TlsSettings>) -> Result<TlsClient, String> {
        let (sent, verified) = names(settings)?;
        let verifier: Arc<dyn ServerCertVerifier> = match settings.verify.as_ref().zip(verified) {
            None => Arc::new(Anyone),
            Some(((authorities, _), name)) => {
                let roots = self.roots(authorities);
                Arc::new(Verifier::new(authorities.clone(), roots, name, Arc::clone(&self.provider))?)
            }
        };
        let builder = ClientConfig::builder_with_details(Arc::clone(&self.provider), Arc::new(At::default()))
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .dangerous()
            .with_custom_certificate_verifier(verifier);
        let mut config = match &settings.identity {
            None => builder.with_no_client_auth(),
            Some(identity) => builder.with_client_cert_resolver(self.key(identity)? as _),
        };
        config.enable_sni = sent.is_some();
        Ok(TlsClient { settings: Arc::clone(settings), config, name: sent, sessions: Arc::default() })
    }

    fn roots(&mut self, authorities: &Authorities) -> Arc<RootCertStore> {
        let made = self.roots.entry(authorities.fingerprint());
        Arc::clone(made.or_insert_with(|| Arc::new(root_store(authorities.content()))))
    }

    fn key(&mut self, identity: &Identity) -> Result<Arc<SingleCertAndKey>, String> {
        if let Some(known) = self.keys.get(&identity.fingerprint()) {
            return Ok(Arc::clone(known));
        }
        let certified = certified(identity.content(), &self.provider).map_err(|error| error.to_string())?;
        let key = Arc::new(SingleCertAndKey::from(certified));
        self.keys.insert(identity.fingerprint(), Arc::clone(&key));
        Ok(key)
    }
}

/// A client, or why there is none.
type Made = Result<Arc<TlsClient>, String>;

/// The clients that one run needs: one or two, for most.
#[derive(Clone, Debug, Default)]
pub(crate) struct RunClients(Vec<(Arc<TlsSettings>, Made)>);

impl RunClients {
    /// The client with these settings.
    ///
    /// # Errors
    /// The outcome of a run that has none.
    pub(in crate::check) fn client(&self, settings: &Arc<TlsSettings>) -> Result<&TlsClient, Outcome> {
        match self.find(settings) {
            Some(Ok(client)) => Ok(client),
            Some(Err(reason)) => {
                Err(Outcome::inconclusive(Phase::Handshake, format!("TLS cannot be spoken: {reason}")))
            }
            None => Err(Outcome::inconclusive(Phase::Handshake, "no TLS client was made for this check")),
        }
    }

    fn find(&self, settings: &Arc<TlsSettings>) -> Option<&Result<Arc<TlsClient>, String>> {
        self.0
            .iter()
            .find(|(known, _)| Arc::ptr_eq(known, settings) || known == settings)
            .map(|(_, client)| client)
    }
}
