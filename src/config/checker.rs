//! The checkers of a real server: their keywords, and the specification that follows from them.

use std::sync::Arc;

use std::net::{IpAddr, SocketAddr};

use crate::check::digest::Digest;
use crate::check::http::{HttpQuestion, HttpVersion};
use crate::check::spec::{CheckerSpec, Question, Source, Target};
use crate::syntax::diagnostic::Diagnostic;
use crate::syntax::keyword::{Keyword, Kind, Reader, Slot, Stance, Table, Yaml, get};
use crate::syntax::source::Span;
use crate::syntax::tree::Node;
use crate::syntax::value::Wrong;

use super::defaults::Defaults;
use super::timing::{HasTiming, TimingOptions, Timings};
use super::tls::{TlsOptions, TlsReader};
use super::types::Checker;
use super::url::{self, UrlOptions};

pub(crate) mod form;
pub(crate) mod not_yet;

/// Which checker a block is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum CheckerKind {
    #[default]
    Tcp,
    Http,
    Ssl,
}

/// A checker as it was written.
#[derive(Clone, Debug, Default)]
pub(crate) struct CheckerOptions {
    kind: CheckerKind,
    span: Span,
    timing: TimingOptions,
    connect_ip: Slot<IpAddr>,
    connect_port: Slot<u32>,
    bind_address: Slot<IpAddr>,
    bind_port: Slot<u32>,
    bind_interface: Slot<String>,
    fwmark: Slot<u32>,
    log_all_failures: Slot<bool>,
    virtualhost: Slot<String>,
    version: Slot<HttpVersion>,
    tls: TlsOptions,
    urls: Vec<UrlOptions>,
    /// For URLs that do not say theirs.
    status: Vec<(u16, u16)>,
    digest: Slot<Digest>,
}

impl HasTiming for CheckerOptions {
    const MIN_RETRY: u32 = 0;

    fn timing(&mut self) -> &mut TimingOptions {
        &mut self.timing
    }
}

/// Keywords of TCP_CHECK.
pub(crate) const TCP_CHECK: Table<CheckerOptions> = Table::of("TCP_CHECK", "a check of type tcp", &[
        CONNECTION,
        CheckerOptions::TIMING,
        form::ANY,
        &[Keyword::new("nb_get_retry", RETRY, "Old name of `retry`.").but(Stance::Deprecated(
            "write `retry`: keepalived does not know `nb_get_retry` in TCP_CHECK and ignores it, lvsd reads it as `retry`",
        )).yaml(FALL)],
    ]);

/// Keywords of HTTP_GET.
pub(crate) const HTTP_GET: Table<CheckerOptions> = Table::of(
    "HTTP_GET",
    "a check of type http",
    &[
        CONNECTION,
        CheckerOptions::TIMING,
        form::ANY,
        form::HTTP,
        HTTP,
        &[
            Keyword::new(
                "url",
                Kind::Block {
                    what: "",
                    max: 0,
                    read: |o: &mut CheckerOptions, n, r| o.urls.push(url::read(&url::HTTP_URL, n, r)),
                },
                URL_DOC,
            )
            .yaml(Yaml::Instead("`url: /PATH`")),
            Keyword::unread("enable_sni", NO_TLS, "Send the server's name in the TLS handshake."),
            Keyword::unread("sni_name", NO_TLS, "Server name for the TLS handshake."),
            Keyword::unread("tls_compliant", NO_TLS, COMPLIANT_DOC),
        ],
    ],
);

/// Keywords of SSL_GET.
pub(crate) const SSL_GET: Table<CheckerOptions> = Table::of(
    "SSL_GET",
    "a check of type https",
    &[
        CONNECTION,
        CheckerOptions::TIMING,
        form::ANY,
        form::HTTP,
        HTTP,
        &[
            Keyword::new(
                "url",
                Kind::Block {
                    what: "",
                    max: 0,
                    read: |o: &mut CheckerOptions, n, r| o.urls.push(url::read(&url::SSL_URL, n, r)),
                },
                URL_DOC,
            )
            .yaml(Yaml::Instead("`url: /PATH`")),
            Keyword::new(
                "enable_sni",
                Kind::Flag(|o: &mut CheckerOptions| &mut o.tls.enable_sni),
                "Send the virtualhost as the server's name in the TLS handshake.",
            ),
            Keyword::new(
                "sni_name",
                Kind::Text {
                    what: "NAME",
                    max: MAX_HOST,
                    slot: |o: &mut CheckerOptions| &mut o.tls.sni_name,
                },
                "Server name to send in the TLS handshake, instead of the virtualhost.",
            ),
            Keyword::new(
                "tls_compliant",
                Kind::Flag(|o: &mut CheckerOptions| &mut o.tls.close_notify),
                COMPLIANT_DOC,
            )
            .yaml(Yaml::As(&["close_notify"])),
            Keyword::new(
                "verify",
                Kind::Text {
                    what: "FILE (PEM), or `system`",
                    max: MAX_PATH,
                    slot: |o: &mut CheckerOptions| &mut o.tls.verify,
                },
                "Fail unless the certificate is valid and of one of these authorities (lvsd's own word).",
            ),
            Keyword::new(
                "verify_name",
                Kind::Text {
                    what: "NAME",
                    max: MAX_HOST,
                    slot: |o: &mut CheckerOptions| &mut o.tls.verify_name,
                },
                "Name the certificate must have; else the one sent, the virtualhost, or the address (lvsd's own word).",
            ),
        ],
    ],
);

