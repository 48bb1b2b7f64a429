//! What SMTP_CHECK says.

use serde::Serialize;

/// How to greet.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct SmtpQuestion {
    /// keepalived `helo_name`: without blanks and control characters.
    pub helo_name: Box<str>,
}
