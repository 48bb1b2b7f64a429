use super::*;
use crate::notify::notification::ServerName;

fn text(content: &MailContent) -> String {
    format!("{} | {}", content.subject, content.body)
}

fn server(text: &str) -> ServerName {
    ServerName { text: text.to_owned(), mark_family: None }
}

#[test]
fn virtual_routers_are_described_in_keepalived_s_words() {
    let instance = Subject::Instance("VI_1".to_owned());
    let group = Subject::Group("G1".to_owned());
    let no_longer = "=> VRRP Instance is no longer owning VRRP VIPs <=";
    for (state, body) in [
        ("MASTER", "=> VRRP Instance is now owning VRRP VIPs <="),
        ("BACKUP", no_longer),
        ("FAULT", no_longer),
        ("STOP", no_longer),
    ] {
        let content = of_router(&instance, state, "");
        assert_eq!(text(&content), format!("VRRP Instance VI_1 - Entering {state} state | {body}"));
    }
    let expected =
        "VRRP Group G1 - Entering FAULT state | => All VRRP group instances are now in FAULT state <=";
    assert_eq!(text(&of_router(&group, "FAULT", "")), expected);
}

#[test]
fn real_servers_are_described_by_the_check_that_decided() {
    let subject = Subject::RealServer("[10.1.0.1]:tcp:80".to_owned(), server("FWM 7"));
    let begin = "Realserver [10.1.0.1]:tcp:80 of virtual server FWM 7 -";
    for (is_up, occasion, cause, expected) in [
        (
            false,
            Occasion::Change,
            "TCP_CHECK: connection refused",
            "DOWN | => TCP CHECK failed on service <=",
        ),
        (true, Occasion::Change, "TCP_CHECK: connected", "UP | => TCP CHECK succeed on service <="),
        (
            false,
            Occasion::Change,
            "HTTP_GET: x",
            "DOWN | => CHECK failed on service : HTTP request failed <=",
        ),
        (false, Occasion::Change, "SSL_GET: x", "DOWN | => CHECK failed on service : HTTP request failed <="),
        (true, Occasion::Change, "HTTP_GET: status 200", "UP | => CHECK succeed on service <="),
        (false, Occasion::Change, "MISC_CHECK: x", "DOWN | => MISC CHECK failed on service <="),
        (true, Occasion::Start, "at the start", "UP | => CHECK succeed on service <="),
        (false, Occasion::Stop, "lvsd stops", "DOWN | => Shutting down <="),
    ] {
        let content = of_real_server(&subject, is_up, occasion, cause);
        assert_eq!(text(&content), format!("{begin} {expected}"));
        assert_eq!(content.cause, cause);
    }
}

#[test]
fn virtual_servers_are_described_with_their_numbers() {
    let subject = Subject::VirtualServer(server("[10.0.0.1]:tcp:80"));
    let numbers = |weight| QuorumNumbers { weight, quorum: 2, hysteresis: 1 };
    for (is_up, occasion, weight, expected) in [
        (true, Occasion::Start, 3, "UP | => Starting with quorum up 2+1=3 <= 3 <="),
        (false, Occasion::Start, 0, "DOWN | => Starting with quorum down 2+1=3 <= 0 <="),
        (true, Occasion::Change, 4, "UP | => Gained quorum 2+1=3 <= 4 <="),
        (false, Occasion::Change, 0, "DOWN | => Lost quorum 2+1=1 <= 0 <="),
        (false, Occasion::Stop, 0, "DOWN | => Shutting down <="),
    ] {
        let content = of_virtual_server(&subject, is_up, occasion, numbers(weight), "");
        assert_eq!(text(&content), format!("Virtualserver [10.0.0.1]:tcp:80 - {expected}"));
    }
}

#[test]
fn a_name_or_cause_with_line_ends_stays_one_line() {
    let content = of_router(&Subject::Instance("a\r\nBcc: x@y.z".to_owned()), "MASTER", "b\nc\0d");
    assert_eq!(content.subject, "VRRP Instance a  Bcc: x@y.z - Entering MASTER state");
    assert_eq!(content.cause, "b c d");
}
