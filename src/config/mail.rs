//! Mails: recipients, mail server, and the changes they report.

use std::net::SocketAddr;
use std::time::Duration;

use lettre::message::Mailbox;

use crate::notify::mail::{MailSettings, Server};
use crate::syntax::diagnostic::{Code, Diagnostic};
use crate::syntax::keyword::{Reader, Slot, get};
use crate::syntax::source::Span;
use crate::syntax::tree::{Node, Word};
use crate::syntax::value::Wrong;

use super::options::options;
use super::root::RootOptions;
use super::types::Config;
use super::vrrp::line::names;

const MAX_RECIPIENTS: usize = 64;
/// The port of mail servers.
const PORT: u16 = 25;
/// The longest name of a host.
const MAX_HOST: usize = 255;

options! {
    /// The words of mails in `global_defs`, as they were written.
    #[derive(Clone)]
    pub(crate) struct MailOptions {
        /// Recipients of mails: addresses, `"NAME <ADDRESS>"` in quotes.
        _ = lines(=> recipients; "notification_email", None);
        to: Vec<Mailbox>;
        /// Where recipients were written, whether or not they could be read.
        to_span: Option<Span>;
        /// From whom mails are; without it root of this host.
        from: Slot<Mailbox> = word(=> from; "notification_email_from", "ADDRESS");
        /// The server that takes mails, without TLS and password; port 25 if none is written.
        server: Slot<Server> = words(=> server; "smtp_server", "ADDRESS or NAME [PORT]", 1, 2);
        /// How this host calls itself to that server; without it its name.
        hello: Slot<String> = word(=> hello; "smtp_helo_name", "NAME");
        /// How long a connection to that server may take to come about; without it 30 seconds.
        connect_timeout: Slot<Duration> = time("smtp_connect_timeout", Duration::ZERO, Duration::from_secs(600));
        /// Send mails about all that does not say otherwise; without it about real servers alone.
        all: Slot<bool> = flag("smtp_alert");
        /// The same for virtual servers and real servers.
        checkers: Slot<bool> = flag("smtp_alert_checker");
        /// The same for instances and sync groups.
        routers: Slot<bool> = flag("smtp_alert_vrrp");
        /// Send no mails about the Fault of instances and sync groups.
        no_faults: Slot<bool> = flag("no_email_faults").bare();
        /// Send mails when a real server changes, not each of its checkers: with lvsd it is always so.
        _ = no_op("no_checker_emails", "[on|off]", 0, 1);
    }
}

/// Whether mails are sent about a virtual server or instance that does not say it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Alerts {
    /// Mails can be sent at all.
    can_mail: bool,
    virtual_servers: bool,
    real_servers: bool,
    routers: bool,
    /// `no_email_faults`.
    pub(crate) no_faults: bool,
}

impl Alerts {
    /// Whether a virtual server is mailed about.
    pub(crate) fn of_virtual_server(self, own: &Slot<bool>) -> bool {
        self.can_mail && get(own).unwrap_or(self.virtual_servers)
    }

    /// Whether a real server is.
    pub(crate) fn of_real_server(self, own: &Slot<bool>) -> bool {
        self.can_mail && get(own).unwrap_or(self.real_servers)
    }

    /// Whether an instance or group is.
    pub(crate) fn of_router(self, own: &Slot<bool>) -> bool {
        self.can_mail && get(own).unwrap_or(self.routers)
    }
}

fn recipients(options: &mut MailOptions, node: &Node, reader: &mut Reader<'_>) {
    options.to_span.get_or_insert(node.keyword.span);
    let mut words = Vec::new();
    names(&mut words, node, reader);
    for (at, word) in words.iter().enumerate() {
        let is_before_address = words.get(at + 1).is_some_and(|next| next.starts_with('<'));
        if is_before_address && !word.contains('@') {
            no_address(word, &node.keyword, QUOTES, reader);
            continue;
        }
        let Some(mailbox) = mailbox(word, &node.keyword, reader) else { continue };
        if options.to.len() >= MAX_RECIPIENTS {
            let text = format!("`notification_email` has more than {MAX_RECIPIENTS} addresses");
            return reader.error(word.span, text);
        }
        options.to.push(mailbox);
    }
}

