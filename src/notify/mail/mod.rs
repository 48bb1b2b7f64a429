//! Mails about changes: recipients, content, schedule. Pure.
//!
//! [`content`] puts a change into keepalived's words; [`outbox`] decides which changes the next mail contains, and what
//! happens when no server accepts it; [`message`] writes the mail. The shell carries it to the server.

pub(crate) mod content;
pub(crate) mod message;
pub(crate) mod outbox;

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use lettre::message::Mailbox;

/// Recipients, sender and server of mails.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MailSettings {
    pub server: Server,
    /// `notification_email`; never empty.
    pub to: Vec<Mailbox>,
    /// `notification_email_from`; None: root of this host.
    pub from: Option<Mailbox>,
    /// `smtp_helo_name`; None: this host's name.
    pub hello: Option<String>,
    /// `router_id`; None: this host's name.
    pub router: Option<String>,
    pub connect_timeout: Duration,
}

/// A mail server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Server {
    At(SocketAddr),
    /// By name and port; it is looked up for each connection.
    Named(String, u16),
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Server::At(address) => write!(f, "{address}"),
            Server::Named(name, port) => write!(f, "{name}:{port}"),
        }
    }
}
