//! The URLs of HTTP_GET and SSL_GET: what is asked, and what the answer must be.

use std::net::IpAddr;

use crate::check::digest::Digest;
use crate::check::http::{self, Url};
use crate::syntax::diagnostic::Diagnostic;
use crate::syntax::keyword::{Keyword, Kind, Reader, Slot, Spanned, Stance, Table, Yaml, get};
use crate::syntax::source::Span;
use crate::syntax::tree::Node;
use crate::syntax::value::{self, Wrong};

use super::checker::{COMPLIANT_DOC, Inherited, MAX_HOST, NO_TLS};
use super::regex::{self, PatternOptions};
use super::tls::TlsOptions;

/// A `url` block as it was written.
#[derive(Clone, Debug, Default)]
pub(crate) struct UrlOptions {
    span: Span,
    path: Slot<String>,
    virtualhost: Slot<String>,
    status: Vec<(u16, u16)>,
    digest: Slot<Digest>,
    pattern: PatternOptions,
    close_notify: Slot<bool>,
}

impl UrlOptions {
    /// With what it leaves open taken from its check.
    #[must_use]
    pub(crate) fn or(mut self, status: &[(u16, u16)], digest: &Slot<Digest>) -> UrlOptions {
        if self.status.is_empty() {
            self.status.extend(status);
        }
        self.digest = self.digest.or_else(|| digest.clone());
        self
    }
}

/// Keywords of `url` in HTTP_GET.
pub(crate) const HTTP_URL: Table<UrlOptions> =
    Table::of("url", "url", &[ANSWER, &[Keyword::unread("tls_compliant", NO_TLS, COMPLIANT_DOC)]]);

/// Keywords of `url` in SSL_GET.
pub(crate) const SSL_URL: Table<UrlOptions> = Table::of(
    "url",
    "url",
    &[
        ANSWER,
        &[Keyword::new("tls_compliant", Kind::Flag(|o: &mut UrlOptions| &mut o.close_notify), COMPLIANT_DOC)
            .yaml(Yaml::As(&["close_notify"]))],
    ],
);

/// What is asked for, and what its answer must be.
const ANSWER: &[Keyword<UrlOptions>] = &[
    Keyword::new(
        "path",
        Kind::Text { what: "PATH", max: 2000, slot: |o: &mut UrlOptions| &mut o.path },
        "What to ask for, e.g. `/`.",
    ),
    Keyword::new(
        "status_code",
        Kind::Words { what: "statuses, e.g. `200` or `200-299 304`", min: 1, max: 512, read: status_code },
        "Statuses that count as success.",
    )
    .yaml(Yaml::As(&["status"])),
    Keyword::new(
        "digest",
        Kind::Words {
            what: "32 hex digits (MD5), or sha256: and 64 hex digits",
            min: 1,
            max: 1,
            read: digest,
        },
        "Digest the body must have, as `lvsd genhash` prints it.",
    ),
    Keyword::new(
        "virtualhost",
        Kind::Text { what: "HOST", max: MAX_HOST, slot: |o: &mut UrlOptions| &mut o.virtualhost },
        "Host header of this request.",
    ),
    Keyword::new(
        "regex",
        Kind::Words {
            what: "EXPRESSION in double quotes",
            min: 1,
            max: 1,
            read: |o: &mut UrlOptions, n, r| regex::expression(&mut o.pattern, n, r),
        },
        "Expression (PCRE2) the body must match; backslashes are read as keepalived reads them.",
    ),
    Keyword::new(
        "regex_no_match",
        Kind::Flag(|o: &mut UrlOptions| &mut o.pattern.is_unwanted),
        "The body must not match.",
    ),
    Keyword::new(
        "regex_options",
        Kind::Words {
            what: "options, e.g. `caseless dotall`",
            min: 1,
            max: 64,
            read: |o: &mut UrlOptions, n, r| regex::options(&mut o.pattern, n, r),
        },
        "Options of the expression, by their names in PCRE2.",
    ),
    Keyword::new(
        "regex_min_offset",
        Kind::Number {
            min: 0,
            max: u32::MAX,
            bare: None,
            slot: |o: &mut UrlOptions| &mut o.pattern.min_offset,
        },
        "Where in the body a match may begin, at least.",
    ),
    Keyword::new(
        "regex_max_offset",
        Kind::Number {
            min: 0,
            max: u32::MAX,
            bare: None,
            slot: |o: &mut UrlOptions| &mut o.pattern.max_offset,
        },
        "Where in the body a match may begin, at most.",
    ),
    Keyword::unread(
        "regex_stack",
        Stance::Ignored("the matcher takes what memory it needs, up to 64 MiB"),
        "Stack of the matcher.",
    ),
];