fn from(slot: &mut Slot<Mailbox>, node: &Node, reader: &mut Reader<'_>) {
    let Some(word) = node.values.first() else { return };
    if let Some(mailbox) = mailbox(word, &node.keyword, reader) {
        reader.store(slot, node, mailbox);
    }
}

/// An address, or a name and an address. None after saying what is wrong: keepalived hands everything to the server.
fn mailbox(word: &Word, keyword: &Word, reader: &mut Reader<'_>) -> Option<Mailbox> {
    let parsed = word.parse::<Mailbox>().ok().or_else(|| local(word));
    match parsed.filter(|mailbox| mailbox.email.to_string().is_ascii() && !has_control(word)) {
        Some(mailbox) => Some(mailbox),
        None => {
            no_address(word, keyword, "write USER@HOST, or `\"NAME <USER@HOST>\"` in double quotes", reader);
            None
        }
    }
}

const QUOTES: &str = "put name and address together into double quotes: `\"NAME <USER@HOST>\"`";

fn no_address(word: &Word, keyword: &str, help: &str, reader: &mut Reader<'_>) {
    let text = format!("`{keyword}`: `{}` is not a mail address", word.text.escape_debug());
    let problem = reader.compat_diagnostic(word.span, text, ", and is left out").help(help);
    let problem = problem.code(Code::Unheeded(word.span));
    reader.diagnostics.push(problem);
}

/// A name without a host is one the mail server knows, as `root`.
fn local(word: &Word) -> Option<Mailbox> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '+');
    let is_local = !word.is_empty() && word.chars().all(is_name);
    is_local.then(|| format!("{}@localhost", word.text).parse().ok())?
}

fn has_control(text: &str) -> bool {
    text.chars().any(char::is_control)
}

fn server(slot: &mut Slot<Server>, node: &Node, reader: &mut Reader<'_>) {
    let Some(first) = node.values.first() else { return };
    let wanted = "an address or the name of a host, and a port from 1 to 65535 where it is not 25";
    let port = match node.values.get(1) {
        None => None,
        Some(word) => match word.parse::<u16>() {
            Ok(port @ 1..) => Some(port),
            _ => return reader.wrong("smtp_server", word, wanted, Wrong::Malformed(None)),
        },
    };
    match parse_server(first, port) {
        Some(server) => reader.store(slot, node, server),
        None => reader.wrong("smtp_server", first, wanted, Wrong::Malformed(None)),
    }
}

/// `ADDRESS`, `NAME`, and each with `:PORT` where the port does not stand apart.
fn parse_server(text: &str, port: Option<u16>) -> Option<Server> {
    let bare = text.strip_prefix('[').and_then(|t| t.strip_suffix(']')).unwrap_or(text);
    if let Ok(ip) = bare.parse() {
        return Some(Server::At(SocketAddr::new(ip, port.unwrap_or(PORT))));
    }
    if let (Ok(address), None) = (text.parse::<SocketAddr>(), port) {
        return (address.port() > 0).then_some(Server::At(address));
    }
    let (name, port) = match (text.rsplit_once(':'), port) {
        (Some((name, port)), None) => (name, port.parse().ok().filter(|port| *port > 0)?),
        (_, port) => (text, port.unwrap_or(PORT)),
    };
    is_host(name).then(|| Server::Named(name.to_owned(), port))
}

/// Letters, digits, dots, and what else host names have.
fn is_host(text: &str) -> bool {
    let is_fine = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    // All digits is an address with a mistake in it.
    let is_name = text.chars().any(|c| c.is_ascii_alphabetic());
    is_name && text.len() <= MAX_HOST && text.chars().all(is_fine)
}

fn hello(slot: &mut Slot<String>, node: &Node, reader: &mut Reader<'_>) {
    let Some(word) = node.values.first() else { return };
    let is_literal = |text: &str| {
        let inner = text.strip_prefix('[').and_then(|t| t.strip_suffix(']'));
        inner.is_some_and(|t| t.trim_start_matches("IPv6:").parse::<std::net::IpAddr>().is_ok())
    };
    if is_host(word) || is_literal(word) || word.parse::<std::net::IpAddr>().is_ok() {
        reader.store(slot, node, word.text.to_string());
    } else {
        reader.wrong("smtp_helo_name", word, "the name of a host", Wrong::Malformed(None));
    }
}

