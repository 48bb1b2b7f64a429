//! SSL_GET against servers that speak TLS, in this process, over pipes and sockets.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose as Purpose, IsCa, Issuer, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, SupportedProtocolVersion, version};
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

use super::*;
use crate::check::http;
use crate::check::outcome::ProbeResult;
use crate::check::scripted::{Step, play, say, serve, target};
use crate::check::spec::http::{HttpQuestion, HttpVersion, Url};
use crate::check::spec::tls::{Authorities, Identity, Tls};
use crate::check::spec::{Question, Target};
use crate::time::Instant;

const BOTH: &[&SupportedProtocolVersion] = &[&version::TLS12, &version::TLS13];
/// The wall clock of these tests: some time in 2026.
const WALL: Duration = Duration::from_secs(1_790_000_000);
/// When the probes of these tests begin, but for those that let time pass; the machine was just booted.
const BEGUN: Moment = Moment { now: Instant::ZERO, wall: WALL };
const OK: &str = "HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\nok\n";

#[tokio::test]
async fn a_server_of_either_version_passes_unverified_whatever_its_certificate_says() {
    for versions in [&[&version::TLS12][..], &[&version::TLS13]] {
        let expired = Authority::new("none of ours").issue(&["other.example"], -1);
        let server = TlsServer::start(expired.server(versions), 1).await;
        let outcome = server.ask(&anyone(None)).await;
        assert_eq!((outcome.result, &*outcome.reason), (ProbeResult::Pass, "status 200"));
        assert_eq!(outcome.certificate.unwrap().time(), CertificateTime::Over);
        assert_eq!(server.heard().await, [Heard::full(None)]);
    }
}

#[tokio::test]
async fn the_second_handshake_resumes_the_session_of_the_first_in_both_versions() {
    for versions in [&[&version::TLS12][..], &[&version::TLS13]] {
        let server = TlsServer::start(simple().server(versions), 4).await;
        let tls = anyone(Some("www.example"));
        for _ in 0..4 {
            assert_eq!(server.ask(&tls).await.result, ProbeResult::Pass);
        }
        let resumed: Vec<bool> = server.heard().await.iter().map(|h| h.is_resumed).collect();
        assert_eq!(resumed, [false, true, true, true]);
    }
}

#[tokio::test]
async fn after_an_hour_a_server_proves_itself_anew_however_long_the_machine_runs() {
    for uptime in [0, 40 * 86_400] {
        let mut server = TlsServer::start(simple().server(BOTH), 3).await;
        server.begun.now = Instant::ZERO + Duration::from_secs(uptime);
        let tls = anyone(None);
        for passed in [0, 3599, 1] {
            server.begun.now = server.begun.now + Duration::from_secs(passed);
            assert_eq!(server.ask(&tls).await.result, ProbeResult::Pass);
        }
        let resumed: Vec<bool> = server.heard().await.iter().map(|h| h.is_resumed).collect();
        assert_eq!(resumed, [false, true, false], "booted {uptime} s before");
    }
}

#[tokio::test]
async fn verified_sessions_are_resumed_too_and_the_certificate_is_still_known() {
    let authority = Authority::new("ours");
    let server = TlsServer::start(authority.issue(&["www.example"], 90).server(BOTH), 2).await;
    let tls = verified(&authority.pem(), "www.example");
    let first = server.ask(&tls).await;
    let second = server.ask(&tls).await;
    assert_eq!((first.result, second.result), (ProbeResult::Pass, ProbeResult::Pass), "{}", first.reason);
    for outcome in [first, second] {
        let certificate = outcome.certificate.unwrap();
        let days = certificate.expires_in.as_secs() / 86_400;
        assert!((89..=90).contains(&days), "{days} days");
        assert_eq!((WALL + certificate.expires_in).as_secs(), certificate.not_after);
    }
    assert!(server.heard().await[1].is_resumed);
}

