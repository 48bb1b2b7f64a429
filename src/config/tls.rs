//! TLS of SSL_GET: the block `SSL`, the words of the checker, and the settings that follow from them.
//!
//! Certificates and keys are read here, while the configuration is: what is wrong with them is an error of the
//! configuration, at the word that names the file. Paths are relative to the configuration's directory.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::check::spec::tls::{Authorities, Identity, Tls, TlsSettings};
use crate::check::tls::{self, NotAnIdentity};
use crate::syntax::diagnostic::Diagnostic;
use crate::syntax::files::{Files, in_words};
use crate::syntax::keyword::{Reader, Slot, Spanned, Table, get};
use crate::syntax::source::Span;

use super::checker::{MAX_HOST, MAX_PATH};
use super::options::options;

/// Longest file of certificates or keys, in bytes.
const MAX_FILE: usize = 4 << 20;
/// Where distributions keep the authorities this host trusts.
const SYSTEM: [&str; 5] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

options! {
    /// The block `SSL` as it was written.
    pub(crate) struct SslOptions {
        /// Password of the key.
        password: Slot<String> = text("password", "PASSWORD", 1024);
        /// Authorities (PEM); verifies nothing by itself.
        authorities: Slot<String> = text("ca", "FILE", MAX_PATH);
        /// Our certificate (PEM), with those that lead to its authority behind it.
        certificate: Slot<String> = text("certificate", "FILE", MAX_PATH);
        /// Our certificate's key (PEM, not encrypted).
        key: Slot<String> = text("key", "FILE", MAX_PATH);
    }
}

/// Keywords of `SSL`.
pub(crate) const SSL: Table<SslOptions> = Table::of("SSL", "tls", &[SslOptions::keywords()]);

options! {
    /// What a SSL_GET says of TLS.
    pub(crate) struct TlsOptions {
        /// Send the virtualhost as the server's name in the TLS handshake.
        enable_sni: Slot<bool> = flag("enable_sni");
        /// Server name to send in the TLS handshake, instead of the virtualhost.
        pub(crate) sni_name: Slot<String> = text("sni_name", "NAME", MAX_HOST);
        /// Announce the end of TLS connections, as the standard says.
        close_notify: Slot<bool> = flag("tls_compliant").yaml(&["close_notify"]);
        /// Fail unless the certificate is valid and of one of these authorities (lvsd's own word).
        pub(crate) verify: Slot<String> = text("verify", "FILE (PEM), or `system`", MAX_PATH);
        /// Name the certificate must have; else the one sent, the virtualhost, or the address (lvsd's own word).
        pub(crate) verify_name: Slot<String> = text("verify_name", "NAME", MAX_HOST);
    }
}

/// Reads files of certificates and keys, and makes the settings of TLS clients.
pub(crate) struct TlsReader<'a> {
    files: &'a dyn Files,
    directory: PathBuf,
    identity: Option<Identity>,
    /// Resolving goes from block to block with nothing but this to remember.
    made: RefCell<Made>,
}

#[derive(Default)]
struct Made {
    /// Checkers with equal settings share them.
    settings: BTreeSet<Arc<TlsSettings>>,
    authorities: BTreeMap<String, Result<Authorities, String>>,
}

