//! The request of HTTP_GET and SSL_GET: keepalived's, byte for byte.

use std::fmt::Write as _;
use std::net::SocketAddr;

use bytes::Bytes;
use http_body_util::Empty;
use hyper::http::uri::PathAndQuery;
use hyper::{Method, Request, Uri, Version, header};

use crate::check::spec::http::{Header, HttpMethod, HttpVersion, Url};

/// The user agent that keepalived names.
const USER_AGENT: &str = "KeepAliveClient";

/// The request, its header lines in keepalived's order.
pub(super) fn request(
    address: SocketAddr,
    version: HttpVersion,
    url: &Url,
) -> Result<Request<Empty<Bytes>>, String> {
    let host = match &url.virtualhost {
        Some(host) => header::HeaderValue::from_bytes(host.as_bytes())
            .map_err(|_| format!("virtualhost \"{}\" cannot stand in a header", host.escape_debug()))?,
        None => header::HeaderValue::try_from(host_of(address)).map_err(|e| e.to_string())?,
    };
    let mut request = Request::new(Empty::new());
    *request.method_mut() = match url.method {
        HttpMethod::Get => Method::GET,
        HttpMethod::Head => Method::HEAD,
    };
    *request.uri_mut() = request_target(&url.path)?;
    *request.version_mut() = match version {
        HttpVersion::V1_0 | HttpVersion::V1_0Close => Version::HTTP_10,
        HttpVersion::V1_1 => Version::HTTP_11,
    };
    let headers = request.headers_mut();
    headers.insert(header::USER_AGENT, header::HeaderValue::from_static(USER_AGENT));
    if version != HttpVersion::V1_0 {
        headers.insert(header::CONNECTION, header::HeaderValue::from_static("close"));
    }
    headers.insert(header::HOST, host);
    for Header { name, value } in &url.headers {
        let (name, value) = header_line(name, value)?;
        if name == header::USER_AGENT {
            headers.insert(name, value);
        } else {
            headers.append(name, value);
        }
    }
    Ok(request)
}

/// Header lines that decide how the conversation goes, or that have words of their own.
const OURS: [header::HeaderName; 8] = [
    header::HOST,
    header::CONNECTION,
    header::CONTENT_LENGTH,
    header::TRANSFER_ENCODING,
    header::TE,
    header::TRAILER,
    header::UPGRADE,
    header::EXPECT,
];

/// Whether a request can carry this header line.
///
/// # Errors
/// Why not, in the operator's words.
pub(crate) fn is_header(name: &str, value: &str) -> Result<(), String> {
    header_line(name, value).map(|_| ())
}

fn header_line(name: &str, value: &str) -> Result<(header::HeaderName, header::HeaderValue), String> {
    let shown = name.escape_debug();
    let parsed = header::HeaderName::from_bytes(name.as_bytes())
        .map_err(|_| format!("`{shown}` cannot be the name of a header"))?;
    if parsed == header::HOST {
        return Err("`Host` is written by `virtualhost`".to_owned());
    }
    if OURS.contains(&parsed) {
        return Err(format!("`{shown}` is lvsd's to say"));
    }
    let value = header::HeaderValue::from_bytes(value.as_bytes())
        .map_err(|_| format!("the value of `{shown}` cannot stand in a header"))?;
    Ok((parsed, value))
}

/// `192.0.2.1:80`, `[2001:db8::1]:80`; an interface's scope is of no interest to the server.
fn host_of(address: SocketAddr) -> String {
    SocketAddr::new(address.ip(), address.port()).to_string()
}

/// Whether a Host header can carry this.
pub(crate) fn is_host(host: &str) -> bool {
    header::HeaderValue::from_bytes(host.as_bytes()).is_ok()
}

/// The path that is asked for when this one is configured: see [`Url::path`].
///
/// # Errors
/// When it can be no path, in the operator's words.
pub(crate) fn path_on_the_wire(path: &str) -> Result<String, String> {
    request_target(path).map(|target| target.to_string())
}

/// The request target: `path` as written, with what a request line cannot carry percent-encoded. One that is
/// neither a path nor absolute gets the slash it lacks.
fn request_target(path: &str) -> Result<Uri, String> {
    let mut encoded = String::with_capacity(path.len() + 1);
    if !path.starts_with('/') && path != "*" && !is_absolute(path) {
        encoded.push('/');
    }
    for &byte in path.as_bytes() {
        match byte {
            0..=b' ' | b'"' | b'#' | b'<' | b'>' | b'`' | 0x7f.. => {
                let _ = write!(encoded, "%{byte:02X}");
            }
            _ => encoded.push(char::from(byte)),
        }
    }
    let refused = |e: &dyn std::fmt::Display| format!("path \"{}\": {e}", shortened(path));
    if is_absolute(path) {
        Uri::try_from(encoded).map_err(|e| refused(&e))
    } else {
        PathAndQuery::try_from(encoded).map(Uri::from).map_err(|e| refused(&e))
    }
}

fn is_absolute(path: &str) -> bool {
    path.starts_with("http://") || path.starts_with("https://")
}

