//! The URLs of HTTP_GET and SSL_GET: what is asked, and what the answer must be.

use std::net::IpAddr;

use crate::check::http;
use crate::check::spec::digest::Digest;
use crate::check::spec::http::{Header, HttpMethod, Url};
use crate::check::spec::pattern::Pattern;
use crate::syntax::diagnostic::Diagnostic;
use crate::syntax::keyword::{Reader, Slot, Spanned, Table, get};
use crate::syntax::source::Span;
use crate::syntax::tree::{Node, Word};
use crate::syntax::value::{self, Wrong};

use super::checker::{Inherited, MAX_HOST};
use super::options::options;
use super::regex::PatternOptions;
use super::tls::TlsOptions;

options! {
    /// A `url` block as it was written.
    #[derive(Clone)]
    pub(crate) struct UrlOptions {
        span: Span;
        /// What to ask for, e.g. `/`.
        path: Slot<String> = text("path", "PATH", 2000);
        /// Statuses that count as success.
        status: Vec<(u16, u16)> = words(=> statuses; "status_code", "statuses, e.g. `200` or `200-299 304`", 1, 512).yaml(&["status"]);
        /// Digest the body must have, as `lvsd genhash` prints it.
        digest: Slot<Digest> = word(=> digest_of; "digest", DIGEST);
        /// Host header of this request.
        virtualhost: Slot<String> = text("virtualhost", "HOST", MAX_HOST);
        include pattern: PatternOptions;
        /// Text that must be in the body.
        contains: Slot<String> = text("body_contains", "TEXT", MAX_TEXT).only_yaml();
        include how: HowOptions;
        /// Announce the end of TLS connections, as the standard says.
        close_notify: Slot<bool> = flag("tls_compliant").yaml(&["close_notify"]), default false;
    }
}

options! {
    /// How a URL is asked for, as it was written.
    #[derive(Clone)]
    pub(crate) struct HowOptions {
        /// GET, or HEAD, whose answer has no body.
        method: Slot<HttpMethod> = word(=> method; "method", "get or head").only_yaml(), default HttpMethod::Get;
        /// Further header lines of the request.
        headers: Vec<Header> = words(=> headers; "headers", HEADERS, 1, MAX_HEADERS).only_yaml();
    }
}

/// The longest text that is looked for, in bytes.
pub(crate) const MAX_TEXT: usize = 1000;
/// Most header lines.
const MAX_HEADERS: usize = 32;
const HEADERS: &str = "header lines, e.g. [\"X-Probe: lvsd\"]";

impl HowOptions {
    /// With what it leaves open taken from its check.
    fn or(mut self, outer: &HowOptions) -> HowOptions {
        self.method = self.method.or_else(|| outer.method.clone());
        if self.headers.is_empty() {
            self.headers.extend(outer.headers.iter().cloned());
        }
        self
    }
}

fn method(slot: &mut Slot<HttpMethod>, node: &Node, reader: &mut Reader<'_>) {
    let Some(word) = node.values.first() else { return };
    let method = match word.text.to_ascii_lowercase().as_str() {
        "get" => HttpMethod::Get,
        "head" => HttpMethod::Head,
        _ => return reader.wrong("method", word, "get or head", Wrong::Malformed(None)),
    };
    reader.store(slot, node, method);
}

/// Reads header lines, each as it stands in a request.
fn headers(into: &mut Vec<Header>, node: &Node, reader: &mut Reader<'_>) {
    for word in &node.values {
        let Some((name, value)) = word.split_once(':') else {
            let problem = Diagnostic::error(word.span, "`headers`: this is no header line");
            reader.diagnostics.push(problem.help("write e.g. `headers: [\"X-Probe: lvsd\"]`"));
            continue;
        };
        let (name, value) = (name.trim(), value.trim());
        match http::is_header(name, value) {
            Ok(()) => into.push(Header { name: name.into(), value: value.into() }),
            Err(reason) => reader.error(word.span, format!("`headers`: {reason}")),
        }
    }
}

/// What URLs take from their check where they do not say it.
#[derive(Clone, Copy)]
pub(crate) struct OfCheck<'a> {
    pub(crate) status: &'a [(u16, u16)],
    pub(crate) digest: &'a Slot<Digest>,
    pub(crate) contains: &'a Slot<String>,
    pub(crate) how: &'a HowOptions,
}

impl UrlOptions {
    /// With what it leaves open taken from its check.
    #[must_use]
    pub(crate) fn or(mut self, check: OfCheck<'_>) -> UrlOptions {
        if self.status.is_empty() {
            self.status.extend(check.status);
        }
        self.digest = self.digest.or_else(|| check.digest.clone());
        self.contains = self.contains.or_else(|| check.contains.clone());
        self.how = self.how.or(check.how);
        self
    }
}