impl<'a> TlsReader<'a> {
    /// Reads what the block `SSL` of the configuration at `path` names.
    pub(crate) fn new(
        files: &'a dyn Files,
        path: &Path,
        ssl: &SslOptions,
        reader: &mut Reader<'_>,
    ) -> TlsReader<'a> {
        let directory = path.parent().unwrap_or(Path::new("")).to_owned();
        let mut tls = TlsReader { files, directory, identity: None, made: RefCell::default() };
        if let Some(ca) = &ssl.authorities {
            match tls.authorities(&ca.value) {
                Ok(_) => reader.diagnostics.push(
                    Diagnostic::warning(ca.span, "`ca` verifies nothing by itself, as in keepalived").help(
                        format!("write `verify {}` into each SSL_GET that is to fail otherwise", ca.value),
                    ),
                ),
                Err(reason) => reader.error(ca.span, format!("`ca` {}: {reason}", ca.value)),
            }
        }
        tls.identity = tls.identity(ssl, reader);
        // Of an encrypted key an error has been said already.
        if let (Some(password), Some(_)) = (&ssl.password, &tls.identity) {
            reader.warning(password.span, "`password` is ignored: the key needs none");
        }
        tls
    }

    fn identity(&self, ssl: &SslOptions, reader: &mut Reader<'_>) -> Option<Identity> {
        let Some(certificate) = &ssl.certificate else {
            if let Some(key) = &ssl.key {
                let problem = Diagnostic::error(key.span, "`key` has no certificate")
                    .help("write `certificate FILE` beside it");
                reader.diagnostics.push(problem);
            }
            return None;
        };
        // One file may hold both.
        let (word, key) = match &ssl.key {
            Some(key) => ("key", key),
            None => ("certificate", certificate),
        };
        let wrong = |word: &str, file: &Spanned<String>, reason: String| {
            (file.span, format!("`{word}` {}: {reason}", file.value))
        };
        let read = || {
            let ours = self.read(&certificate.value).map_err(|e| wrong("certificate", certificate, e))?;
            let secret = self.read(&key.value).map_err(|e| wrong(word, key, e))?;
            Identity::from_pem(&ours, &secret).map_err(|e| match e {
                NotAnIdentity::Certificate(reason) => wrong("certificate", certificate, reason),
                NotAnIdentity::Key(reason) => wrong(word, key, reason),
            })
        };
        read()
            .map_err(|(span, reason)| reader.diagnostics.push(Diagnostic::error(span, reason).of_this_host()))
            .ok()
    }

    /// How a URL with this `virtualhost` is asked. None after saying what is wrong.
    pub(crate) fn resolve(
        &self,
        options: &TlsOptions,
        virtualhost: Option<&Spanned<String>>,
        address: IpAddr,
        reader: &mut Reader<'_>,
    ) -> Option<Tls> {
        let host = virtualhost.map(|v| Spanned { value: without_port(&v.value).to_owned(), span: v.span });
        let server_name = self.server_name(options, host.as_ref(), reader);
        let authorities = match &options.verify {
            None => None,
            Some(verify) => match self.authorities(&verify.value) {
                Ok(authorities) => Some(authorities),
                Err(reason) => {
                    let text = format!("`verify` {}: {reason}", verify.value);
                    reader.diagnostics.push(Diagnostic::error(verify.span, text).of_this_host());
                    return None;
                }
            },
        };
        if let (None, Some(name)) = (&authorities, &options.verify_name) {
            let problem = Diagnostic::error(name.span, "`verify_name` verifies nothing without `verify`")
                .help("write `verify FILE` or `verify system`");
            reader.diagnostics.push(problem);
        }
        let by_default = Spanned { value: address.to_string(), span: Span::default() };
        let name =
            options.verify_name.as_ref().or(server_name.as_ref()).or(host.as_ref()).unwrap_or(&by_default);
        let settings = TlsSettings {
            server_name: server_name.as_ref().map(|name| name.value.clone()),
            verify: authorities.map(|authorities| (authorities, name.value.clone())),
            identity: self.identity.clone(),
        };
        if let Err(reason) = tls::verify(&settings) {
            reader.error(name.span, format!("`{}`: {reason}", name.value));
            return None;
        }
        Some(Tls {
            settings: self.shared(settings),
            close_notify: get(&options.close_notify).unwrap_or(false),
        })
    }

    fn shared(&self, settings: TlsSettings) -> Arc<TlsSettings> {
        let shared = &mut self.made.borrow_mut().settings;
        if let Some(known) = shared.get(&settings) {
            return Arc::clone(known);
        }
        let settings = Arc::new(settings);
        shared.insert(Arc::clone(&settings));
        settings
    }

    /// The server name that is sent.
    fn server_name(
        &self,
        options: &TlsOptions,
        host: Option<&Spanned<String>>,
        reader: &mut Reader<'_>,
    ) -> Option<Spanned<String>> {
        if let Some(name) = &options.sni_name {
            if !tls::is_server_name(&name.value) {
                reader.error(name.span, format!("`sni_name`: `{}` is not the name of a host", name.value));
                return None;
            }
            return Some(name.clone());
        }
        let enabled = options.enable_sni.as_ref().filter(|enabled| enabled.value)?;
        let problem = match host {
            Some(host) if tls::is_server_name(&host.value) => return Some(host.clone()),
            Some(host) => Diagnostic::warning(
                enabled.span,
                "`enable_sni` sends no name: the virtualhost is not that of a host",
            )
            .at(host.span, "this one"),
            None => Diagnostic::warning(enabled.span, "`enable_sni` sends no name: there is no virtualhost"),
        };
        reader.diagnostics.push(problem.help("write `sni_name NAME`"));
        None
    }

    /// The authorities of a file, or of this host (`system`).
    fn authorities(&self, name: &str) -> Result<Authorities, String> {
        if let Some(known) = self.made.borrow().authorities.get(name) {
            return known.clone();
        }
        let text = if name == "system" {
            let found = SYSTEM.iter().find_map(|path| self.files.read(Path::new(path), MAX_FILE).ok());
            found.ok_or_else(|| {
                "this host has no file of authorities: install its package ca-certificates, or name a file".to_owned()
            })
        } else {
            self.read(name)
        };
        let authorities = text.and_then(|pem| Authorities::from_pem(&pem));
        self.made.borrow_mut().authorities.insert(name.to_owned(), authorities.clone());
        authorities
    }

    fn read(&self, name: &str) -> Result<Vec<u8>, String> {
        let path = self.directory.join(name);
        let text = self.files.read(&path, MAX_FILE).map_err(|error| in_words(&error))?;
        if text.len() > MAX_FILE {
            return Err(format!("it is longer than {MAX_FILE} bytes"));
        }
        Ok(text)
    }
}

/// The host of a `Host` header.
fn without_port(host: &str) -> &str {
    if let Some((address, _)) = host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        return address;
    }
    match host.split_once(':') {
        // More than one colon: an IPv6 address without brackets.
        Some((_, port)) if port.contains(':') => host,
        Some((name, _)) => name,
        None => host,
    }
}