/// A path short enough to stand before a reason.
pub(super) fn shortened(path: &str) -> String {
    const LIMIT: usize = 40;
    match path.char_indices().nth(LIMIT) {
        Some((end, _)) => format!("{}...", path.get(..end).unwrap_or_default()),
        None => path.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{converse_with, url};
    use super::*;
    use crate::check::outcome::ProbeResult;
    use crate::check::scripted::{Step, say};

    #[tokio::test(start_paused = true)]
    async fn the_request_is_keepaliveds_byte_for_byte() {
        let v4 = "192.0.2.1:8080".parse().unwrap();
        let v6 = "[fe80::1%3]:80".parse().unwrap();
        for (address, version, virtualhost, wanted) in [
            (
                v4,
                HttpVersion::V1_0,
                None,
                "GET /h HTTP/1.0\r\nUser-Agent: KeepAliveClient\r\nHost: 192.0.2.1:8080\r\n\r\n",
            ),
            (
                v6,
                HttpVersion::V1_0,
                None,
                "GET /h HTTP/1.0\r\nUser-Agent: KeepAliveClient\r\nHost: [fe80::1]:80\r\n\r\n",
            ),
            (
                v4,
                HttpVersion::V1_0Close,
                Some("Www.Example.com"),
                "GET /h HTTP/1.0\r\nUser-Agent: KeepAliveClient\r\nConnection: close\r\nHost: Www.Example.com\r\n\r\n",
            ),
            (
                v4,
                HttpVersion::V1_1,
                Some("a b:1,é"),
                "GET /h HTTP/1.1\r\nUser-Agent: KeepAliveClient\r\nConnection: close\r\nHost: a b:1,é\r\n\r\n",
            ),
        ] {
            let url = Url { virtualhost: virtualhost.map(str::to_owned), ..url("/h") };
            let request = request(address, version, &url).unwrap();
            let (outcome, heard) =
                converse_with(request, &url, &[Step::Request, say("HTTP/1.0 200 OK\r\n\r\n")]).await;
            assert_eq!((outcome.result, heard.as_str()), (ProbeResult::Pass, wanted));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_head_and_more_headers_are_sent_where_they_are_wanted() {
        let header = |name: &str, value: &str| Header { name: name.into(), value: value.into() };
        let headers = [header("X-Probe", "a: b"), header("user-agent", "curl"), header("x-probe", "c")];
        let url = Url { method: HttpMethod::Head, headers: headers.into(), ..url("/h") };
        let request = request("192.0.2.1:8080".parse().unwrap(), HttpVersion::V1_1, &url).unwrap();
        let answer = say("HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n");
        let (outcome, heard) = converse_with(request, &url, &[Step::Request, answer]).await;
        assert_eq!(
            (outcome.result, &*outcome.reason),
            (ProbeResult::Pass, "status 200"),
            "no body is waited for"
        );
        assert_eq!(
            heard,
            "HEAD /h HTTP/1.1\r\nUser-Agent: curl\r\nConnection: close\r\nHost: 192.0.2.1:8080\r\nX-Probe: a: b\r\nX-Probe: c\r\n\r\n"
        );
    }

    #[test]
    fn a_header_that_would_change_the_conversation_is_refused() {
        assert_eq!(is_header("Authorization", "Bearer x"), Ok(()));
        for (name, value, reason) in [
            ("host", "a", "`Host` is written by `virtualhost`"),
            ("Content-Length", "5", "`Content-Length` is lvsd's to say"),
            ("transfer-encoding", "chunked", "`transfer-encoding` is lvsd's to say"),
            ("X Y", "5", "`X Y` cannot be the name of a header"),
            ("", "5", "`` cannot be the name of a header"),
            ("X", "a\r\nHost: b", "the value of `X` cannot stand in a header"),
        ] {
            assert_eq!(is_header(name, value), Err(reason.to_owned()));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_path_is_sent_as_written_but_for_what_a_request_line_cannot_carry() {
        for (path, wanted) in [
            ("/", "/"),
            ("/raw%2fpath/../a//b;c", "/raw%2fpath/../a//b;c"),
            ("/a?x=%20y&z=1|2{}'?^[]", "/a?x=%20y&z=1|2{}'?^[]"),
            ("/100%", "/100%"),
            ("/a?", "/a?"),
            ("*", "*"),
            ("http://Example.com:81/x", "http://Example.com:81/x"),
            ("/a b\t\"c\"#d<e>`é\x7f", "/a%20b%09%22c%22%23d%3Ce%3E%60%C3%A9%7F"),
            ("/?a b\"", "/?a%20b%22"),
            ("health", "/health"),
            ("a/b:c", "/a/b:c"),
            ("?a=1", "/?a=1"),
            ("", "/"),
        ] {
            let url = url(path);
            let request = request("192.0.2.1:80".parse().unwrap(), HttpVersion::V1_0, &url).unwrap();
            let (_, heard) = converse_with(request, &url, &[Step::Request]).await;
            assert_eq!(
                heard.lines().next(),
                Some(format!("GET {wanted} HTTP/1.0").as_str()),
                "path {path:?}"
            );
        }
    }

    #[test]
    fn every_character_can_stand_in_a_path_and_in_a_query() {
        for c in (0..=0x2ff).filter_map(char::from_u32) {
            for path in [format!("/{c}"), format!("/?{c}"), format!("{c}")] {
                let target = request_target(&path).unwrap_or_else(|e| panic!("{path:?}: {e}")).to_string();
                assert!(target.bytes().all(|b| b.is_ascii_graphic()), "{path:?} became {target:?}");
            }
        }
    }

    #[test]
    fn what_no_request_can_carry_is_said_before_anything_is_sent() {
        let host = Url { virtualhost: Some("a\r\nX: b".to_owned()), ..url("/") };
        let address = "192.0.2.1:80".parse().unwrap();
        assert_eq!(
            request(address, HttpVersion::V1_0, &host).unwrap_err(),
            "virtualhost \"a\\r\\nX: b\" cannot stand in a header"
        );
        let long = request(address, HttpVersion::V1_0, &url(&"/x".repeat(40_000))).unwrap_err();
        assert!(long.starts_with("path \"/x/x"), "{long}");
    }
}
