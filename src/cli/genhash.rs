//! `lvsd genhash`: the digest of a page, with keepalived's flags and output, for `digest` in a check.

use std::fmt::Write;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::time::Duration;

use clap::ValueEnum;
use hyper::Uri;

use super::{complain, print};
use crate::check::http::fetch::{Page, fetch};
use crate::check::http::{is_host, path_on_the_wire};
use crate::check::outcome::ProbeResult;
use crate::check::spec::digest::Digest;
use crate::check::spec::digest::DigestKind;
use crate::check::spec::http::{HttpQuestion, HttpVersion, Url};
use crate::check::spec::tls::{Tls, TlsSettings};
use crate::check::spec::{Question, Source, Target};
use crate::check::tls::{TlsClients, is_server_name};
use crate::daemon::clock;
use crate::daemon::startup::Exit;
use crate::text;

/// Bytes in a line of a dump.
const LINE: usize = 16;

#[derive(Debug, clap::Args)]
#[command(disable_version_flag = true)]
pub(super) struct GenhashArguments {
    /// The page: `http://HOST[:PORT]/PATH`, `https://...`; instead of --server, --port and --url
    #[arg(value_name = "URL", required_unless_present_all = ["server", "port", "url"])]
    page: Option<String>,
    /// The server: an address or a name
    #[arg(short, long, value_name = "HOST", conflicts_with = "page")]
    server: Option<String>,
    /// Its port
    #[arg(short, long, value_name = "PORT", conflicts_with = "page", value_parser = clap::value_parser!(u16).range(1..))]
    port: Option<u16>,
    /// The path to ask for
    #[arg(short, long, value_name = "PATH", conflicts_with = "page")]
    url: Option<String>,
    /// Over TLS; the certificate is not verified
    #[arg(short = 'S', long)]
    use_ssl: bool,
    /// Send the virtual host's name in the TLS handshake (SNI)
    #[arg(short = 'I', long)]
    use_sni: bool,
    /// Value of the Host header
    #[arg(short = 'V', long, value_name = "HOST")]
    use_virtualhost: Option<String>,
    /// Firewall mark of the connection
    #[arg(short = 'm', long, value_name = "MARK")]
    fwmark: Option<u32>,
    /// Version of HTTP
    #[arg(short = 'P', long, value_enum, default_value = "1.0", ignore_case = true)]
    protocol: Protocol,
    /// Seconds for the connection, and again for the answer
    #[arg(short, long, value_name = "SECONDS", default_value = "30", value_parser = clap::value_parser!(u32).range(1..=86_400))]
    timeout: u32,
    /// Show header, body and digest, in hex and as text
    #[arg(short, long)]
    verbose: bool,
    /// SHA-256 instead of MD5: not for keepalived
    #[arg(long)]
    sha256: bool,
    /// Print what to paste into keepalived.conf and into YAML
    #[arg(long)]
    config: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Protocol {
    #[value(name = "1.0")]
    V1_0,
    #[value(name = "1.0c")]
    V1_0Close,
    #[value(name = "1.1")]
    V1_1,
}

impl Protocol {
    fn version(self) -> HttpVersion {
        match self {
            Protocol::V1_0 => HttpVersion::V1_0,
            Protocol::V1_0Close => HttpVersion::V1_0Close,
            Protocol::V1_1 => HttpVersion::V1_1,
        }
    }
}

/// What is asked for.
#[derive(Debug, PartialEq, Eq)]
struct Asked {
    host: String,
    port: u16,
    path: String,
    is_tls: bool,
    virtualhost: Option<String>,
    server_name: Option<String>,
}

pub(super) fn run(arguments: &GenhashArguments) -> Exit {
    match asked(arguments).and_then(|asked| Ok((question(arguments, &asked)?, asked))) {
        Err(text) => {
            complain(&text);
            Exit::Usage
        }
        Ok(((target, url), asked)) => ask(arguments, &target, &url, &asked),
    }
}

fn ask(arguments: &GenhashArguments, target: &Target, url: &Url, asked: &Asked) -> Exit {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            complain(&format!("cannot start the event loop: {error}"));
            return Exit::Unavailable;
        }
    };
    let kind = if arguments.sha256 { DigestKind::Sha256 } else { DigestKind::Md5 };
    let begun = clock::moment();
    let version = arguments.protocol.version();
    let question = Question::Http(HttpQuestion { version, urls: vec![url.clone()] }.into());
    let clients = TlsClients::default().of(&question);
    let page = match runtime.block_on(fetch(target, version, url, &clients, kind, begun)) {
        Ok(page) => page,
        Err(outcome) => {
            complain(&format!("{}: {}", target.address, outcome.reason));
            return if outcome.result == ProbeResult::Inconclusive {
                Exit::Permission
            } else {
                Exit::Unavailable
            };
        }
    };
    let took = clock::now().since(begun.now);
    if arguments.verbose {
        print(&shown(&page, url, took));
    } else if arguments.config {
        print(&pasted(arguments, asked, &page));
    } else {
        print(&format!("{}\n", page.digest));
    }
    if page.status != 200 {
        complain(&format!(
            "the server answered with status {}: this may be the digest of an error page",
            page.status
        ));
    }
    Exit::Ok
}