#[tokio::test]
async fn real_servers_that_share_a_name_keep_sessions_of_their_own() {
    let tls = anyone(Some("www.example"));
    let one = TlsServer::start(simple().server(BOTH), 3).await;
    let other = TlsServer::start(simple().server(BOTH), 3).await;
    for _ in 0..3 {
        one.ask(&tls).await;
        other.ask(&tls).await;
    }
    for server in [one, other] {
        let resumed: Vec<bool> = server.heard().await.iter().map(|h| h.is_resumed).collect();
        assert_eq!(resumed, [false, true, true]);
    }
}

#[tokio::test]
async fn after_a_failure_the_next_handshake_is_a_full_one() {
    let mut server = TlsServer::start_with(simple().server(BOTH), 4, "HTTP/1.0 500 Oh\r\n\r\n").await;
    let tls = anyone(None);
    for _ in 0..4 {
        assert_eq!(server.ask(&tls).await.reason, "status 500, wanted 200-299");
    }
    assert!(server.take_heard().await.iter().all(|h| !h.is_resumed));
}

#[test]
fn settings_that_are_equal_share_a_client_and_others_do_not() {
    let ours = Authority::new("ours").pem();
    let authorities = || Authorities::from_pem(ours.as_bytes()).unwrap();
    let named = |name: &str| TlsSettings { server_name: Some(name.to_owned()), ..TlsSettings::default() };
    let verified =
        |name: &str| TlsSettings { verify: Some((authorities(), name.to_owned())), ..named("a.example") };
    let all = [TlsSettings::default(), named("a.example"), verified("a.example"), verified("b.example")];
    let mut clients = TlsClients::default();
    let made = all.clone().map(|settings| clients.client(&Arc::new(settings)).unwrap());
    // Another reading of the same files makes the same settings, so that a reload keeps the sessions.
    let again = all.map(|settings| clients.client(&Arc::new(settings)).unwrap());
    for (one, client) in made.iter().enumerate() {
        for (other, same) in again.iter().enumerate() {
            assert_eq!(Arc::ptr_eq(client, same), one == other, "{:?} {:?}", client.settings, same.settings);
        }
    }
}

#[test]
fn a_specification_is_written_down_without_its_keys() {
    let us = simple();
    let identity = Identity::from_pem(us.certificate_pem.as_bytes(), us.key_pem.as_bytes()).unwrap();
    let settings = TlsSettings {
        server_name: Some("a.example".to_owned()),
        verify: None,
        identity: Some(identity.clone()),
    };
    let json = serde_json::to_value(Tls { settings: settings.into(), close_notify: false }).unwrap();
    let fingerprint = serde_json::to_value(identity.fingerprint()).unwrap();
    assert_eq!(json["client"]["identity"], fingerprint);
    assert_eq!(format!("{identity:?}").len(), 64);
}

#[tokio::test]
async fn clients_that_no_specification_needs_any_more_are_released_and_others_keep_their_sessions() {
    let server = TlsServer::start(simple().server(BOTH), 2).await;
    let question = |check: Check| Question::Http(check.question.into());
    let kept = question(anyone(Some("www.example")));
    let removed = question(verified(&Authority::new("ours").pem(), "www.example"));
    let mut clients = TlsClients::default();
    let ask = async |clients: RunClients| {
        let Question::Http(question) = &kept else { panic!() };
        http::run(&target(server.address), question, &clients, BEGUN).await
    };
    assert_eq!(ask(clients.of(&kept)).await.result, ProbeResult::Pass);
    let _ = clients.of(&removed);
    assert_eq!(clients.counts(), (2, 1));
    // Equal to what was asked before, but read anew.
    let read_again = question(anyone(Some("www.example")));
    clients.keep([&read_again, &Question::Tcp].into_iter());
    assert_eq!(clients.counts(), (1, 0));
    assert_eq!(ask(clients.of(&kept)).await.result, ProbeResult::Pass);
    let resumed: Vec<bool> = server.heard().await.iter().map(|h| h.is_resumed).collect();
    assert_eq!(resumed, [false, true]);
    clients.keep([&Question::Tcp].into_iter());
    assert_eq!(clients.counts(), (0, 0));
}

