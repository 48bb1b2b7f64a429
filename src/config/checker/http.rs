//! HTTP_GET, and SSL_GET, which is the same over TLS.

use std::net::IpAddr;
use std::time::Duration;

use super::{Ask, CheckerBlock, CheckerForm, ConnectionOptions, Inherited, MAX_HOST, old_retry, yaml_type};
use crate::check::spec::Question;
use crate::check::spec::digest::Digest;
use crate::check::spec::http::{HttpQuestion, HttpVersion};
use crate::config::defaults::Dialect;
use crate::config::options::options;
use crate::config::timing::TimingOptions;
use crate::config::tls::TlsOptions;
use crate::config::url::{self, HowOptions, OfCheck, UrlOptions};
use crate::syntax::diagnostic::{Code, Diagnostic};
use crate::syntax::keyword::{Includes, Keyword, Reader, Slot, Support, Table, unread};
use crate::syntax::tree::Node;
use crate::syntax::value::Wrong;

options! {
    /// HTTP_GET as it was written.
    pub(in crate::config) struct HttpGet {
        /// What to ask for, and what the answer must be; at least one.
        urls: Vec<UrlOptions> = words(=> url::read_any; "url", "paths, e.g. /health", 1, MAX_URLS).or(&["urls"]).only_yaml().yaml_block("url");
        /// Statuses that count as success, for URLs that do not say theirs.
        status: Vec<(u16, u16)> = words(=> url::statuses; "status", "statuses, e.g. 200 or [200-299, 304]", 1, 512).only_yaml();
        /// Digest the body must have, for URLs that do not say theirs.
        digest: Slot<Digest> = word(=> url::digest_of; "digest", url::DIGEST).only_yaml();
        /// Text that must be in the body, for URLs that do not say theirs.
        contains: Slot<String> = text("body_contains", "TEXT", url::MAX_TEXT).only_yaml();
        include how: HowOptions;
        /// Version of the request; 1.0C and 1.1 ask the server to close the connection.
        version: Slot<HttpVersion> = word(=> http_protocol; "http_protocol", "1.0, 1.0C or 1.1").yaml(&["http_version"]), default HttpVersion::default();
        /// Host header of the request.
        virtualhost: Slot<String> = text("virtualhost", "HOST", MAX_HOST);
        /// No delay between URLs while recovering.
        _ = unread("fast_recovery", Support::Ignored("all URLs are asked in one run anyway"));
        /// A URL to ask for and what its answer must be; at least one.
        _ = block(@urls => url::read; "url", "").yaml_instead("`url: /PATH`");
    }
}

options! {
    /// SSL_GET as it was written.
    pub(in crate::config) struct SslGet {
        include http: HttpGet;
        include tls: TlsOptions;
    }
}

impl Includes<HttpGet> for CheckerBlock<SslGet> {
    fn part(&mut self) -> &mut HttpGet {
        &mut self.own.http
    }
}

impl Includes<HowOptions> for CheckerBlock<HttpGet> {
    fn part(&mut self) -> &mut HowOptions {
        &mut self.own.how
    }
}

impl Includes<HowOptions> for CheckerBlock<SslGet> {
    fn part(&mut self) -> &mut HowOptions {
        &mut self.own.http.how
    }
}

impl Includes<TlsOptions> for CheckerBlock<SslGet> {
    fn part(&mut self) -> &mut TlsOptions {
        &mut self.own.tls
    }
}

const MAX_URLS: usize = 1000;
const NO_TLS: Support = Support::Ignored("HTTP_GET speaks no TLS");

impl CheckerForm for HttpGet {
    const KEYWORD: &'static str = "HTTP_GET";
    const TYPE: &'static str = "http";
    const EXAMPLE: &'static str = "`check: {type: http, url: /}`";
    const DOC: &'static str = "Up while its URLs answer as they should.";
    const TABLE: Table<CheckerBlock<HttpGet>> = Table::of(
        "HTTP_GET",
        "a check of type http",
        &[
            ConnectionOptions::keywords(),
            TimingOptions::keywords(),
            COMMON,
            HttpGet::keywords(),
            HowOptions::keywords(),
            WITHOUT_TLS,
        ],
    );