fn asked(arguments: &GenhashArguments) -> Result<Asked, String> {
    let virtualhost = arguments.use_virtualhost.clone();
    if let Some(host) = virtualhost.as_ref().filter(|host| !is_host(host)) {
        return Err(format!("--use-virtualhost {host:?} cannot stand in a header"));
    }
    let mut asked = match (&arguments.page, &arguments.server, arguments.port, &arguments.url) {
        (Some(page), ..) => of_page(page)?,
        (None, Some(server), Some(port), Some(path)) => Asked {
            host: server.clone(),
            port,
            path: path.clone(),
            is_tls: false,
            virtualhost: None,
            server_name: None,
        },
        _ => return Err("give a URL, or --server, --port and --url".to_owned()),
    };
    asked.is_tls |= arguments.use_ssl;
    asked.virtualhost = virtualhost.or(asked.virtualhost);
    if arguments.use_sni {
        let name = asked.virtualhost.clone().filter(|host| is_server_name(host));
        asked.server_name = Some(name.ok_or("--use-sni needs a host's name in --use-virtualhost")?);
    }
    Ok(asked)
}

/// The parts of `http://host:port/path`; a name in it is the virtual host's, and sent as SNI.
fn of_page(page: &str) -> Result<Asked, String> {
    let wrong = |what: &str| format!("{page}: {what}: write e.g. http://192.0.2.1:80/index.html");
    let uri: Uri = page.parse().map_err(|_| wrong("no URL"))?;
    let is_tls = match uri.scheme_str() {
        Some("http") => false,
        Some("https") => true,
        _ => return Err(wrong("neither http:// nor https://")),
    };
    let host = uri.host().filter(|host| !host.is_empty()).ok_or_else(|| wrong("no host"))?;
    let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
    let name = host.parse::<IpAddr>().is_err().then(|| host.clone());
    Ok(Asked {
        port: uri.port_u16().unwrap_or(if is_tls { 443 } else { 80 }),
        path: uri.path_and_query().map_or("/", |path| path.as_str()).to_owned(),
        is_tls,
        server_name: name.clone().filter(|host| is_tls && is_server_name(host)),
        virtualhost: name,
        host,
    })
}

/// Whom to ask what.
fn question(arguments: &GenhashArguments, asked: &Asked) -> Result<(Target, Url), String> {
    path_on_the_wire(&asked.path)?;
    let found = (asked.host.as_str(), asked.port).to_socket_addrs();
    let mut found = found.map_err(|error| format!("{}: {error}", asked.host))?;
    let address: SocketAddr = found.next().ok_or_else(|| format!("{} has no address", asked.host))?;
    let settings = TlsSettings { server_name: asked.server_name.clone(), ..TlsSettings::default() };
    let tls = asked.is_tls.then(|| Tls { settings: settings.into(), close_notify: false });
    let target = Target {
        address,
        source: arguments.fwmark.map(|mark| Box::new(Source { fwmark: Some(mark), ..Source::default() })),
        connect_timeout: Duration::from_secs(arguments.timeout.into()),
    };
    let virtualhost = asked.virtualhost.clone();
    let url = Url { virtualhost, status: vec![(100, 599)], tls, ..Url::new(&*asked.path) };
    Ok((target, url))
}