#[tokio::test]
async fn the_server_name_is_sent_exactly_when_one_is_given() {
    for name in [None, Some("www.example"), Some("under_score.example")] {
        let server = TlsServer::start(simple().server(BOTH), 1).await;
        server.ask(&anyone(name)).await;
        assert_eq!(server.heard().await[0].server_name.as_deref(), name);
    }
    for name in ["192.0.2.1", "::1", "a b", ""] {
        let settings = TlsSettings { server_name: Some(name.to_owned()), ..TlsSettings::default() };
        assert!(super::verify(&settings).is_err(), "{name}");
    }
}

#[tokio::test]
async fn a_verified_server_needs_the_right_name_authority_and_time() {
    let ours = Authority::new("ours");
    let theirs = Authority::new("theirs");
    for (identity, name, want) in [
        (ours.issue(&["www.example"], 90), "www.example", Ok(())),
        (ours.issue(&["*.web.example"], 90), "www.web.example", Ok(())),
        (ours.issue(&["127.0.0.1"], 90), "127.0.0.1", Ok(())),
        (
            ours.issue(&["www.example", "b.example"], 90),
            "other.example",
            Err("certificate is for www.example, b.example, not for other.example"),
        ),
        (
            ours.issue(&["www.example"], 90),
            "127.0.0.1",
            Err("certificate is for www.example, not for 127.0.0.1"),
        ),
        (theirs.issue(&["www.example"], 90), "www.example", Err("certificate is of no trusted authority")),
        (ours.issue(&["www.example"], -1), "www.example", Err("certificate has expired")),
        (ours.issue_from(&["www.example"], 5, 90), "www.example", Err("certificate is not valid yet")),
        (
            ours.issue(&["www.example", "\u{1b}[2J"], 90),
            "b.example",
            Err("certificate is for www.example, \\u001b[2J, not for b.example"),
        ),
    ] {
        let server = TlsServer::start(identity.server(BOTH), 1).await;
        let outcome = server.ask(&verified(&ours.pem(), name)).await;
        match want {
            Ok(()) => assert_eq!(outcome.result, ProbeResult::Pass, "{}", outcome.reason),
            Err(reason) => {
                assert_eq!((outcome.result, outcome.phase), (ProbeResult::Fail, Phase::Handshake));
                assert_eq!(outcome.reason, reason);
            }
        }
    }
}

#[tokio::test]
async fn a_certificate_that_ends_while_its_session_is_resumed_is_noticed() {
    let authority = Authority::new("ours");
    let mut server = TlsServer::start(authority.issue_until(&["www.example"], 3600).server(BOTH), 3).await;
    let tls = verified(&authority.pem(), "www.example");
    assert_eq!(server.ask(&tls).await.result, ProbeResult::Pass);
    // The wall clock was set; of the session's own hour nothing has passed.
    server.begun.wall += Duration::from_secs(3601);
    let resumed = server.ask(&tls).await;
    assert_eq!((resumed.result, &*resumed.reason), (ProbeResult::Fail, "certificate has expired"));
    assert_eq!(resumed.certificate.unwrap().time(), CertificateTime::Over);
    // The next one is a full handshake, which this certificate does not survive: a renewed one would be seen.
    assert_eq!(server.ask(&tls).await.reason, "certificate has expired");
    let resumed: Vec<bool> = server.heard().await.iter().map(|h| h.is_resumed).collect();
    assert_eq!(resumed, [false, true]);
}

