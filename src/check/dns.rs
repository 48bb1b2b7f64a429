//! DNS_CHECK: conversation, tests.
//!
//! As keepalived: one query with recursion desired over UDP, and any answer with the code NOERROR passes. Beyond it, a
//! truncated answer is asked for again over TCP (RFC 7766 section 5), and records may be named that must be there.

use std::io;

use hickory_proto::op::{Header, Message, MessageType, Metadata, Query, ResponseCode};
use hickory_proto::rr::{Name, RecordType};
use hickory_proto::serialize::binary::BinDecodable;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::connect::{connect, datagram, in_words, receive, refused};
use super::errno::When;
use super::outcome::{Outcome, Phase};
use super::spec::Target;
use super::spec::dns::{DnsQuestion, DnsType};
use crate::text;

/// Most records of an answer that a reason quotes.
const QUOTED: usize = 3;

impl DnsType {
    fn wire(self) -> RecordType {
        match self {
            DnsType::A => RecordType::A,
            DnsType::Ns => RecordType::NS,
            DnsType::Cname => RecordType::CNAME,
            DnsType::Soa => RecordType::SOA,
            DnsType::Mx => RecordType::MX,
            DnsType::Txt => RecordType::TXT,
            DnsType::Aaaa => RecordType::AAAA,
            DnsType::Rrsig => RecordType::RRSIG,
            DnsType::Dnskey => RecordType::DNSKEY,
        }
    }
}

/// Whether a query can carry this name.
pub(crate) fn is_name(name: &str) -> bool {
    Name::from_ascii(name).is_ok()
}

impl DnsQuestion {
    fn query(&self, id: u16) -> Option<Vec<u8>> {
        let mut name = Name::from_ascii(&self.name).ok()?;
        name.set_fqdn(true);
        let mut message = Message::query();
        message.metadata.id = id;
        message.metadata.recursion_desired = true;
        message.add_query(Query::query(name, self.record.wire()));
        message.to_vec().ok()
    }

    /// What an answer says of the server.
    fn judge(&self, head: &Metadata, answer: &[u8]) -> Outcome {
        if head.response_code != ResponseCode::NoError {
            let code = u16::from(head.response_code);
            let reason = format!("answer code {code} ({})", head.response_code);
            return Outcome::fail(Phase::Judge, reason);
        }
        if self.expected.is_empty() {
            return Outcome::pass("answered NOERROR");
        }
        let Ok(message) = Message::from_vec(answer) else {
            return Outcome::fail(Phase::Judge, "the answer is not a DNS message").with_first_bytes(answer);
        };
        let wire = self.record.wire();
        let held: Vec<String> = message
            .answers
            .iter()
            .filter(|record| record.record_type() == wire)
            .map(|record| record.data.to_string())
            .collect();
        match self.expected.iter().find(|wanted| !held.iter().any(|is| is_same(is, wanted))) {
            None => Outcome::pass("answered with the expected records"),
            Some(missing) => {
                let mut quoted: Vec<&str> = held.iter().map(String::as_str).take(QUOTED).collect();
                if held.len() > QUOTED {
                    quoted.push("...");
                }
                let held = if held.is_empty() { "none".to_owned() } else { quoted.join(", ") };
                let reason = format!("no {wire} record {missing} in the answer, but {held}");
                Outcome::fail(Phase::Judge, text::line(&reason).into_owned())
            }
        }
    }
}

/// Whether two texts are the same record: names have no case, and their final dot is optional.
fn is_same(one: &str, other: &str) -> bool {
    let plain = |text: &str| text.trim().trim_end_matches('.').trim_matches('"').to_ascii_lowercase();
    plain(one) == plain(other)
}

/// Asks once. Ends within three times the target's `connect_timeout`; [`Outcome::took`] is the caller's to fill.
pub(crate) async fn run(target: &Target, question: &DnsQuestion) -> Outcome {
    let id = fastrand::u16(..);
    let Some(query) = question.query(id) else {
        return Outcome::inconclusive(
            Phase::Socket,
            format!("{} is no name that DNS can ask for", question.name),
        );
    };
    let socket = match datagram(target) {
        Ok(socket) => socket,
        Err(outcome) => return outcome,
    };
    if let Err(error) = socket.send(&query).await {
        return refused(target, When::Connecting, &error);
    }
    // Other datagrams of the server are passed over, as late answers are.
    let answer = receive(&socket, |packet| Some((head(packet, id)?, packet.to_vec())));
    let (head, answer) = match timeout(target.connect_timeout, answer).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(error)) => return refused(target, When::Answered, &error),
        Err(_elapsed) => return silent(target),
    };
    if head.truncation {
        return by_tcp(target, question, (id, &query)).await.unwrap_or_else(|outcome| outcome);
    }
    question.judge(&head, &answer)
}