/// What keepalived's `-v` shows.
fn shown(page: &Page, url: &Url, took: Duration) -> String {
    let digest: &[u8] = match &page.digest {
        Digest::Md5(bytes) => bytes,
        Digest::Sha256(bytes) => bytes,
    };
    let mut text = String::new();
    let _ = writeln!(text, "-----------------------[    HTTP Header Buffer    ]-----------------------");
    dump(&mut text, &page.head);
    let _ = writeln!(text, "-----------------------[ HTTP Header Ascii Buffer ]-----------------------");
    // What a server says must not steer a terminal; its lines end as keepalived shows them.
    text.push_str(&text::lines(&String::from_utf8_lossy(&page.head).replace('\r', "")));
    text.push('\n');
    let _ = writeln!(text, "-----------------------[        HTML Buffer        ]-----------------------");
    dump(&mut text, &page.body);
    let _ = writeln!(text, "\n-----------------------[    HTML hash resulting    ]-----------------------");
    dump(&mut text, digest);
    let _ = writeln!(text, "-----------------------[ HTML hash final resulting ]-----------------------");
    let _ = writeln!(text, "{}\n", page.digest);
    let _ = writeln!(text, "Global response time for [{}] = {} usecs", url.path, took.as_micros());
    text
}

/// `0000  48 54 54 50 2f 31 2e 30 - 20 32 30 30 20 4f 4b 0d   HTTP/1.0 200 OK.`
fn dump(text: &mut String, bytes: &[u8]) {
    for (at, line) in bytes.chunks(LINE).enumerate() {
        let _ = write!(text, "{:04}  ", at * LINE);
        for column in 0..LINE {
            if column == LINE / 2 {
                text.push_str("- ");
            }
            match line.get(column) {
                Some(byte) => drop(write!(text, "{byte:02x} ")),
                None => text.push_str("   "),
            }
        }
        text.push_str("  ");
        let visible =
            |byte: &u8| if byte.is_ascii_graphic() || *byte == b' ' { char::from(*byte) } else { '.' };
        text.extend(line.iter().map(visible));
        text.push_str(&" ".repeat(LINE - line.len()));
        text.push('\n');
    }
}

/// The lines to paste.
fn pasted(arguments: &GenhashArguments, asked: &Asked, page: &Page) -> String {
    let Asked { path, is_tls, virtualhost, server_name, .. } = asked;
    let (block, kind) = if *is_tls { ("SSL_GET", "https") } else { ("HTTP_GET", "http") };
    let mut conf = format!("{block} {{\n    url {{\n        path {}\n", quoted(path));
    let mut yaml = format!("check:\n  type: {kind}\n");
    let status = page.status;
    if let Some(host) = virtualhost {
        let _ = writeln!(conf, "        virtualhost {}", quoted(host));
        let _ = writeln!(yaml, "  virtualhost: {}", quoted(host));
    }
    let _ = writeln!(conf, "        status_code {status}");
    let _ = writeln!(conf, "        digest {}\n    }}", page.digest);
    if let Some(version) = match arguments.protocol {
        Protocol::V1_0 => None,
        Protocol::V1_0Close => Some("1.0C"),
        Protocol::V1_1 => Some("1.1"),
    } {
        let _ = writeln!(conf, "    http_protocol {version}");
        let _ = writeln!(yaml, "  http_protocol: \"{version}\"");
    }
    if server_name.is_some() {
        let _ = writeln!(conf, "    enable_sni");
        let _ = writeln!(yaml, "  enable_sni: true");
    }
    conf.push_str("}\n");
    let _ = writeln!(yaml, "  url: {}\n  status: {status}\n  digest: \"{}\"", quoted(path), page.digest);
    format!("# keepalived.conf\n{conf}\n# YAML\n{yaml}")
}

/// In quotes where it would be more than a word.
fn quoted(text: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-~".contains(c);
    if text.chars().all(is_plain) { text.to_owned() } else { format!("\"{text}\"") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_says_what_four_flags_say() {
        let asked = of_page("https://www.example.org:8443/a?b=c").unwrap();
        assert_eq!(
            (asked.host.as_str(), asked.port, asked.path.as_str()),
            ("www.example.org", 8443, "/a?b=c")
        );
        assert_eq!(asked.server_name.as_deref(), Some("www.example.org"));
        let asked = of_page("http://[2001:db8::1]/").unwrap();
        assert_eq!((asked.host.as_str(), asked.port, asked.virtualhost), ("2001:db8::1", 80, None));
        for wrong in ["www.example.org/", "ftp://x/", "http:///path", ""] {
            assert!(of_page(wrong).unwrap_err().contains("write e.g."), "{wrong}");
        }
    }

    #[test]
    fn a_dump_has_sixteen_bytes_a_line() {
        let mut text = String::new();
        dump(&mut text, b"HTTP/1.0 200 OK\r\nX");
        assert_eq!(
            text,
            "0000  48 54 54 50 2f 31 2e 30 - 20 32 30 30 20 4f 4b 0d   HTTP/1.0 200 OK.\n\
             0016  0a 58                   -                           .X              \n"
        );
    }
}