#[tokio::test]
async fn a_self_signed_certificate_may_be_its_own_authority() {
    for is_authority in [true, false] {
        let clients = "certificate is for other purposes than a server's (extended key usage)";
        for (from, to, purposes, name, want) in [
            (-10, 90, &[][..], "www.example", "status 200"),
            (-10, 90, &[Purpose::ClientAuth, Purpose::ServerAuth], "www.example", "status 200"),
            (-10, 90, &[Purpose::ClientAuth], "www.example", clients),
            (-10, 90, &[], "other.example", "certificate is for www.example, not for other.example"),
            (-10, -1, &[], "www.example", "certificate has expired"),
            (5, 90, &[], "www.example", "certificate is not valid yet"),
        ] {
            let mut params = params(&["www.example"], from, to);
            params.extended_key_usages = purposes.to_vec();
            let identity = Identified::self_signed_as(params, is_authority);
            let server = TlsServer::start(identity.server(BOTH), 1).await;
            let outcome = server.ask(&verified(&identity.certificate_pem, name)).await;
            assert_eq!(outcome.reason, want, "is_authority {is_authority}");
        }
    }
}

#[tokio::test]
async fn a_client_certificate_is_shown_to_a_server_that_wants_one() {
    let ours = Authority::new("ours");
    let us = ours.issue(&["lvsd.example"], 90);
    let stranger = Authority::new("theirs").issue(&["lvsd.example"], 90);
    for versions in [&[&version::TLS12][..], &[&version::TLS13]] {
        for (identity, want) in [
            (Some(&us), Ok(())),
            (None, Err("wants a client certificate: write `certificate` and `key` into the block `SSL`")),
            (Some(&stranger), Err("refuses our client certificate (TLS alert ")),
        ] {
            let server =
                TlsServer::start(ours.issue(&["www.example"], 90).server_for(&ours, versions), 1).await;
            let identity = identity
                .map(|i| Identity::from_pem(i.certificate_pem.as_bytes(), i.key_pem.as_bytes()).unwrap());
            let outcome = server.ask(&with(TlsSettings { identity, ..TlsSettings::default() })).await;
            match want {
                Ok(()) => assert_eq!(outcome.result, ProbeResult::Pass, "{}", outcome.reason),
                Err(reason) => {
                    assert_eq!(outcome.result, ProbeResult::Fail);
                    // A server may close before its alert was read; over loopback it is there.
                    assert!(outcome.reason.starts_with(reason), "{}", outcome.reason);
                }
            }
        }
    }
}

#[tokio::test]
async fn a_server_that_speaks_nothing_we_do_is_described_and_not_called_dead() {
    let spoken = "lvsd speaks TLS 1.2 (with ECDHE) and 1.3";
    let hello = |version: [u8; 2]| {
        let body = [&[2, 0, 0, 38][..], &version, &[7; 32], &[0, 0, 0x2f, 0]].concat();
        [&[22, version[0], version[1], 0, u8::try_from(body.len()).unwrap()][..], &body].concat()
    };
    let alert = |description: u8| vec![21, 3, 1, 0, 2, 2, description];
    for (answer, reason) in [
        (hello([3, 0]), format!("offers only SSL 3.0 and older: {spoken}")),
        (hello([3, 1]), format!("offers only TLS 1.0 and older: {spoken}")),
        (hello([3, 2]), format!("offers only TLS 1.1 and older: {spoken}")),
        // TLS 1.2 with a cipher that the client did not offer: RSA key exchange.
        (hello([3, 3]), format!("insists on a cipher that lvsd does not speak: {spoken}")),
        (alert(70), format!("offers only protocol versions that are too old: {spoken}")),
        (
            alert(40),
            format!(
                "offers only protocol versions or ciphers that lvsd does not speak, or it wants a server name (enable_sni): {spoken}"
            ),
        ),
        (alert(112), "wants a server name: write `enable_sni`, or `sni_name NAME`".to_owned()),
        (alert(80), "refuses (TLS alert InternalError)".to_owned()),
        (
            b"HTTP/1.1 400 Bad Request\r\nServer: nginx/1.22.1 and more\r\n\r\n".to_vec(),
            "not a TLS answer: \"HTTP/1.1 400 Bad Request\\r\\nServer: nginx/\"".to_owned(),
        ),
        (
            b"220 mail.example ESMTP\r\n".to_vec(),
            "not a TLS answer: \"220 mail.example ESMTP\\r\\n\"".to_owned(),
        ),
        (
            Vec::new(),
            format!(
                "closed the connection when asked for TLS: it speaks none, or too old a version ({spoken})"
            ),
        ),
        (hello([3, 3])[..12].to_vec(), "closed the connection during the TLS handshake".to_owned()),
    ] {
        // The ClientHello is read first: what stays unread would be a reset.
        let script = vec![Step::Wait(Duration::from_millis(20)), Step::Some, say(answer.clone())];
        let (address, _server) = serve(vec![script]).await;
        let outcome = anyone(None).ask(&target(address), BEGUN).await;
        assert_eq!(
            (outcome.result, outcome.phase),
            (ProbeResult::Fail, Phase::Handshake),
            "{}",
            outcome.reason
        );
        assert_eq!(outcome.reason, reason);
        assert_eq!(outcome.first_bytes.is_some(), !answer.is_empty());
    }
}

