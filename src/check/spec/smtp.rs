//! What SMTP_CHECK says.

use std::sync::Arc;

use serde::Serialize;

use super::tls::TlsSettings;

/// How to greet.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct SmtpQuestion {
    /// keepalived `helo_name`: without blanks and control characters.
    pub helo_name: Box<str>,
    /// TLS is begun by STARTTLS (RFC 3207), with these settings, and must succeed.
    pub starttls: Option<Arc<TlsSettings>>,
}
