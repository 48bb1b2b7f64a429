//! Conversations with scripted servers, in virtual time and over sockets.

use std::time::Duration;

use super::body::SEARCHED_LIMIT;
use super::request::{request, shortened};
use super::*;

use crate::check::scripted::{Step, play, say, serve, target};
use crate::check::spec::digest::{Digest, DigestKind};
use crate::check::spec::pattern::Pattern;

const HELLO: &[u8] = b"hello world\n";

#[tokio::test(start_paused = true)]
async fn the_status_decides_and_an_unwanted_one_names_the_wanted() {
    let url = Url { status: vec![(200, 204), (301, 301)], ..url("/") };
    for (status, result) in [
        (199, None),
        (200, Some(true)),
        (204, Some(true)),
        (205, Some(false)),
        (301, Some(true)),
        (302, Some(false)),
        (999, Some(false)),
    ] {
        let reply = format!("HTTP/1.1 {status} Whatever\r\nContent-Length: 0\r\n\r\n");
        let outcome = answer_to(&url, &[Step::Request, say(reply), Step::Hold]).await;
        match result {
            // An interim answer: the real one never comes.
            None => assert_eq!(outcome.reason, "header not complete within 3 s"),
            Some(true) => assert_eq!((outcome.result, outcome.status), (ProbeResult::Pass, Some(status))),
            Some(false) => {
                assert_eq!((outcome.result, outcome.phase), (ProbeResult::Fail, Phase::Judge));
                assert_eq!(outcome.reason, format!("status {status}, wanted 200-204, 301"));
                assert_eq!(outcome.status, Some(status));
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_digest_of_a_body_is_md5sums() {
    // printf 'hello world\n' | md5sum; | sha256sum
    let md5 = Digest::Md5(0x6f5902ac237024bdd0c176cb93063dc4_u128.to_be_bytes());
    let mut sha256 = [0; 32];
    sha256[..16].copy_from_slice(&0xa948904f2f0f479b8f8197694b30184b_u128.to_be_bytes());
    sha256[16..].copy_from_slice(&0x0d2ed1c1cd2a1ec0fb85d299a192a447_u128.to_be_bytes());
    for digest in [md5, Digest::Sha256(sha256)] {
        let url = Url { digest: Some(digest), ..url("/") };
        let right = answer_to(&url, &[Step::Request, say("HTTP/1.0 200 OK\r\n\r\n"), say(HELLO)]).await;
        assert_eq!((right.result, right.phase), (ProbeResult::Pass, Phase::Done), "{}", right.reason);
    }

    let url = Url { digest: Some(md5), ..url("/") };
    let wrong = answer_to(&url, &[Step::Request, say("HTTP/1.0 200 OK\r\n\r\nhello world")]).await;
    assert_eq!((wrong.result, wrong.phase), (ProbeResult::Fail, Phase::Judge));
    assert_eq!(
        wrong.reason,
        "digest 5eb63bbbe01eeed093cb22bb8f5acdc3, wanted 6f5902ac237024bdd0c176cb93063dc4"
    );
    let refused = answer_to(&url, &[Step::Request, say("HTTP/1.0 500 No\r\n\r\nhello world")]).await;
    assert_eq!(refused.reason, "status 500, wanted 200-299", "the status is judged before the digest");
}

#[test]
fn a_wrong_sha256_fits_whole_into_a_reason_with_its_url() {
    let digest = Digest::Sha256([0xab; 32]).to_string();
    assert_eq!(digest, format!("sha256:{}", "ab".repeat(32)));
    let outcome = Outcome::fail(Phase::Judge, format!("digest {digest}, wanted {digest}"));
    assert_eq!(outcome.about(&shortened("/health")).reason.len(), "/health: ".len() + 158);
}

#[tokio::test]
async fn a_body_is_matched_whole_however_it_comes() {
    let pattern = |text: &str, is_unwanted| Some(Pattern::new(text.as_bytes(), 0, (0, None), is_unwanted));
    for (text, is_unwanted, reason) in [
        ("hello.*world", false, "status 200, body as wanted"),
        ("good bye", true, "status 200, body as wanted"),
        ("good bye", false, "body does not match \"good bye\""),
        ("lo wo", true, "body matches \"lo wo\""),
        ("HTTP/1.1", false, "body does not match \"HTTP/1.1\""),
    ] {
        let url = Url { pattern: pattern(text, is_unwanted), ..url("/") };
        for reply in [
            "HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\nhello world\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhell\r\n8\r\no world\n\r\n0\r\n\r\n",
        ] {
            let outcome = answer_to(&url, &[Step::Request, say(reply), Step::Hold]).await;
            assert_eq!(outcome.reason, reason);
            let is_shown = outcome.result == ProbeResult::Fail;
            assert_eq!(outcome.first_bytes.as_deref(), is_shown.then_some("hello world\\n"));
        }
    }
    let both = Url { pattern: pattern("world", false), ..hello() };
    let reply = "HTTP/1.0 200 OK\r\n\r\nhello world\n";
    let outcome = answer_to(&both, &[Step::Request, say(reply)]).await;
    assert_eq!(outcome.reason, "status 200, digest as wanted, body as wanted");
}

#[tokio::test]
async fn a_body_too_long_to_search_fails_and_one_at_the_limit_does_not() {
    let url = Url { pattern: Some(Pattern::new(b"end$", 0, (0, None), false)), ..url("/") };
    let limit = usize::try_from(SEARCHED_LIMIT).unwrap();
    for (length, reason) in [
        (limit, "status 200, body as wanted"),
        (limit + 1, "body longer than 1048576 bytes, the most that is searched"),
    ] {
        let body = format!("{}end", "x".repeat(length - 3));
        let script = [Step::Request, say(format!("HTTP/1.0 200 OK\r\n\r\n{body}"))];
        assert_eq!(answer_to(&url, &script).await.reason, reason);
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_does_not_please_is_kept_as_far_as_it_tells_something() {
    for (url, reply, first) in [
        (
            url("/"),
            "HTTP/1.0 503 Busy\r\nA: b\r\n\r\ngo away",
            "HTTP/1.0 503 Busy\\r\\nA: b\\r\\n\\r\\ngo away",
        ),
        (url("/"), "<html>\n", "<html>\\n"),
        (hello(), "HTTP/1.0 200 OK\r\n\r\nsomething else\n", "something else\\n"),
        (hello(), "HTTP/1.0 200 OK\r\nA: b\r\n", "HTTP/1.0 200 OK\\r\\nA: b\\r\\n"),
    ] {
        let outcome = answer_to(&url, &[Step::Request, say(reply)]).await;
        assert_eq!(outcome.first_bytes.as_deref(), Some(first));
    }
    let silent = answer_to(&url("/"), &[Step::Request, Step::Hold]).await;
    assert_eq!(silent.first_bytes, None);
    let passing = answer_to(&hello(), &[Step::Request, say("HTTP/1.0 200 OK\r\n\r\nhello world\n")]).await;
    assert_eq!((passing.result, passing.first_bytes), (ProbeResult::Pass, None));
}

#[tokio::test(start_paused = true)]
async fn a_reply_is_understood_wherever_the_network_splits_it() {
    let replies: [&[u8]; 6] = [
        b"HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\nhello world\n",
        b"HTTP/1.1 200 OK\r\ncontent-length:12\r\nConnection: keep-alive\r\n\r\nhello world\n",
        b"HTTP/1.0 200\r\nCONTENT-LENGTH: 12\r\n\r\nhello world\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n6;x=y\r\nhello \r\n6\r\nworld\n\r\n0\r\nT: t\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Hints\r\nA: b\r\n\r\nHTTP/1.1 200 OK\r\ntransfer-encoding: Chunked\r\n\r\nc\r\nhello world\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 \nServer: bare line feeds\nContent-length: 12\n\nhello world\n",
    ];
    let url = hello();
    for reply in replies {
        for at in 0..=reply.len() {
            let (first, second) = reply.split_at(at);
            // The server keeps the connection open: the end of the body is known by its length.
            let script =
                [Step::Request, say(first), Step::Wait(Duration::from_millis(1)), say(second), Step::Hold];
            let outcome = answer_to(&url, &script).await;
            assert_eq!(
                outcome.result,
                ProbeResult::Pass,
                "{} split at {at}: {}",
                reply.escape_ascii(),
                outcome.reason
            );
        }
        let script = [Step::Request, Step::Drip(reply.to_vec(), Duration::from_millis(1)), Step::Hold];
        let outcome = answer_to(&url, &script).await;
        assert_eq!(
            outcome.result,
            ProbeResult::Pass,
            "{} dripping: {}",
            reply.escape_ascii(),
            outcome.reason
        );
    }
}

#[tokio::test(start_paused = true)]
async fn odd_header_lines_do_not_hide_a_good_answer() {
    for header in [
        "No colon here\r\nContent-Length: 12",
        "Bad name!: \u{1}\r\nContent-Length: 12",
        ": empty\r\nContent-Length: 12",
        "Content-Length : 12",
        "Content-Length:\r\n 12",
    ] {
        let reply = format!("HTTP/1.1 200 OK\r\n{header}\r\n\r\nhello world\n");
        let outcome = answer_to(&hello(), &[Step::Request, say(reply), Step::Hold]).await;
        assert_eq!(outcome.result, ProbeResult::Pass, "{header:?}: {}", outcome.reason);
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_without_a_body_ends_with_its_header() {
    let url = Url { status: vec![(101, 399)], digest: Some(Digest::of(DigestKind::Md5, b"")), ..url("/") };
    for reply in [
        "HTTP/1.1 204 No Content\r\n\r\n",
        "HTTP/1.1 304 Not Modified\r\nContent-Length: 12\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
    ] {
        let outcome = answer_to(&url, &[Step::Request, say(reply), Step::Hold]).await;
        assert_eq!(outcome.result, ProbeResult::Pass, "{reply:?}: {}", outcome.reason);
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_not_http_is_shown() {
    for (reply, reason) in [
        ("<html>it works</html>\n", "not an HTTP reply: \"<html>it works</html>\\n\""),
        ("\x15\x03\x01\x00\x02\x02\x16", "not an HTTP reply: \"\\x15\\x03\\x01\\x00\\x02\\x02\\x16\""),
        (
            "\0\0\x12\x04\0\0\0\0\0\0\x03\0\0\0\u{7f}",
            "not an HTTP reply: \"\\x00\\x00\\x12\\x04\\x00\\x00\\x00\\x00\\x00\\x00\\x03\\x00\\x00\\x00\\x7f\"",
        ),
        (
            "HTTP/1.1 OK\r\n\r\n",
            "malformed HTTP header (invalid HTTP status-code parsed): \"HTTP/1.1 OK\\r\\n\\r\\n\"",
        ),
        (
            "HTTP/3 200 OK\r\n\r\n",
            "malformed HTTP header (invalid HTTP version parsed): \"HTTP/3 200 OK\\r\\n\\r\\n\"",
        ),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
            "malformed HTTP header (invalid content-length parsed): \"HTTP/1.1 200 OK\\r\\nContent-Length: x\\r\\n\\r\\n\"",
        ),
    ] {
        let outcome = answer_to(&url("/"), &[Step::Request, say(reply), Step::Hold]).await;
        assert_eq!((outcome.result, outcome.phase), (ProbeResult::Fail, Phase::Head));
        assert_eq!((&*outcome.reason, outcome.status), (reason, None));
    }
    let outcome = answer_to(&url("/"), &[say("SSH-2.0-OpenSSH_9.2\r\n"), Step::Hold]).await;
    assert_eq!(outcome.reason, "not an HTTP reply: \"SSH-2.0-OpenSSH_9.2\\r\\n\"");
    let outcome = answer_to(&url("/"), &[Step::Request, say([0xfe; 500]), Step::Hold]).await;
    assert_eq!(outcome.reason, format!("not an HTTP reply: \"{}\"", "\\xfe".repeat(40)));
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_breaks_off_fails_and_says_where() {
    for (reply, phase, reason) in [
        ("", Phase::Head, "closed the connection before answering"),
        ("HTTP/1.", Phase::Head, "closed the connection in the middle of its header"),
        ("HTTP/1.1 200 OK\r\nA: b\r\n", Phase::Head, "closed the connection in the middle of its header"),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\nhello",
            Phase::Body,
            "closed the connection after 5 of 12 bytes of the body",
        ),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\n",
            Phase::Body,
            "closed the connection after 0 of 12 bytes of the body",
        ),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nhello",
            Phase::Body,
            "closed the connection after 5 bytes of the body",
        ),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
            Phase::Body,
            "closed the connection after 5 bytes of the body",
        ),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nhello",
            Phase::Body,
            "malformed chunk after 0 bytes of the body",
        ),
    ] {
        for url in [url("/"), hello()] {
            let outcome = answer_to(&url, &[Step::Request, say(reply)]).await;
            assert_eq!((outcome.result, outcome.phase), (ProbeResult::Fail, phase), "{reply:?}");
            assert_eq!(outcome.reason, reason, "{reply:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_whole_exchange_has_one_time_limit_however_the_server_fills_it() {
    let second = Duration::from_secs(1);
    let head = || say("HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\n");
    let drip = |text: &str| Step::Drip(text.into(), second);
    for (script, phase, reason) in [
        (vec![Step::Hold], Phase::Head, "no answer within 3 s"),
        (vec![drip("HTTP/1.1 200 OK\r\n")], Phase::Head, "header not complete within 3 s"),
        (
            vec![Step::Forever(b"HTTP/1.1 100 Continue\r\n\r\n".to_vec())],
            Phase::Head,
            "header not complete within 3 s",
        ),
        (
            vec![head(), drip("hello world\n")],
            Phase::Body,
            "body not complete within 3 s, broke off after 2 of 12 bytes of the body",
        ),
        (
            vec![head(), say("hello"), Step::Hold],
            Phase::Body,
            "body not complete within 3 s, broke off after 5 of 12 bytes of the body",
        ),
        (
            vec![say("HTTP/1.0 200 OK\r\n\r\nhello"), Step::Hold],
            Phase::Body,
            "body not complete within 3 s, broke off after 5 bytes of the body",
        ),
    ] {
        let script = [vec![Step::Request], script].concat();
        let outcome = answer_to(&url("/"), &script).await;
        assert_eq!((outcome.result, outcome.phase), (ProbeResult::Fail, phase));
        assert_eq!(outcome.reason, reason);
    }
}

#[tokio::test(start_paused = true)]
async fn a_header_is_read_to_its_limit_and_no_further() {
    let endless = [Step::Request, say("HTTP/1.1 200 OK\r\n"), Step::Forever(vec![b'A'; 4096])];
    let outcome = answer_to(&url("/"), &endless).await;
    assert_eq!((outcome.result, outcome.phase), (ProbeResult::Fail, Phase::Head));
    assert_eq!(outcome.reason, "header longer than 65536 bytes");
    for (line, count, result) in [
        ("a".repeat(60_000), 1, ProbeResult::Pass),
        ("a".repeat(66_000), 1, ProbeResult::Fail),
        ("a".to_owned(), 255, ProbeResult::Pass),
        ("a".to_owned(), 256, ProbeResult::Fail),
    ] {
        let lines = format!("A: {line}\r\n").repeat(count);
        let reply = format!("HTTP/1.1 200 OK\r\n{lines}Content-Length: 0\r\n\r\n");
        let outcome = answer_to(&url("/"), &[Step::Request, say(reply), Step::Hold]).await;
        assert_eq!(outcome.result, result, "{count} lines of {} bytes: {}", line.len(), outcome.reason);
    }
}

#[tokio::test(start_paused = true)]
async fn an_endless_body_is_read_only_as_far_as_it_matters() {
    let endless = [Step::Request, say("HTTP/1.0 200 OK\r\n\r\n"), Step::Forever(vec![b'x'; 64 * 1024])];
    assert_eq!(answer_to(&url("/"), &endless).await.result, ProbeResult::Pass);
    let outcome = answer_to(&hello(), &endless).await;
    assert_eq!((outcome.result, outcome.phase), (ProbeResult::Fail, Phase::Body));
    assert_eq!(outcome.reason, "body longer than 16777216 bytes, the most that is digested");
    let announced = [Step::Request, say("HTTP/1.1 200 OK\r\nContent-Length: 16777217\r\n\r\n"), Step::Hold];
    let outcome = answer_to(&hello(), &announced).await;
    assert_eq!(outcome.reason, "body longer than 16777216 bytes, the most that is digested");
}

#[tokio::test]
async fn all_urls_are_asked_in_order_each_on_a_connection_of_its_own() {
    let ok = vec![Step::Request, say("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"), Step::Hold];
    let (address, server) = serve(vec![ok.clone(), ok]).await;
    let outcome =
        run(&target(address), &question(&["/a", "/b"]), &RunClients::default(), Moment::default()).await;
    assert_eq!((outcome.result, &*outcome.reason), (ProbeResult::Pass, "status 200"));
    let heard = server.await.unwrap();
    assert!(heard[0].starts_with("GET /a HTTP/1.0\r\n"), "{heard:?}");
    assert!(heard[1].starts_with("GET /b HTTP/1.0\r\n"), "{heard:?}");
}

#[tokio::test]
async fn the_first_failing_url_ends_the_run_and_is_named() {
    let reply = |status: &str| vec![Step::Request, say(format!("HTTP/1.0 {status}\r\n\r\n"))];
    let (address, server) = serve(vec![reply("200 OK"), reply("503 Busy")]).await;
    let outcome =
        run(&target(address), &question(&["/a", "/b", "/c"]), &RunClients::default(), Moment::default())
            .await;
    assert_eq!((outcome.result, outcome.status), (ProbeResult::Fail, Some(503)));
    assert_eq!(outcome.reason, "/b: status 503, wanted 200-299");
    assert_eq!(server.await.unwrap().len(), 2);
}

#[tokio::test]
async fn a_reset_fails_and_says_where() {
    for (script, phase, reason) in [
        (vec![Step::Request], Phase::Head, "connection reset before answering"),
        (
            vec![
                Step::Request,
                say("HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\nhello"),
                Step::Wait(Duration::from_millis(50)),
            ],
            Phase::Body,
            "connection reset after 5 of 12 bytes of the body",
        ),
    ] {
        let (address, _server) = serve(vec![[script, vec![Step::Reset]].concat()]).await;
        let outcome =
            run(&target(address), &question(&["/"]), &RunClients::default(), Moment::default()).await;
        assert_eq!((outcome.result, outcome.phase), (ProbeResult::Fail, phase));
        assert_eq!((&*outcome.reason, outcome.errno), (reason, Some(libc::ECONNRESET)));
    }
}

#[tokio::test]
async fn a_server_that_answers_without_reading_the_request_passes() {
    let script = vec![say("HTTP/1.0 200 OK\r\nContent-Length: 12\r\n\r\nhello world\n"), Step::Hold];
    let (address, _server) = serve(vec![script]).await;
    let question = HttpQuestion { urls: vec![hello()], ..question(&[]) };
    let outcome = run(&target(address), &question, &RunClients::default(), Moment::default()).await;
    assert_eq!(outcome.result, ProbeResult::Pass, "{}", outcome.reason);
}

#[tokio::test]
async fn a_server_whose_small_answer_was_read_is_not_reset() {
    let body = "x".repeat(20_000);
    let reply = format!("HTTP/1.1 200 OK\r\nContent-Length: 20000\r\n\r\n{body}");
    let (address, server) = serve(vec![vec![Step::Request, say(reply), Step::Hold]]).await;
    assert_eq!(
        run(&target(address), &question(&["/"]), &RunClients::default(), Moment::default()).await.result,
        ProbeResult::Pass
    );
    assert!(server.await.unwrap()[0].ends_with("\r\n\r\n"));
}

#[tokio::test]
async fn a_dropped_run_closes_its_connection() {
    let (address, server) = serve(vec![vec![Step::Request, Step::Hold, say("")]]).await;
    let (target, question) = (target(address), question(&["/"]));
    let clients = RunClients::default();
    let mut run = Box::pin(run(&target, &question, &clients, Moment::default()));
    // Long enough for the request to arrive, as the server's record shows.
    assert!(timeout(Duration::from_millis(100), &mut run).await.is_err());
    drop(run);
    assert!(server.await.unwrap()[0].starts_with("GET / "));
}

#[test]
fn a_run_may_move_between_threads() {
    fn is_send<T: Send>(_: &T) {}
    let (target, question) = (target("127.0.0.1:9".parse().unwrap()), question(&["/"]));
    is_send(&run(&target, &question, &RunClients::default(), Moment::default()));
}

/// What is made of a server that plays `script`, over a pipe in virtual time, with 3 s to do it.
async fn answer_to(url: &Url, script: &[Step]) -> Outcome {
    let request = request("192.0.2.1:80".parse().unwrap(), HttpVersion::V1_0, url).unwrap();
    converse_with(request, url, script).await.0
}

pub(super) async fn converse_with(
    request: Request<Empty<Bytes>>,
    url: &Url,
    script: &[Step],
) -> (Outcome, String) {
    let (client, mut server) = tokio::io::duplex(16 * 1024);
    let script = script.to_vec();
    let server = tokio::spawn(async move { play(&mut server, &script).await });
    let target =
        Target { connect_timeout: Duration::from_secs(3), ..target("192.0.2.1:80".parse().unwrap()) };
    let outcome = converse(client, request, url, None, &target, &mut Progress::default()).await;
    (outcome, server.await.unwrap())
}

pub(super) fn url(path: &str) -> Url {
    Url::new(path)
}

/// A URL whose body must be [`HELLO`].
fn hello() -> Url {
    Url { digest: Some(Digest::of(DigestKind::Md5, HELLO)), ..url("/") }
}

fn question(paths: &[&str]) -> HttpQuestion {
    HttpQuestion { version: HttpVersion::V1_0, urls: paths.iter().map(|path| url(path)).collect() }
}
