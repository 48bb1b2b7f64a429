use super::*;
use crate::notify::mail::Server;
use crate::notify::mail::content::MailContent;

fn settings() -> MailSettings {
    MailSettings {
        server: Server::Named("mx".to_owned(), 25),
        to: vec!["ops@example.org".parse().unwrap(), "Duty <duty@example.org>".parse().unwrap()],
        from: Some("lvs@example.org".parse().unwrap()),
        hello: None,
        router: Some("lb1".to_owned()),
        connect_timeout: Duration::from_secs(30),
    }
}

fn dated(subject: &str, cause: &str, seconds: u64) -> DatedContent {
    let content =
        MailContent { subject: subject.to_owned(), body: "=> gone <=".to_owned(), cause: cause.to_owned() };
    DatedContent { content, date: Duration::from_secs(1_234_567_890 + seconds) }
}

fn text(dated: &[DatedContent], settings: &MailSettings) -> String {
    String::from_utf8(compose(dated, settings, "host", "1.2.3").unwrap().bytes).unwrap()
}

#[test]
fn a_mail_of_one_change_is_keepalived_s_with_more_headers() {
    let mail =
        compose(&[dated("web - DOWN", "TCP_CHECK: refused", 0)], &settings(), "host", "1.2.3").unwrap();
    let expected = concat!(
        "Date: Fri, 13 Feb 2009 23:31:30 +0000\r\n",
        "From: lvs@example.org\r\n",
        "Subject: [lb1] web - DOWN\r\n",
        "Message-ID: <1.2.3@example.org>\r\n",
        "MIME-Version: 1.0\r\n",
        "Content-Type: text/plain; charset=utf-8\r\n",
        "X-Mailer: lvsd 0.1.0\r\n",
        "Auto-Submitted: auto-generated\r\n",
        "X-LVSD-Cause: TCP_CHECK: refused\r\n",
        "To: ops@example.org, Duty <duty@example.org>\r\n",
        "Content-Transfer-Encoding: 7bit\r\n",
        "\r\n",
        "=> gone <=\r\n",
    );
    assert_eq!(String::from_utf8(mail.bytes).unwrap(), expected);
    assert_eq!(mail.envelope.from().unwrap().to_string(), "lvs@example.org");
    let to: Vec<String> = mail.envelope.to().iter().map(ToString::to_string).collect();
    assert_eq!(to, ["ops@example.org", "duty@example.org"]);
}

#[test]
fn a_mail_of_many_changes_counts_and_lists_them() {
    let many = [dated("a - DOWN", "TCP_CHECK: refused", 0), dated("b - DOWN", "", 1), dated("a - UP", "", 2)];
    let text = text(&many, &settings());
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    assert!(head.contains("Subject: [lb1] 3 changes: 2 DOWN, 1 UP\r\n"), "{head}");
    assert!(head.contains("Date: Fri, 13 Feb 2009 23:31:32 +0000\r\n"), "of the last: {head}");
    assert!(!head.contains("X-LVSD-Cause"), "{head}");
    let expected = concat!(
        "2009-02-13 23:31:30 UTC  a - DOWN\r\n    => gone <=\r\n    TCP_CHECK: refused\r\n",
        "2009-02-13 23:31:31 UTC  b - DOWN\r\n    => gone <=\r\n",
        "2009-02-13 23:31:32 UTC  a - UP\r\n    => gone <=\r\n",
    );
    assert_eq!(body, expected);
}

#[test]
fn nothing_that_is_reported_can_add_a_header_or_end_the_mail() {
    let evil = "x\r\nBcc: evil@example.org\r\n\r\n.\r\nQUIT\r\n";
    let settings = MailSettings { router: Some(evil.to_owned()), ..settings() };
    for many in [vec![dated(evil, evil, 0)], vec![dated(evil, evil, 0), dated(evil, evil, 1)]] {
        // Letters are one line each by their making; the message does not rely on it for what it puts into a header.
        let text = text(&many, &settings);
        let (head, _) = text.split_once("\r\n\r\n").unwrap();
        for line in head.split("\r\n") {
            assert!(!line.starts_with("Bcc") && !line.is_empty(), "{head}");
            let has_name = line.split_once(": ").is_some_and(|(name, _)| !name.contains(' '));
            assert!(has_name || line.starts_with(' '), "{line:?} in {head}");
        }
    }
}

#[test]
fn names_beyond_ascii_are_encoded_and_long_lines_broken() {
    let long = format!("caf\u{e9} {}", "x".repeat(1200));
    let text = text(&[dated("caf\u{e9} - DOWN", &long, 0)], &settings());
    assert!(text.is_ascii() && text.split("\r\n").all(|line| line.len() <= 998), "{text}");
    assert!(text.contains("Subject: [lb1] =?utf-8?b?"), "{text}");
    let mut many = vec![dated("caf\u{e9} - DOWN", &long, 0); 2];
    many.push(dated("b - DOWN", "", 0));
    let text = self::text(&many, &settings());
    assert!(text.is_ascii() && text.split("\r\n").all(|line| line.len() <= 998), "{text}");
}

#[test]
fn without_names_the_host_s_is_taken_and_nothing_is_no_mail() {
    let settings = MailSettings { router: None, from: None, ..settings() };
    let text = text(&[dated("web - UP", "", 0)], &settings);
    assert!(text.contains("From: root@host\r\n") && text.contains("Subject: [host] web - UP\r\n"), "{text}");
    assert!(compose(&[], &settings, "host", "1").is_err());
    assert!(compose(&[dated("a", "", 0)], &settings, "no host", "1").is_ok(), "localhost is taken");
}