/// Keywords of `url`: what to ask for, and what its answer must be.
pub(crate) const URL: Table<UrlOptions> =
    Table::of("url", "url", &[UrlOptions::keywords(), PatternOptions::keywords(), HowOptions::keywords()]);

pub(crate) const DIGEST: &str = "32 hex digits (MD5), or sha256: and 64 hex digits";

/// Reads a `url` block.
pub(crate) fn read(urls: &mut Vec<UrlOptions>, node: &Node, reader: &mut Reader<'_>) {
    let mut url = UrlOptions { span: node.keyword.span, ..UrlOptions::default() };
    let unknown = reader.unknown;
    reader.block(&URL, node.statements(), &mut url);
    if reader.unknown == unknown
        && url.path.is_none()
        && !node.statements().iter().any(|s| &*s.keyword.text == "path")
    {
        let help =
            format!("write e.g. `{}`", reader.example(UrlOptions::keywords::<UrlOptions>(), "path", "/"));
        let problem = Diagnostic::error(url.span, "`url` needs a `path`").help(help);
        reader.diagnostics.push(problem);
    }
    urls.push(url);
}

/// Reads YAML's `url`, which is a block or paths.
pub(crate) fn read_any(urls: &mut Vec<UrlOptions>, node: &Node, reader: &mut Reader<'_>) {
    if node.block.is_some() {
        return read(urls, node, reader);
    }
    for word in &node.values {
        // A block of nothing but its path, so that a path is the same in both forms.
        let keyword = Word { text: "path".into(), ..word.clone() };
        let path = Node { keyword: keyword.clone(), values: vec![word.clone()], block: None };
        read(urls, &Node { keyword, values: Vec::new(), block: Some(vec![path]) }, reader);
    }
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
                .help(reader.by_language(
                    format!("write e.g. `{keyword} 200` or `{keyword} 200-299 304`"),
                    format!("write e.g. `{keyword}: 200` or `{keyword}: [200-299, 304]`"),
                ));
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

/// Reads a digest.
pub(crate) fn digest_of(slot: &mut Slot<Digest>, node: &Node, reader: &mut Reader<'_>) {
    let Some(word) = node.values.first() else { return };
    match word.parse() {
        Ok(digest) => reader.store(slot, node, digest),
        Err(e) => {
            let _: crate::check::spec::digest::NotADigest = e;
            reader.wrong("digest", word, DIGEST, Wrong::Malformed(None));
        }
    }
}

/// What is asked, all options and defaults applied. None after saying what is wrong.
pub(crate) fn resolve(
    options: UrlOptions,
    virtualhost: Option<&Spanned<String>>,
    (tls, address): (Option<&TlsOptions>, IpAddr),
    from: &Inherited<'_>,
    reader: &mut Reader<'_>,
) -> Option<Url> {
    let path = options.path.as_ref()?;
    explain_path(path, reader);
    let virtualhost = options.virtualhost.as_ref().or(virtualhost);
    if let Some(host) = virtualhost.filter(|host| !http::is_host(&host.value)) {
        let text = format!("`virtualhost`: a request cannot carry `{}`", host.value.escape_debug());
        reader.error(host.span, text);
    }
    let mut pattern = options.pattern.resolve(from.dialect, options.span, reader);
    if let Some(text) = &options.contains {
        if pattern.is_some() {
            let problem = Diagnostic::error(text.span, "`body_contains` and `regex` do not go together");
            reader.diagnostics.push(problem.at(options.span, "this url").help("write one of them"));
        }
        pattern = Some(Pattern::literal(&text.value));
    }
    let method = options.how.method(from.dialect);
    if method == HttpMethod::Head && (pattern.is_some() || options.digest.is_some()) {
        let problem =
            Diagnostic::error(options.span, "the answer to HEAD has no body: nothing of it can be compared");
        reader.diagnostics.push(problem.help("write `method: get`, or compare the status only"));
    }
    let tls = match tls {
        None => {
            if let Some(written) = &options.close_notify {
                let text = format!(
                    "`{}` is ignored: HTTP_GET speaks no TLS",
                    reader.spelling(UrlOptions::keywords::<UrlOptions>(), "tls_compliant")
                );
                reader.compat_unheeded(written.span, text, "");
            }
            None
        }
        Some(tls) => {
            let mut tls = from.tls.resolve(tls, virtualhost, address, reader)?;
            tls.close_notify |= options.close_notify(from.dialect);
            Some(tls)
        }
    };
    let mut url = Url::new(&*path.value);
    if !options.status.is_empty() {
        url.status = merged(options.status);
    }
    let virtualhost = virtualhost.map(|host| host.value.clone());
    let headers = options.how.headers.into();
    Some(Url { method, headers, virtualhost, digest: get(&options.digest), pattern, tls, ..url })
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