#[tokio::test]
async fn a_server_that_resets_or_keeps_silent_in_the_handshake_says_so() {
    let (address, _server) = serve(vec![vec![Step::Some, Step::Reset]]).await;
    let outcome = anyone(None).ask(&target(address), BEGUN).await;
    assert_eq!(
        (outcome.phase, &*outcome.reason),
        (Phase::Handshake, "connection reset during the TLS handshake")
    );
    assert_eq!(outcome.errno, Some(libc::ECONNRESET));

    for (said, reason) in [
        (&[][..], "no answer to the TLS handshake within 0.2 s"),
        (&[22, 3, 3, 0, 100, 2], "TLS handshake not complete within 0.2 s"),
    ] {
        let (address, _server) = serve(vec![vec![say(said), Step::Hold]]).await;
        let target = Target { connect_timeout: Duration::from_millis(200), ..target(address) };
        let outcome = anyone(None).ask(&target, BEGUN).await;
        assert_eq!((outcome.phase, &*outcome.reason), (Phase::Handshake, reason));
    }
}

#[tokio::test(start_paused = true)]
async fn the_handshake_counts_towards_the_time_of_the_whole_conversation() {
    let config = simple().server(BOTH);
    let (address, server) = slow(config, Duration::from_secs(2), Duration::from_secs(2)).await;
    let target = Target { connect_timeout: Duration::from_secs(3), ..target(address) };
    let outcome = anyone(None).ask(&target, BEGUN).await;
    assert_eq!((outcome.phase, &*outcome.reason), (Phase::Head, "no answer within 3 s"));
    server.abort();
}

#[tokio::test]
async fn an_answer_may_end_without_being_announced_and_its_length_still_counts() {
    for (answer, reason) in [
        (OK, "status 200"),
        ("HTTP/1.0 200 OK\r\n\r\nuntil the end", "status 200"),
        (
            "HTTP/1.0 200 OK\r\nContent-Length: 9\r\n\r\nok\n",
            "closed the connection after 3 of 9 bytes of the body",
        ),
        ("", "closed the connection before answering"),
    ] {
        let server = TlsServer::start_with(simple().server(BOTH), 1, answer).await;
        assert_eq!(server.ask(&anyone(None)).await.reason, reason);
    }
}

#[tokio::test]
async fn the_end_is_announced_exactly_when_it_is_asked_for() {
    for close_notify in [false, true] {
        let server = TlsServer::start(simple().server(BOTH), 1).await;
        let check = Check::of(Tls { settings: Arc::default(), close_notify });
        assert_eq!(server.ask(&check).await.result, ProbeResult::Pass);
        assert_eq!(server.heard().await[0].is_end_announced, close_notify);
    }
}

