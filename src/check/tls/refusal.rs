//! What a handshake that came to nothing says, in the operator's words.
//!
//! The server is asked for TLS 1.2 and 1.3 with today's ciphers; one that has only older ones refuses in many
//! ways (an alert, an older ServerHello, a closed connection), and each of them must not look like a dead server.

use std::io;

use rustls::{AlertDescription, CertificateError, Error, PeerMisbehaved};

use super::super::errno::{self, Meaning, When};
use super::super::outcome::{Outcome, Phase};
use super::super::spec::tls::TlsSettings;
use super::super::tap::Seen;

const SPOKEN: &str = "lvsd speaks TLS 1.2 (with ECDHE) and 1.3";

/// What a handshake that failed says; `seen` is what the server sent.
pub(super) fn outcome(error: &io::Error, seen: &Seen, settings: &TlsSettings) -> Outcome {
    if let Some(version) = older_version(&seen.first) {
        return Outcome::fail(Phase::Handshake, format!("offers only {version} and older: {SPOKEN}"));
    }
    if let Some(error) = of_tls(error) {
        let reason = match error {
            Error::InvalidMessage(_) if !is_tls(&seen.first) => {
                let first = seen.first.get(..40).unwrap_or(&seen.first).escape_ascii();
                format!("not a TLS answer: \"{first}\"")
            }
            Error::AlertReceived(alert) => of_alert(*alert, settings),
            error => in_words(error),
        };
        return Outcome::fail(Phase::Handshake, reason);
    }
    match error.raw_os_error() {
        None if seen.read == 0 => Outcome::fail(
            Phase::Handshake,
            format!(
                "closed the connection when asked for TLS: it speaks none, or too old a version ({SPOKEN})"
            ),
        ),
        None => Outcome::fail(Phase::Handshake, "closed the connection during the TLS handshake"),
        Some(number) => match errno::meaning(When::Answered, error) {
            Meaning::ServerDown(words) => {
                Outcome::fail(Phase::Handshake, format!("{words} during the TLS handshake"))
            }
            Meaning::CannotAsk(words) | Meaning::AsRouted(_, words) => {
                Outcome::inconclusive(Phase::Handshake, words)
            }
        }
        .with_errno(Some(number)),
    }
}

/// The words for an error of TLS within one of a stream, for errors that come after the handshake (a client
/// certificate is refused then); None for others.
pub(in super::super) fn words(error: &io::Error, settings: &TlsSettings) -> Option<String> {
    Some(match of_tls(error)? {
        Error::AlertReceived(alert) => of_alert(*alert, settings),
        error => in_words(error),
    })
}

fn of_tls(error: &io::Error) -> Option<&Error> {
    error.get_ref()?.downcast_ref()
}

/// What the server's alert means.
fn of_alert(alert: AlertDescription, settings: &TlsSettings) -> String {
    use AlertDescription as Alert;
    match alert {
        Alert::ProtocolVersion => format!("offers only protocol versions that are too old: {SPOKEN}"),
        Alert::HandshakeFailure | Alert::InsufficientSecurity => {
            let or = match &settings.server_name {
                Some(_) => "",
                None => ", or it wants a server name (enable_sni)",
            };
            format!("offers only protocol versions or ciphers that lvsd does not speak{or}: {SPOKEN}")
        }
        Alert::UnrecognisedName => match &settings.server_name {
            Some(name) => format!("does not know the server name {name}"),
            None => "wants a server name: write `enable_sni`, or `sni_name NAME`".to_owned(),
        },
        Alert::CertificateRequired | Alert::NoCertificate => WANTS_CERTIFICATE.to_owned(),
        Alert::BadCertificate
        | Alert::UnsupportedCertificate
        | Alert::CertificateRevoked
        | Alert::CertificateExpired
        | Alert::CertificateUnknown
        | Alert::UnknownCA
        | Alert::AccessDenied => match settings.identity {
            Some(_) => format!("refuses our client certificate (TLS alert {alert:?})"),
            None => WANTS_CERTIFICATE.to_owned(),
        },
        alert => format!("refuses (TLS alert {alert:?})"),
    }
}

const WANTS_CERTIFICATE: &str =
    "wants a client certificate: write `certificate` and `key` into the block `SSL`";

fn in_words(error: &Error) -> String {
    match error {
        Error::InvalidCertificate(error) => of_certificate(error),
        Error::PeerIncompatible(what) => {
            format!("offers only protocol versions or ciphers that lvsd does not speak ({what:?}): {SPOKEN}")
        }
        Error::PeerMisbehaved(PeerMisbehaved::SelectedUnofferedCipherSuite) => {
            format!("insists on a cipher that lvsd does not speak: {SPOKEN}")
        }
        Error::PeerMisbehaved(what) => format!("does not keep to TLS ({what:?})"),
        error => format!("TLS fails: {error}"),
    }
}

fn of_certificate(error: &CertificateError) -> String {
    match error {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "certificate has expired".to_owned()
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "certificate is not valid yet".to_owned()
        }
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            "certificate is for other purposes than a server's (extended key usage)".to_owned()
        }
        CertificateError::UnknownIssuer => "certificate is of no trusted authority".to_owned(),
        CertificateError::NotValidForNameContext { expected, presented } => {
            // They come as `DnsName("www.example.com")`.
            let bare = |name: &String| {
                let inner = name.split_once('(').map_or(name.as_str(), |(_, inner)| inner);
                inner.trim_end_matches(')').trim_matches('"').to_owned()
            };
            let presented = if presented.is_empty() {
                "no name".to_owned()
            } else {
                presented.iter().map(bare).collect::<Vec<_>>().join(", ")
            };
            format!("certificate is for {presented}, not for {}", expected.to_str())
        }
        error => format!("certificate is not accepted: {error}"),
    }
}

/// The version of a ServerHello that is older than was asked for.
fn older_version(first: &[u8]) -> Option<&'static str> {
    const HANDSHAKE: u8 = 22;
    const SERVER_HELLO: u8 = 2;
    // A record's header of five bytes, then the message's type, its length in three bytes, its version.
    if first.first() != Some(&HANDSHAKE) || first.get(5) != Some(&SERVER_HELLO) {
        return None;
    }
    match first.get(9..11)? {
        [3, 0] => Some("SSL 3.0"),
        [3, 1] => Some("TLS 1.0"),
        [3, 2] => Some("TLS 1.1"),
        _ => None,
    }
}

/// Whether an answer begins as a TLS record does.
fn is_tls(first: &[u8]) -> bool {
    matches!(first, [20..=24, 3, ..])
}