    fn verify(node: &Node, reader: &mut Reader<'_>) {
        needs_url(&Self::TABLE, node, reader);
    }
}

impl CheckerForm for SslGet {
    const KEYWORD: &'static str = "SSL_GET";
    const TYPE: &'static str = "https";
    const EXAMPLE: &'static str = "`check: {type: https, url: /}`";
    const DOC: &'static str = "Up while its URLs answer as they should over TLS.";
    const TABLE: Table<CheckerBlock<SslGet>> = Table::of(
        "SSL_GET",
        "a check of type https",
        &[
            ConnectionOptions::keywords(),
            TimingOptions::keywords(),
            &[yaml_type(), old_retry("write `retry`")],
            HttpGet::keywords(),
            HowOptions::keywords(),
            TlsOptions::keywords(),
        ],
    );

    fn verify(node: &Node, reader: &mut Reader<'_>) {
        needs_url(&Self::TABLE, node, reader);
    }
}

const COMMON: &[Keyword<CheckerBlock<HttpGet>>] = &[yaml_type(), old_retry("write `retry`")];

/// The words of TLS, which HTTP_GET ignores.
const WITHOUT_TLS: &[Keyword<CheckerBlock<HttpGet>>] = &[
    unread("enable_sni", NO_TLS).doc("Send the server's name in the TLS handshake."),
    unread("sni_name", NO_TLS).doc("Server name for the TLS handshake."),
    unread("tls_compliant", NO_TLS).doc("Announce the end of TLS connections, as the standard says."),
];

fn needs_url<O>(table: &Table<CheckerBlock<O>>, node: &Node, reader: &mut Reader<'_>) {
    if node.statements().iter().any(|s| matches!(&*s.keyword.text, "url" | "urls")) {
        return;
    }
    let (what, help) = reader.by_language(
        (format!("`{}` needs a `url`", table.block), "write `url { path / }`"),
        (format!("{} needs a `url`", table.yaml), "write `url: /`"),
    );
    reader.diagnostics.push(Diagnostic::error(node.keyword.span, what).code(Code::Missing).help(help));
}

fn http_protocol(slot: &mut Slot<HttpVersion>, node: &Node, reader: &mut Reader<'_>) {
    let Some(word) = node.values.first() else { return };
    let version = match &*word.text {
        "1.0" => HttpVersion::V1_0,
        "1.0C" | "1.0c" => HttpVersion::V1_0Close,
        "1.1" => HttpVersion::V1_1,
        _ => return reader.wrong("http_protocol", word, "1.0, 1.0C or 1.1", Wrong::Malformed(None)),
    };
    reader.store(slot, node, version);
}

impl HttpGet {
    fn ask(
        &self,
        tls: Option<&TlsOptions>,
        address: IpAddr,
        from: &Inherited<'_>,
        reader: &mut Reader<'_>,
    ) -> Option<Question> {
        let virtualhost = self.virtualhost.as_ref().or(from.virtualhost.as_ref());
        let mut urls = Vec::new();
        for written in &self.urls {
            let written = written.clone().or(OfCheck {
                status: &self.status,
                digest: &self.digest,
                contains: &self.contains,
                how: &self.how,
            });
            urls.extend(url::resolve(written, virtualhost, (tls, address), from, reader));
        }
        Some(Question::Http(Box::new(HttpQuestion { version: self.version(from.dialect), urls })))
    }
}

impl Ask for HttpGet {
    fn question(&self, address: IpAddr, from: &Inherited<'_>, reader: &mut Reader<'_>) -> Option<Question> {
        self.ask(None, address, from, reader)
    }

    fn delay_before_retry(&self, dialect: Dialect, _: Duration) -> Duration {
        dialect.http_delay_before_retry()
    }
}

impl Ask for SslGet {
    fn question(&self, address: IpAddr, from: &Inherited<'_>, reader: &mut Reader<'_>) -> Option<Question> {
        self.http.ask(Some(&self.tls), address, from, reader)
    }

    fn delay_before_retry(&self, dialect: Dialect, interval: Duration) -> Duration {
        self.http.delay_before_retry(dialect, interval)
    }
}