#[test]
fn files_that_cannot_be_used_are_described() {
    let good = simple();
    let (certificate, key) = (good.certificate_pem.as_str(), good.key_pem.as_str());
    let other = simple();
    let encrypted = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMAA=\n-----END ENCRYPTED PRIVATE KEY-----\n";
    let old = "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,00\n\nMAA=\n-----END RSA PRIVATE KEY-----\n";
    let says = |certificate: &str, key: &str| {
        Identity::from_pem(certificate.as_bytes(), key.as_bytes()).map(|_| ()).unwrap_err()
    };
    assert!(Identity::from_pem(certificate.as_bytes(), key.as_bytes()).is_ok());
    // One file may hold both.
    let both = format!("{key}{certificate}");
    assert!(Identity::from_pem(both.as_bytes(), both.as_bytes()).is_ok());
    for (got, want) in [
        (says("", key), NotAnIdentity::Certificate("there is no certificate in it (PEM)".into())),
        (says(key, key), NotAnIdentity::Certificate("there is no certificate in it (PEM)".into())),
        (
            says(certificate.trim_end().trim_end_matches('-'), key),
            NotAnIdentity::Certificate("a PEM section in it does not end".into()),
        ),
        (
            says("-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n", key),
            NotAnIdentity::Certificate("its first certificate cannot be read".into()),
        ),
        (says(certificate, ""), NotAnIdentity::Key("there is no private key in it (PEM)".into())),
        (
            says(certificate, &other.key_pem),
            NotAnIdentity::Key("this key does not belong to the certificate".into()),
        ),
    ] {
        assert_eq!(got, want);
    }
    for key in [encrypted, old] {
        let NotAnIdentity::Key(said) = says(certificate, key) else { panic!() };
        assert!(said.starts_with("the key is encrypted, and lvsd reads no encrypted keys: "), "{said}");
    }
    for text in ["", "nonsense", key] {
        let said = Authorities::from_pem(text.as_bytes()).map(|_| ()).unwrap_err();
        assert_eq!(said, "there is no certificate in it (PEM)");
    }
}

/// What a check costs in CPU, of both sides together; run by hand, in release:
/// `cargo test --release --lib tls::tests::cost -- --ignored --nocapture`.
#[tokio::test]
#[ignore = "a measurement"]
async fn cost_of_a_check_with_and_without_resumption() {
    const CHECKS: u32 = 2000;
    for (what, is_resumed, is_verified) in [
        ("full", false, false),
        ("resumed", true, false),
        ("full, verified", false, true),
        ("resumed, verified", true, true),
    ] {
        let authority = Authority::new("ours");
        let server =
            TlsServer::start(authority.issue(&["www.example"], 90).server(BOTH), CHECKS as usize + 1).await;
        let tls = if is_verified { verified(&authority.pem(), "www.example") } else { anyone(None) };
        server.ask(&tls).await;
        let before = cpu();
        for _ in 0..CHECKS {
            if !is_resumed {
                tls.client().sessions.with(server.address, BEGUN.now).forget();
            }
            assert_eq!(server.ask(&tls).await.result, ProbeResult::Pass);
        }
        println!("{what}: {:?} of CPU a check, both sides", (cpu() - before) / CHECKS);
        assert_eq!(server.heard().await.iter().filter(|h| h.is_resumed).count() > 100, is_resumed);
    }
}

#[allow(clippy::disallowed_methods, reason = "CPU time, in a measurement run by hand")]
fn cpu() -> Duration {
    let used = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(used.tv_sec.try_into().unwrap(), used.tv_nsec.try_into().unwrap())
}

/// What a server heard on one connection.
#[derive(Debug, Default, PartialEq, Eq)]
struct Heard {
    is_resumed: bool,
    server_name: Option<String>,
    is_end_announced: bool,
}

impl Heard {
    fn full(server_name: Option<&str>) -> Heard {
        Heard { server_name: server_name.map(str::to_owned), ..Heard::default() }
    }
}