/// What HTTP_GET and SSL_GET share.
const HTTP: &[Keyword<CheckerOptions>] = &[
    Keyword::new("nb_get_retry", RETRY, "Old name of `retry`.")
        .but(Stance::Deprecated("write `retry`"))
        .yaml(FALL),
    Keyword::new(
        "http_protocol",
        Kind::Words { what: "1.0, 1.0C or 1.1", min: 1, max: 1, read: http_protocol },
        "Version of the request; 1.0C and 1.1 ask the server to close the connection.",
    )
    .yaml(Yaml::As(&["http_version"])),
    Keyword::new(
        "virtualhost",
        Kind::Text { what: "HOST", max: MAX_HOST, slot: |o: &mut CheckerOptions| &mut o.virtualhost },
        "Host header of the request.",
    ),
    Keyword::unread(
        "fast_recovery",
        Stance::Ignored("all URLs are asked in one run anyway"),
        "No delay between URLs while recovering.",
    ),
];

/// What all checkers with a connection take.
const CONNECTION: &[Keyword<CheckerOptions>] = &[
    Keyword::new(
        "connect_ip",
        Kind::Address(|o: &mut CheckerOptions| &mut o.connect_ip),
        "Address to check instead of the real server's.",
    )
    .yaml(Yaml::As(&["connect_address"])),
    Keyword::new(
        "connect_port",
        port(|o: &mut CheckerOptions| &mut o.connect_port),
        "Port to check instead of the real server's.",
    ),
    Keyword::new(
        "bindto",
        Kind::Address(|o: &mut CheckerOptions| &mut o.bind_address),
        "Source address of the check.",
    )
    .yaml(Yaml::As(&["bind_address"])),
    Keyword::new("bind_port", port(|o: &mut CheckerOptions| &mut o.bind_port), "Source port of the check."),
    Keyword::new(
        "bind_if",
        Kind::Text {
            what: "INTERFACE",
            max: MAX_INTERFACE,
            slot: |o: &mut CheckerOptions| &mut o.bind_interface,
        },
        "Interface the check goes out of.",
    )
    .yaml(Yaml::As(&["bind_interface"])),
    Keyword::new(
        "fwmark",
        Kind::Number { min: 0, max: u32::MAX, bare: None, slot: |o: &mut CheckerOptions| &mut o.fwmark },
        "Firewall mark of the check's packets.",
    ),
    Keyword::new(
        "log_all_failures",
        Kind::Flag(|o: &mut CheckerOptions| &mut o.log_all_failures),
        "Log every failing check, not only the one that decides.",
    ),
];

const RETRY: Kind<CheckerOptions> =
    Kind::Number { min: 0, max: u32::MAX, bare: None, slot: |o: &mut CheckerOptions| &mut o.timing.retry };
const FALL: Yaml = Yaml::Instead("`fall`, which is one more than `retry`");
pub(super) const NO_TLS: Stance = Stance::Ignored("HTTP_GET speaks no TLS");
const URL_DOC: &str = "A URL to ask for and what its answer must be; at least one.";
pub(super) const COMPLIANT_DOC: &str = "Announce the end of TLS connections, as the standard says.";
pub(super) const MAX_HOST: usize = 255;
/// PATH_MAX less the terminator.
pub(super) const MAX_PATH: usize = 4095;
/// IFNAMSIZ less the terminator.
pub(super) const MAX_INTERFACE: usize = 15;

const fn port(slot: fn(&mut CheckerOptions) -> &mut Slot<u32>) -> Kind<CheckerOptions> {
    Kind::Number { min: 1, max: u16::MAX as u32, bare: None, slot }
}

/// Reads a checker's block.
pub(crate) fn read(kind: CheckerKind, node: &Node, reader: &mut Reader<'_>) -> CheckerOptions {
    let mut options = CheckerOptions { kind, span: node.keyword.span, ..CheckerOptions::default() };
    let table = match kind {
        CheckerKind::Tcp => &TCP_CHECK,
        CheckerKind::Http => &HTTP_GET,
        CheckerKind::Ssl => &SSL_GET,
    };
    reader.block(table, node.statements(), &mut options);
    let has_url = node.statements().iter().any(|s| matches!(&*s.keyword.text, "url" | "urls"));
    if kind != CheckerKind::Tcp && !has_url {
        let (what, help) = match reader.is_yaml() {
            true => (format!("{} needs a `url`", table.yaml), "write `url: /`"),
            false => (format!("`{}` needs a `url`", table.block), "write `url { path / }`"),
        };
        reader.diagnostics.push(Diagnostic::error(node.keyword.span, what).help(help));
    }
    options
}