/// Reads a `url` block.
pub(crate) fn read(table: &Table<UrlOptions>, node: &Node, reader: &mut Reader<'_>) -> UrlOptions {
    let mut url = UrlOptions { span: node.keyword.span, ..UrlOptions::default() };
    reader.block(table, node.statements(), &mut url);
    if url.path.is_none() && !node.statements().iter().any(|s| &*s.keyword.text == "path") {
        let help = if reader.is_yaml() { "write e.g. `path: /`" } else { "write e.g. `path /`" };
        let problem = Diagnostic::error(url.span, "`url` needs a `path`").help(help);
        reader.diagnostics.push(problem);
    }
    url
}

fn status_code(options: &mut UrlOptions, node: &Node, reader: &mut Reader<'_>) {
    statuses(&mut options.status, node, reader);
}

/// Reads statuses and ranges of them.
pub(crate) fn statuses(into: &mut Vec<(u16, u16)>, node: &Node, reader: &mut Reader<'_>) {
    let keyword = &node.keyword.text;
    for word in &node.values {
        match status_range(word) {
            Some(range) => into.push(range),
            None => {
                let problem = Diagnostic::error(
                    word.span,
                    format!(
                        "`{keyword}`: `{}` is not a status from 100 to 599, or a range of them",
                        word.text
                    ),
                )
                .help(if reader.is_yaml() {
                    format!("write e.g. `{keyword}: 200` or `{keyword}: [200-299, 304]`")
                } else {
                    format!("write e.g. `{keyword} 200` or `{keyword} 200-299 304`")
                });
                reader.diagnostics.push(problem);
            }
        }
    }
}

fn status_range(word: &str) -> Option<(u16, u16)> {
    let (first, last) = word.split_once('-').unwrap_or((word, word));
    let status = |text| value::number(text, 100, 599).ok().and_then(|n| u16::try_from(n).ok());
    let (first, last) = (status(first)?, status(last)?);
    (first <= last).then_some((first, last))
}

/// Sorted, overlapping and adjacent ranges merged.
fn merged(mut ranges: Vec<(u16, u16)>) -> Vec<(u16, u16)> {
    ranges.sort_unstable();
    let mut out: Vec<(u16, u16)> = Vec::new();
    for (first, last) in ranges {
        match out.last_mut() {
            Some((_, end)) if first <= end.saturating_add(1) => *end = last.max(*end),
            _ => out.push((first, last)),
        }
    }
    out
}

fn digest(options: &mut UrlOptions, node: &Node, reader: &mut Reader<'_>) {
    digest_of(&mut options.digest, node, reader);
}

/// Reads a digest.
pub(crate) fn digest_of(slot: &mut Slot<Digest>, node: &Node, reader: &mut Reader<'_>) {
    let Some(word) = node.values.first() else { return };
    match word.parse() {
        Ok(digest) => reader.store(slot, node, digest),
        Err(e) => {
            let _: crate::check::digest::NotADigest = e;
            reader.wrong(
                "digest",
                word,
                "32 hex digits (MD5), or sha256: and 64 hex digits",
                Wrong::Malformed(None),
            );
        }
    }
}

/// What is asked, all options and defaults applied. None after saying what is wrong.
pub(crate) fn resolve(
    options: UrlOptions,
    virtualhost: &Slot<String>,
    (tls, address): (Option<&TlsOptions>, IpAddr),
    from: &Inherited<'_>,
    reader: &mut Reader<'_>,
) -> Option<Url> {
    let path = options.path.as_ref()?;
    explain_path(path, reader);
    let virtualhost = options.virtualhost.as_ref().or(virtualhost.as_ref());
    if let Some(host) = virtualhost.filter(|host| !http::is_host(&host.value)) {
        let text = format!("`virtualhost`: a request cannot carry `{}`", host.value.escape_debug());
        reader.error(host.span, text);
    }
    let pattern = options.pattern.resolve(options.span, reader);
    let tls = match tls {
        None => None,
        Some(tls) => {
            let mut tls = from.tls.resolve(tls, virtualhost, address, reader)?;
            tls.close_notify |= get(&options.close_notify).unwrap_or(false);
            Some(tls)
        }
    };
    Some(Url {
        path: path.value.clone(),
        virtualhost: virtualhost.map(|host| host.value.clone()),
        status: if options.status.is_empty() { vec![from.defaults.status] } else { merged(options.status) },
        digest: get(&options.digest),
        pattern,
        tls,
    })
}

/// Says where the path that is asked for is not the one that is written.
fn explain_path(path: &Spanned<String>, reader: &mut Reader<'_>) {
    match http::path_on_the_wire(&path.value) {
        Ok(sent) if sent == path.value => {}
        Ok(sent) => {
            let has_slash = sent.strip_prefix('/').is_some_and(|rest| rest == path.value);
            let why =
                if has_slash { "a path begins with a slash" } else { "a request cannot carry it as it is" };
            let shown: String = sent.chars().take(100).collect();
            let problem = Diagnostic::warning(path.span, format!("`path`: {why}: `{shown}` is asked for"));
            reader.diagnostics.push(problem);
        }
        Err(reason) => reader.error(path.span, reason),
    }
}