/// A server that answers the same on so many connections, and closes without announcing it.
struct TlsServer {
    address: SocketAddr,
    /// When the next probe of it begins.
    begun: Moment,
    task: JoinHandle<Vec<Heard>>,
}

impl TlsServer {
    async fn start(config: ServerConfig, connections: usize) -> TlsServer {
        TlsServer::start_with(config, connections, OK).await
    }

    async fn start_with(config: ServerConfig, connections: usize, answer: &str) -> TlsServer {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let answer = answer.to_owned();
        let task = tokio::spawn(async move {
            let mut heard = Vec::new();
            for _ in 0..connections {
                let (stream, _) = listener.accept().await.unwrap();
                let Ok(mut stream) = acceptor.accept(stream).await else { continue };
                let state = stream.get_ref().1;
                let mut entry = Heard {
                    is_resumed: state.handshake_kind() == Some(HandshakeKind::Resumed),
                    server_name: state.server_name().map(str::to_owned),
                    is_end_announced: false,
                };
                play(&mut stream, &[Step::Request, say(answer.as_str())]).await;
                let (socket, state) = stream.get_mut();
                let _ = rustix::net::shutdown(&*socket, rustix::net::Shutdown::Write);
                // What is still to be heard: the announcement of the end, or the bare end.
                let mut rest = Vec::new();
                let _ = socket.read_to_end(&mut rest).await;
                let mut rest = rest.as_slice();
                while !rest.is_empty() && state.read_tls(&mut rest).is_ok() {
                    if let Ok(io) = state.process_new_packets() {
                        entry.is_end_announced |= io.peer_has_closed();
                    }
                }
                heard.push(entry);
            }
            heard
        });
        TlsServer { address, begun: BEGUN, task }
    }

    async fn ask(&self, check: &Check) -> Outcome {
        check.ask(&target(self.address), self.begun).await
    }

    async fn heard(mut self) -> Vec<Heard> {
        self.take_heard().await
    }

    async fn take_heard(&mut self) -> Vec<Heard> {
        (&mut self.task).await.unwrap()
    }
}

/// A server that takes its time before the handshake and again before the answer.
async fn slow(config: ServerConfig, first: Duration, then: Duration) -> (SocketAddr, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let task = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        tokio::time::sleep(first).await;
        let mut stream = acceptor.accept(stream).await.unwrap();
        play(&mut stream, &[Step::Request, Step::Wait(then), say(OK), Step::Hold]).await;
    });
    (address, task)
}

/// A SSL_GET with one set of settings, and the client for it.
struct Check {
    question: HttpQuestion,
    clients: RunClients,
}

impl Check {
    fn of(tls: Tls) -> Check {
        let url = Url { tls: Some(tls), ..Url::new("/") };
        let question = HttpQuestion { version: HttpVersion::V1_0, urls: vec![url] };
        let clients = TlsClients::default().of(&Question::Http(question.clone().into()));
        Check { question, clients }
    }

    async fn ask(&self, target: &Target, begun: Moment) -> Outcome {
        http::run(target, &self.question, &self.clients, begun).await
    }

    fn client(&self) -> &TlsClient {
        self.clients.client(&self.question.urls[0].tls.as_ref().unwrap().settings).unwrap()
    }
}

fn anyone(server_name: Option<&str>) -> Check {
    with(TlsSettings { server_name: server_name.map(str::to_owned), ..TlsSettings::default() })
}

fn verified(authorities: &str, name: &str) -> Check {
    let authorities = Authorities::from_pem(authorities.as_bytes()).unwrap();
    with(TlsSettings { verify: Some((authorities, name.to_owned())), ..TlsSettings::default() })
}

fn with(settings: TlsSettings) -> Check {
    Check::of(Tls { settings: settings.into(), close_notify: false })
}

fn simple() -> Identified {
    Identified::self_signed("www.example", false, 90)
}

/// A certificate and its key.
struct Identified {
    certificate_pem: String,
    certificate: CertificateDer<'static>,
    key_pem: String,
    key: PrivateKeyDer<'static>,
}

