//! A mail as it goes over the wire: header and body, of one change or of many.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::{Duration, SystemTime};

use lettre::address::Envelope;
use lettre::message::header::{
    ContentTransferEncoding, ContentType, HeaderName, HeaderValue, MIME_VERSION_1_0,
};
use lettre::message::{Body, Mailbox, Message};

use super::MailSettings;
use super::outbox::DatedContent;
use crate::date::moment;
use crate::notify::notification::plain;

/// Bytes of a line, or of a header, that go as they are.
const LONGEST_LINE: usize = 900;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mail {
    /// Sender and recipients.
    pub envelope: Envelope,
    /// Header and body.
    pub bytes: Vec<u8>,
}

/// Writes the mail about these changes, from a host of this name; `id` is another one for each mail.
///
/// # Errors
/// When there is no change, or no address to send it from.
pub(crate) fn compose(
    dated: &[DatedContent],
    settings: &MailSettings,
    host: &str,
    id: &str,
) -> Result<Mail, String> {
    let (Some(first), Some(last)) = (dated.first(), dated.last()) else {
        return Err("the mail has no content".to_owned());
    };
    let from = match &settings.from {
        Some(from) => from.clone(),
        None => root_of(host)?,
    };
    let router = settings.router.as_deref().unwrap_or(host);
    let domain = from.email.domain().to_owned();
    let (what, body) = match dated {
        [one] => (one.content.subject.clone(), format!("{}\r\n", one.content.body)),
        many => (summary(many), list(many)),
    };
    let mut builder = Message::builder()
        .date(time(last.date))
        .from(from)
        .subject(short(&format!("[{router}] {what}")))
        .message_id(Some(format!("<{id}@{domain}>")))
        .header(MIME_VERSION_1_0)
        .header(ContentType::TEXT_PLAIN)
        .raw_header(header("X-Mailer", concat!("lvsd ", env!("CARGO_PKG_VERSION"))))
        .raw_header(header("Auto-Submitted", "auto-generated"));
    if dated.len() == 1 && !first.content.cause.is_empty() {
        builder = builder.raw_header(header("X-LVSD-Cause", &first.content.cause));
    }
    for to in &settings.to {
        builder = builder.to(to.clone());
    }
    let message = builder.body(encoded(body)).map_err(|error| error.to_string())?;
    Ok(Mail { envelope: message.envelope().clone(), bytes: message.formatted() })
}

/// Plain text goes as it is, unless a mail server need not take such lines (RFC 5321 4.5.3.1.6).
fn encoded(body: String) -> Body {
    let is_plain = body.is_ascii() && body.lines().all(|line| line.len() <= LONGEST_LINE);
    match is_plain {
        true => Body::dangerous_pre_encoded(body.into_bytes(), ContentTransferEncoding::SevenBit),
        false => Body::new(body),
    }
}

/// How many changes of which kind: `12 changes: 9 DOWN, 3 UP`.
fn summary(dated: &[DatedContent]) -> String {
    let mut kinds: BTreeMap<&str, usize> = BTreeMap::new();
    for DatedContent { content, .. } in dated {
        *kinds.entry(content.subject.rsplit(" - ").next().unwrap_or_default()).or_default() += 1;
    }
    let kinds: Vec<String> = kinds.iter().map(|(kind, count)| format!("{count} {kind}")).collect();
    format!("{} changes: {}", dated.len(), kinds.join(", "))
}

/// All changes, the oldest first.
fn list(dated: &[DatedContent]) -> String {
    let mut text = String::new();
    for DatedContent { content, date } in dated {
        let _ = write!(text, "{}  {}\r\n    {}\r\n", moment(date.as_secs()), content.subject, content.body);
        if !content.cause.is_empty() {
            let _ = write!(text, "    {}\r\n", content.cause);
        }
    }
    text
}

/// `root@HOST`, as keepalived writes it.
fn root_of(host: &str) -> Result<Mailbox, String> {
    let address = format!("root@{host}").parse().or_else(|_| "root@localhost".parse());
    address.map(|address| Mailbox::new(None, address)).map_err(|error| format!("root@{host}: {error}"))
}

fn time(date: Duration) -> SystemTime {
    // Year 9999 at most: that is what a date's form has room for.
    SystemTime::UNIX_EPOCH + date.min(Duration::from_secs(253_402_300_799))
}

/// A header; what cannot stand there as it is is encoded.
fn header(name: &'static str, value: &str) -> HeaderValue {
    HeaderValue::new(HeaderName::new_from_ascii_str(name), short(value))
}

/// One line that every mail server takes.
fn short(text: &str) -> String {
    let mut text = plain(text);
    while text.len() > LONGEST_LINE {
        text.pop();
    }
    text
}

#[cfg(test)]
mod tests;