impl MailOptions {
    /// Whether mails are sent about a virtual server or instance that does not say it.
    pub(crate) fn alerts(&self) -> Alerts {
        let all = get(&self.all);
        let checkers = get(&self.checkers).or(all);
        Alerts {
            can_mail: self.server.is_some() && !self.to.is_empty(),
            virtual_servers: checkers.unwrap_or(false),
            real_servers: checkers.unwrap_or(true),
            routers: get(&self.routers).or(all).unwrap_or(false),
            no_faults: get(&self.no_faults).unwrap_or(false),
        }
    }

    /// Recipients and server; None when no mail is sent.
    pub(crate) fn resolve(&self, router: Option<String>) -> Option<MailSettings> {
        let server = get(&self.server)?;
        // keepalived takes a second for none.
        let timeout = get(&self.connect_timeout).map(|time| time.max(Duration::from_secs(1)));
        (!self.to.is_empty()).then(|| MailSettings {
            server,
            to: self.to.clone(),
            from: get(&self.from),
            hello: get(&self.hello),
            router,
            connect_timeout: timeout.unwrap_or(Duration::from_secs(30)),
        })
    }

    /// Says why mails that the file asks for will not be sent: `asked` is where `smtp_alert` stands elsewhere.
    pub(crate) fn verify(&self, config: &Config, asked: Option<Span>, reader: &mut Reader<'_>) {
        if reader.diagnostics.errors() > 0 {
            return;
        }
        let asking = [&self.all, &self.checkers, &self.routers].into_iter().find_map(is_on);
        let asking = asking.or(asked);
        let server = self.server.as_ref().map(|slot| slot.span);
        let (span, problem, help) = match (server, self.to_span) {
            (Some(span), None) => {
                (span, "no `notification_email`", "write `notification_email { ... }` with an address a line")
            }
            (None, Some(span)) => (span, "no `smtp_server`", "write `smtp_server ADDRESS`"),
            (None, None) => match asking {
                Some(span) => (
                    span,
                    "no `smtp_server` and no `notification_email`",
                    "write both in global_defs, or take `smtp_alert` out",
                ),
                None => return,
            },
            (Some(span), Some(_)) if config.global.mail.is_some() && !is_used(config) => {
                let problem = Diagnostic::warning(span, "no mail is sent: no alert is enabled");
                return reader.diagnostics.push(problem.help("write `smtp_alert`"));
            }
            (Some(_), Some(_)) => return,
        };
        let problem = Diagnostic::warning(span, format!("no mail is sent: there is {problem}"));
        reader.diagnostics.push(problem.help(help));
    }
}

fn is_on(slot: &Slot<bool>) -> Option<Span> {
    slot.as_ref().filter(|slot| slot.value).map(|slot| slot.span)
}

/// Where a virtual server, real server, instance or group first asks for mails.
pub(crate) fn asked(options: &RootOptions) -> Option<Span> {
    let servers = options.virtual_servers.iter();
    let servers = servers
        .flat_map(|s| std::iter::once(&s.is_mailed).chain(s.real_servers.iter().map(|r| &r.is_mailed)));
    let instances = options.vrrp.instances.iter().map(|i| &i.tracked.notify.mail);
    let groups = options.vrrp.groups.iter().map(|g| &g.tracked.notify.mail);
    servers.chain(instances).chain(groups).find_map(is_on)
}

/// Whether anything is mailed about.
fn is_used(config: &Config) -> bool {
    let routers = config.vrrp.instances.iter().any(|i| i.notify.mail)
        || config.vrrp.groups.iter().any(|g| g.notify.mail);
    let servers = || config.virtual_servers.iter();
    routers || servers().any(|s| s.notices.is_mailed || s.real_servers.iter().any(|r| r.is_mailed))
}