impl Identified {
    fn self_signed(name: &str, is_authority: bool, days: i64) -> Identified {
        Identified::self_signed_as(params(&[name], -10, days), is_authority)
    }

    fn self_signed_as(mut params: CertificateParams, is_authority: bool) -> Identified {
        let key = KeyPair::generate().unwrap();
        if is_authority {
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        }
        let certificate = params.self_signed(&key).unwrap();
        Identified::new(&certificate, &key)
    }

    fn new(certificate: &rcgen::Certificate, key: &KeyPair) -> Identified {
        Identified {
            certificate_pem: certificate.pem(),
            certificate: certificate.der().clone(),
            key_pem: key.serialize_pem(),
            key: PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
        }
    }

    fn server(&self, versions: &[&'static SupportedProtocolVersion]) -> ServerConfig {
        self.server_with(versions, None)
    }

    /// One that wants certificates of this authority.
    fn server_for(
        &self,
        authority: &Authority,
        versions: &[&'static SupportedProtocolVersion],
    ) -> ServerConfig {
        self.server_with(versions, Some(authority))
    }

    fn server_with(
        &self,
        versions: &[&'static SupportedProtocolVersion],
        clients: Option<&Authority>,
    ) -> ServerConfig {
        let now = At(Some(UnixTime::since_unix_epoch(WALL)));
        let builder = ServerConfig::builder_with_details(Arc::new(provider()), Arc::new(now))
            .with_protocol_versions(versions)
            .unwrap();
        let builder = match clients {
            None => builder.with_no_client_auth(),
            Some(authority) => {
                let mut roots = RootCertStore::empty();
                roots.add(authority.certificate.der().clone()).unwrap();
                let verifier =
                    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::new(provider()))
                        .build()
                        .unwrap();
                builder.with_client_cert_verifier(verifier)
            }
        };
        builder.with_single_cert(vec![self.certificate.clone()], self.key.clone_key()).unwrap()
    }
}

struct Authority {
    certificate: rcgen::Certificate,
    params: CertificateParams,
    key: KeyPair,
}

impl Authority {
    fn new(name: &str) -> Authority {
        let key = KeyPair::generate().unwrap();
        let mut params = params(&[], -10, 365);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        let certificate = params.self_signed(&key).unwrap();
        Authority { certificate, params, key }
    }

    fn pem(&self) -> String {
        self.certificate.pem()
    }

    /// A certificate for these names that ends in so many days.
    fn issue(&self, names: &[&str], days: i64) -> Identified {
        self.issue_from(names, -10, days)
    }

    /// A certificate that ends in so many seconds.
    fn issue_until(&self, names: &[&str], seconds: u64) -> Identified {
        let key = KeyPair::generate().unwrap();
        let issuer = Issuer::from_params(&self.params, &self.key);
        let mut params = params(names, -10, 0);
        params.not_after = rcgen::date_time_ymd(1970, 1, 1) + WALL + Duration::from_secs(seconds);
        Identified::new(&params.signed_by(&key, &issuer).unwrap(), &key)
    }

    fn issue_from(&self, names: &[&str], from: i64, days: i64) -> Identified {
        let key = KeyPair::generate().unwrap();
        let issuer = Issuer::from_params(&self.params, &self.key);
        let certificate = params(names, from, days).signed_by(&key, &issuer).unwrap();
        Identified::new(&certificate, &key)
    }
}

/// A certificate for these names, valid between two days counted from these tests' time.
fn params(names: &[&str], from: i64, to: i64) -> CertificateParams {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut params = CertificateParams::new(names).unwrap();
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    let day = |days: i64| {
        let seconds = i64::try_from(WALL.as_secs()).unwrap() + days * 86_400 + 60;
        epoch + Duration::from_secs(u64::try_from(seconds).unwrap())
    };
    params.not_before = day(from);
    params.not_after = day(to);
    params
}