fn http_protocol(options: &mut CheckerOptions, node: &Node, reader: &mut Reader<'_>) {
    let Some(word) = node.values.first() else { return };
    let version = match &*word.text {
        "1.0" => HttpVersion::V1_0,
        "1.0C" | "1.0c" => HttpVersion::V1_0Close,
        "1.1" => HttpVersion::V1_1,
        _ => return reader.wrong("http_protocol", word, "1.0, 1.0C or 1.1", Wrong::Malformed(None)),
    };
    reader.store(&mut options.version, node, version);
}

/// What a checker inherits.
pub(crate) struct Inherited<'a> {
    /// The real server's address; its port is where traffic arrives when connect_port says nothing.
    pub address: SocketAddr,
    /// Options of the real server over those of the virtual server.
    pub timing: &'a TimingOptions,
    /// `virtualhost` of the real server, else of the virtual server.
    pub virtualhost: Slot<String>,
    /// Who makes TLS clients.
    pub tls: &'a TlsReader<'a>,
    pub log_all_failures: bool,
    /// What nobody wrote.
    pub defaults: &'a Defaults,
}

/// The specification of a checker, all options and defaults applied. None after saying what is wrong.
pub(crate) fn resolve(
    options: &CheckerOptions,
    from: &Inherited<'_>,
    timings: &mut Timings,
    reader: &mut Reader<'_>,
) -> Option<Checker> {
    let defaults = from.defaults;
    let timing = options.timing.clone().or(from.timing);
    let small = |slot: &Slot<u32>| get(slot).and_then(|n| u16::try_from(n).ok());
    let address = SocketAddr::new(
        get(&options.connect_ip).unwrap_or(from.address.ip()),
        small(&options.connect_port).unwrap_or(from.address.port()),
    );
    if address.port() == 0 {
        let problem = Diagnostic::error(options.span, "this checker has no port to connect to")
            .help(if reader.is_yaml() { "write `connect_port: N`" } else { "write `connect_port`" });
        reader.diagnostics.push(problem);
        return None;
    }
    if let Some(bind) = options.bind_address.as_ref().filter(|b| b.value.is_ipv4() != address.is_ipv4()) {
        let problem = format!(
            "`{}` {} and the address to check, {}, are of different families",
            if reader.is_yaml() { "bind_address" } else { "bindto" },
            bind.value,
            address.ip()
        );
        reader.error(bind.span, problem);
        return None;
    }
    let is_link_local = matches!(address.ip(), IpAddr::V6(ip) if ip.is_unicast_link_local());
    if is_link_local && options.bind_interface.is_none() {
        let problem =
            Diagnostic::error(options.span, format!("{} is a link-local address", address.ip())).help(
                if reader.is_yaml() { "write `bind_interface: NAME`" } else { "write `bind_if INTERFACE`" },
            );
        reader.diagnostics.push(problem);
        return None;
    }
    let (question, delay_before_retry) = match options.kind {
        CheckerKind::Tcp => (Question::Tcp, defaults.delay_before_retry),
        CheckerKind::Http | CheckerKind::Ssl => {
            let virtualhost = options.virtualhost.clone().or_else(|| from.virtualhost.clone());
            let tls = (options.kind == CheckerKind::Ssl).then_some(&options.tls);
            let mut urls = Vec::new();
            for written in &options.urls {
                let written = written.clone().or(&options.status, &options.digest);
                urls.extend(url::resolve(written, &virtualhost, (tls, address.ip()), from, reader));
            }
            let version = get(&options.version).unwrap_or_default();
            (Question::Http(Box::new(HttpQuestion { version, urls })), defaults.http_delay_before_retry)
        }
    };
    let source = Source {
        address: get(&options.bind_address),
        port: small(&options.bind_port),
        interface: get(&options.bind_interface),
        fwmark: get(&options.fwmark).filter(|mark| *mark != 0),
    };
    let spec = CheckerSpec {
        target: Target {
            address,
            source: (source != Source::default()).then(|| Box::new(source)),
            connect_timeout: get(&timing.connect_timeout).unwrap_or(defaults.connect_timeout),
        },
        question,
        timing: timings.shared(timing.resolve(defaults, delay_before_retry)),
        log_all_failures: get(&options.log_all_failures).unwrap_or(from.log_all_failures),
    };
    Some(Checker { spec: Arc::new(spec), alpha: get(&timing.alpha).unwrap_or(defaults.alpha) })
}