fn silent(target: &Target) -> Outcome {
    Outcome::fail(Phase::Head, format!("no answer within {}", in_words(target.connect_timeout)))
}

/// The header of the answer to a query.
fn head(packet: &[u8], id: u16) -> Option<Metadata> {
    let header = Header::from_bytes(packet).ok()?;
    (header.id == id && header.message_type == MessageType::Response).then_some(header.metadata)
}

/// The same over TCP, where every message is preceded by its length (RFC 1035 section 4.2.2).
async fn by_tcp(
    target: &Target,
    question: &DnsQuestion,
    (id, query): (u16, &[u8]),
) -> Result<Outcome, Outcome> {
    let stream = connect(target).await.map_err(|outcome| outcome.about("truncated, and over TCP"))?;
    match timeout(target.connect_timeout, exchange(stream, query)).await {
        Ok(Ok(answer)) => Ok(match head(&answer, id) {
            Some(head) => question.judge(&head, &answer),
            None => Outcome::fail(Phase::Judge, "the answer over TCP does not belong to the query")
                .with_first_bytes(&answer),
        }),
        Ok(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => {
            Err(Outcome::fail(Phase::Head, "truncated, and over TCP: the connection was closed"))
        }
        Ok(Err(error)) => Err(refused(target, When::Answered, &error).about("truncated, and over TCP")),
        Err(_elapsed) => Err(silent(target).about("truncated, and over TCP")),
    }
}

async fn exchange(mut stream: TcpStream, query: &[u8]) -> io::Result<Vec<u8>> {
    let length = u16::try_from(query.len()).map_err(io::Error::other)?;
    stream.write_all(&[&length.to_be_bytes(), query].concat()).await?;
    let length = stream.read_u16().await?;
    let mut answer = vec![0; usize::from(length)];
    stream.read_exact(&mut answer).await?;
    Ok(answer)
}

/// An answer as a server may send it, judged with and without expected records.
#[cfg(any(test, feature = "internals"))]
pub(crate) fn fuzz(answer: &[u8]) {
    let id = answer.first_chunk().copied().map(u16::from_be_bytes).unwrap_or_default();
    let Some(head) = head(answer, id) else { return };
    for expected in [[].into(), ["192.0.2.1".into()].into()] {
        let question = DnsQuestion { name: "www.example.org".into(), record: DnsType::A, expected };
        let _ = question.judge(&head, answer);
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::time::Duration;

    use hickory_proto::rr::rdata::{A, TXT};
    use hickory_proto::rr::{RData, Record};
    use tokio::net::{TcpListener, UdpSocket};

    use super::*;
    use crate::check::outcome::ProbeResult;
    use crate::check::scripted::target;

    fn question(expected: &[&str]) -> DnsQuestion {
        let expected = expected.iter().map(|text| (*text).into()).collect();
        DnsQuestion { name: "www.example.org".into(), record: DnsType::A, expected }
    }

    /// The answer to a query: 192.0.2.1 and 192.0.2.2, changed by `change`.
    fn answered(query: &[u8], change: impl Fn(&mut Message)) -> Vec<u8> {
        let query = Message::from_vec(query).unwrap();
        assert!(query.metadata.recursion_desired);
        assert_eq!(query.queries[0].to_string(), "www.example.org. IN A");
        let mut answer = query.into_response();
        let name = answer.queries[0].name().clone();
        for last in [1, 2] {
            let data = RData::A(A(Ipv4Addr::new(192, 0, 2, last)));
            answer.add_answer(Record::from_rdata(name.clone(), 60, data));
        }
        change(&mut answer);
        answer.to_vec().unwrap()
    }

    /// Asks a server that answers over UDP by `change`, and over TCP by `change_tcp`, if it listens there.
    async fn ask(
        expected: &[&str],
        change: impl Fn(&mut Message),
        tcp: Option<&dyn Fn(&mut Message)>,
    ) -> Outcome {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = UdpSocket::bind(address).await.unwrap();
        let listener = tcp.map(|change| (listener, change));
        let serve = async {
            let mut buffer = [0; 1500];
            let (length, client) = server.recv_from(&mut buffer).await.unwrap();
            let answer = answered(&buffer[..length], change);
            // Another's answer first, and rubbish.
            let mut other = answer.clone();
            other[0] ^= 1;
            for packet in [&other[..], b"x", &answer] {
                server.send_to(packet, client).await.unwrap();
            }
            if let Some((listener, change)) = listener {
                let (mut stream, _) = listener.accept().await.unwrap();
                let length = stream.read_u16().await.unwrap();
                let mut query = vec![0; length.into()];
                stream.read_exact(&mut query).await.unwrap();
                let answer = answered(&query, change);
                stream.write_u16(answer.len().try_into().unwrap()).await.unwrap();
                stream.write_all(&answer).await.unwrap();
            }
        };
        let (target, question) = (target(address), question(expected));
        tokio::join!(run(&target, &question), serve).0
    }

    #[tokio::test]
    async fn an_answer_passes_and_an_error_code_fails_by_its_name() {
        let outcome = ask(&[], |_| {}, None).await;
        assert_eq!((outcome.result, &*outcome.reason), (ProbeResult::Pass, "answered NOERROR"));
        // keepalived does not count records.
        let outcome = ask(&[], |answer| answer.answers.clear(), None).await;
        assert_eq!(outcome.result, ProbeResult::Pass);
        let outcome = ask(&[], |answer| answer.metadata.response_code = ResponseCode::NXDomain, None).await;
        assert_eq!((outcome.result, outcome.phase), (ProbeResult::Fail, Phase::Judge));
        assert_eq!(outcome.reason, "answer code 3 (Non-Existent Domain)");
    }

    #[tokio::test]
    async fn expected_records_must_all_be_there() {
        let outcome = ask(&["192.0.2.2", "192.0.2.1"], |_| {}, None).await;
        assert_eq!(
            (outcome.result, &*outcome.reason),
            (ProbeResult::Pass, "answered with the expected records")
        );
        let outcome = ask(&["192.0.2.2", "192.0.2.3"], |_| {}, None).await;
        assert_eq!(outcome.reason, "no A record 192.0.2.3 in the answer, but 192.0.2.1, 192.0.2.2");
        let of_another_type = |answer: &mut Message| {
            let name = answer.answers.remove(0).name.clone();
            answer.answers.clear();
            answer.add_answer(Record::from_rdata(
                name,
                60,
                RData::TXT(TXT::new(vec!["192.0.2.2".to_owned()])),
            ));
        };
        let outcome = ask(&["192.0.2.2"], of_another_type, None).await;
        assert_eq!(outcome.reason, "no A record 192.0.2.2 in the answer, but none");
    }

    #[tokio::test]
    async fn a_truncated_answer_is_asked_for_again_over_tcp() {
        let cut = |answer: &mut Message| answer.metadata.truncation = true;
        let outcome = ask(&["192.0.2.2"], cut, Some(&|_| {})).await;
        assert_eq!(
            (outcome.result, &*outcome.reason),
            (ProbeResult::Pass, "answered with the expected records")
        );
        let refuse = |answer: &mut Message| answer.metadata.response_code = ResponseCode::Refused;
        let outcome = ask(&[], cut, Some(&refuse)).await;
        assert_eq!(outcome.result, ProbeResult::Fail);
        let outcome = ask(&[], cut, None).await;
        assert_eq!(outcome.reason, "truncated, and over TCP: connection refused");
    }

    #[tokio::test]
    async fn silence_and_a_closed_port_fail() {
        let silent = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let mut to = target(silent.local_addr().unwrap());
        to.connect_timeout = Duration::from_millis(50);
        let outcome = run(&to, &question(&[])).await;
        assert_eq!((outcome.result, &*outcome.reason), (ProbeResult::Fail, "no answer within 0.05 s"));
        drop(silent);
        let outcome = run(&to, &question(&[])).await;
        assert_eq!((outcome.result, &*outcome.reason), (ProbeResult::Fail, "connection refused"));
    }

    #[test]
    fn keepaliveds_names_and_types_can_be_asked_for() {
        for (name, is_name) in [(".", true), ("example.org", true), ("_sip._tcp.a.", true), ("a..b", false)] {
            assert_eq!(super::is_name(name), is_name, "{name}");
        }
        for (name, record) in DnsType::ALL {
            let question = DnsQuestion { name: ".".into(), record, expected: [].into() };
            let query = Message::from_vec(&question.query(7).unwrap()).unwrap();
            assert_eq!(query.queries[0].to_string(), format!(". IN {name}"));
        }
    }
}
