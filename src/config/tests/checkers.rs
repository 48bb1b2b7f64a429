//! The checkers beside TCP_CHECK, HTTP_GET and SSL_GET: what is asked, and when.

use std::path::Path;
use std::time::Duration;

use super::{config, messages, one_server, read};
use crate::check::spec::dns::{DnsQuestion, DnsType};
use crate::check::spec::file::FileQuestion;
use crate::check::spec::http::{Header, HttpMethod, Url};
use crate::check::spec::misc::MiscQuestion;
use crate::check::spec::pattern::Pattern;
use crate::check::spec::smtp::SmtpQuestion;
use crate::check::spec::udp::{MaskedByte, UdpQuestion, WantedReply};
use crate::check::spec::{CheckerSpec, Question};
use crate::config::Strictness;
use crate::config::load::load_from;
use crate::syntax::files::MemoryFiles;

/// The checkers of a real server at 10.0.0.1:53, written in keepalived.conf.
fn written(checkers: &str) -> Vec<CheckerSpec> {
    let server =
        one_server("192.0.2.10 53", &format!("delay_loop 7\nreal_server 10.0.0.1 53 {{\n{checkers}\n}}"));
    server.real_servers[0].checkers.iter().map(|checker| CheckerSpec::clone(&checker.spec)).collect()
}

/// The same in YAML.
fn written_in_yaml(check: &str) -> CheckerSpec {
    let text = format!(
        "virtual_servers:\n  - address: 192.0.2.10:53\n    protocol: udp\n    scheduler: wrr\n    forwarding: nat\n    real_servers:\n      - address: 10.0.0.1:53\n        check: {check}\n"
    );
    let files = MemoryFiles::new(&[("lvsd.yaml", &text)]);
    let config = config(load_from(&files, Path::new("lvsd.yaml"), Strictness::Strict));
    CheckerSpec::clone(&config.virtual_servers[0].real_servers[0].checkers[0].spec)
}

fn udp(spec: &CheckerSpec) -> &UdpQuestion {
    let Question::Udp(question) = &spec.question else { panic!("{spec:?}") };
    question
}

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

#[test]
fn a_query_asks_for_what_is_written_and_else_for_the_roots_soa() {
    let dns = |name: &str, record, expected: &[&str]| {
        let expected = expected.iter().map(|text| (*text).into()).collect();
        Question::Dns(Box::new(DnsQuestion { name: name.into(), record, expected }))
    };
    let all = written(
        "DNS_CHECK {\n}\nDNS_CHECK {\n type AAAA\n name example.org\n retry 1\n delay_before_retry 2\n}",
    );
    assert_eq!(all[0].question, dns(".", DnsType::Soa, &[]));
    assert_eq!(
        (all[0].timing.retry, all[0].timing.delay_before_retry),
        (3, seconds(7)),
        "keepalived's defaults"
    );
    assert_eq!(all[1].question, dns("example.org", DnsType::Aaaa, &[]));
    assert_eq!((all[1].timing.retry, all[1].timing.delay_before_retry), (1, seconds(2)));
    let yaml = written_in_yaml("{type: dns, name: example.org, record: a, expect: [192.0.2.1, 192.0.2.2]}");
    assert_eq!(yaml.question, dns("example.org", DnsType::A, &["192.0.2.1", "192.0.2.2"]));
    assert_eq!(yaml.timing, written_in_yaml("tcp").timing, "lvsd's own defaults");
}

#[test]
fn each_host_of_a_mail_check_is_a_check_of_its_own() {
    let all = written(
        "SMTP_CHECK {\n helo_name a.example\n retry 2\n host {\n connect_ip 10.0.0.2\n}\n host {\n connect_port 25\n}\n}\nSMTP_CHECK {\n}",
    );
    let targets: Vec<String> = all.iter().map(|spec| spec.target.address.to_string()).collect();
    assert_eq!(targets, ["10.0.0.2:53", "10.0.0.1:25", "10.0.0.1:53"]);
    let smtp = |name: &str| Question::Smtp(Box::new(SmtpQuestion { helo_name: name.into(), starttls: None }));
    assert_eq!(all[0].question, smtp("a.example"));
    assert_eq!(all[1].question, smtp("a.example"));
    assert_eq!(all[1].timing.retry, 2);
    assert_eq!(all[2].question, smtp("smtpchecker.keepalived.org"), "keepalived's name");
    assert_eq!(written_in_yaml("smtp").question, smtp("localhost"));
    let secured = written_in_yaml("{type: smtp, starttls: true, sni_name: mail.example.org}").question;
    let Question::Smtp(secured) = secured else { panic!("{secured:?}") };
    let settings = secured.starttls.expect("TLS");
    assert_eq!(
        (settings.server_name.as_deref(), settings.verify.is_none()),
        (Some("mail.example.org"), true)
    );
}

#[test]
fn a_datagram_and_its_reply_are_written_in_hexadecimal() {
    let all = written(
        "UDP_CHECK {\n}\nUDP_CHECK {\n payload 00fF 7e\n require_reply\n}\n\
         UDP_CHECK {\n require_reply 0xFx xx\n}\nUDP_CHECK {\n require_reply\n min_reply_length 3\n max_reply_length 9\n}",
    );
    assert_eq!((udp(&all[0]).payload.len(), &udp(&all[0]).reply), (32, &None));
    assert_eq!(&*udp(&all[1]).payload, [0, 0xff, 0x7e]);
    let any = WantedReply { begins: [].into(), min_length: 0, max_length: u16::MAX };
    assert_eq!(udp(&all[1]).reply, Some(any.clone()));
    let begins = [(0x00, 0xf0), (0xf0, 0xf0), (0, 0)].map(|(value, mask)| MaskedByte { value, mask });
    let compared = WantedReply { begins: begins.into(), min_length: 0, max_length: 255 };
    assert_eq!(udp(&all[2]).reply, Some(compared.clone()));
    assert_eq!(udp(&all[3]).reply, Some(WantedReply { min_length: 3, max_length: 9, ..any }));
    assert_eq!(udp(&written_in_yaml("{type: udp, require_reply: \"0xFxxx\"}")).reply, Some(compared));
}

#[test]
fn a_file_counts_by_the_weight_of_the_check_else_of_the_file() {
    let text = "virtual_server 192.0.2.10 80 {\nprotocol TCP\nlb_algo rr\nlb_kind NAT\nreal_server 10.0.0.1 80 {\n\
        FILE_CHECK {\ntrack_file f\n}\nFILE_CHECK {\ntrack_file f\nweight 0\n}\n\
        FILE_CHECK {\ntrack_file f\nweight -2147483647 noreverse\n}\nFILE_CHECK {\ntrack_file g\n}\n}\n}\n\
        track_file f {\nfile /run/f\nweight 3 reverse\n}\nvrrp_track_file g {\nfile /run/g\n}\n";
    let files = MemoryFiles::new(&[("keepalived.conf", text)]);
    let all = config(load_from(&files, Path::new("keepalived.conf"), Strictness::Strict));
    let questions = |config: &crate::config::Config| -> Vec<Question> {
        config.virtual_servers[0].real_servers[0].checkers.iter().map(|c| c.spec.question.clone()).collect()
    };
    let file = |file: &str, weight, is_reversed| {
        Question::File(Box::new(FileQuestion { file: file.into(), weight, is_reversed }))
    };
    let wanted = [("f", 3, true), ("f", 0, true), ("f", -i32::MAX, false), ("g", 1, false)];
    assert_eq!(questions(&all), wanted.map(|(name, weight, reversed)| file(name, weight, reversed)));
    let spec = &all.virtual_servers[0].real_servers[0].checkers[0].spec;
    assert_eq!((spec.timing.retry, spec.timing.rise), (0, 1), "a number is a verdict at once");

    let text = "virtual_servers:\n  - address: 192.0.2.10:80\n    protocol: tcp\n    scheduler: wrr\n    forwarding: nat\n    real_servers:\n      - address: 10.0.0.1:80\n        checks:\n          - {type: file, file: f}\n          - {type: file, file: f, weight: 70000, reverse: true}\nvrrp:\n  files:\n    - {name: f, path: /run/f, weight: 2}\n";
    let files = MemoryFiles::new(&[("lvsd.yaml", text)]);
    let all = config(load_from(&files, Path::new("lvsd.yaml"), Strictness::Strict));
    assert_eq!(questions(&all), [file("f", 2, false), file("f", 70000, true)]);
}

#[test]
fn a_check_by_http_says_how_it_asks_and_its_urls_may_differ() {
    let spec = written_in_yaml("{type: http, method: head, headers: [\"X-Probe: a: b\"], url: [/a, /b]}");
    let Question::Http(question) = &spec.question else { panic!("{spec:?}") };
    let headers = [Header { name: "X-Probe".into(), value: "a: b".into() }];
    for (url, path) in question.urls.iter().zip(["/a", "/b"]) {
        let wanted = Url { method: HttpMethod::Head, headers: headers.clone().into(), ..Url::new(path) };
        assert_eq!(*url, wanted);
    }
    let spec = written_in_yaml("{type: http, body_contains: \"a.b\\\\Ec\", url: {path: /a, method: GET}}");
    let Question::Http(question) = &spec.question else { panic!("{spec:?}") };
    assert_eq!(question.urls[0].pattern, Some(Pattern::literal("a.b\\Ec")));
    assert_eq!(question.urls[0].method, HttpMethod::Get);
}

#[test]
fn a_ping_needs_no_port() {
    let server = one_server(
        "192.0.2.10",
        "lb_kind DR\npersistence_timeout 60\nreal_server 10.0.0.1 {\nPING_CHECK {\n}\n}",
    );
    let spec = &server.real_servers[0].checkers[0].spec;
    assert_eq!((&spec.question, spec.target.address.port()), (&Question::Ping, 0));
    assert_eq!(written_in_yaml("ping").question, Question::Ping);
}

#[test]
fn a_command_is_run_as_it_is_written() {
    let misc = |spec: &CheckerSpec| match &spec.question {
        Question::Misc(question) => MiscQuestion::clone(question),
        other => panic!("{other:?}"),
    };
    let all = written(
        "MISC_CHECK {\n misc_path \"/usr/bin/check 'a b' c\"\n}\n\
         MISC_CHECK {\n misc_path \"/usr/bin/check\" nobody\n misc_timeout 3\n misc_dynamic\n retry 2\n}\n\
         MISC_CHECK {\n misc_path /usr/bin/check\n user www-data adm\n log_all_failures\n}",
    );
    let [first, second, third] = [0, 1, 2].map(|n| misc(&all[n]));
    assert_eq!(first.command.words, ["/usr/bin/check", "a b", "c"]);
    assert_eq!((first.limit, first.is_dynamic, first.is_secure), (seconds(7), false, false), "delay_loop");
    assert_eq!((all[0].timing.retry, all[0].log_all_failures), (0, false), "keepalived's default");
    assert_eq!(
        (second.command.user.as_deref(), second.limit, second.is_dynamic),
        (Some("nobody"), seconds(3), true)
    );
    assert_eq!(all[1].timing.retry, 2);
    assert_eq!(
        (third.command.user.as_deref(), third.command.group.as_deref()),
        (Some("www-data"), Some("adm"))
    );
    assert!(all[2].log_all_failures);
    let yaml = misc(&written_in_yaml("{type: misc, command: /usr/bin/check a, dynamic_weight: true}"));
    assert_eq!((yaml.command.words.len(), yaml.is_dynamic), (2, true));
}

#[test]
fn what_cannot_be_asked_is_an_error_at_its_word() {
    for (checker, wanted) in [
        ("DNS_CHECK {\nname a..b\n}", "`a..b` is no name that DNS can ask for"),
        ("MISC_CHECK {\nmisc_timeout 3\n}", "this check needs a `misc_path`"),
        ("SMTP_CHECK {\nhelo_name \"a b\"\n}", "`helo_name` is one word, without blanks"),
        (
            "UDP_CHECK {\npayload 00f\n}",
            "`payload`: `00f` is not hexadecimal digits, two for each byte, e.g. 00ff",
        ),
        (
            "UDP_CHECK {\npayload 0x\n}",
            "`payload`: `0x` is not hexadecimal digits, two for each byte, e.g. 00ff",
        ),
    ] {
        let text =
            format!("virtual_server 192.0.2.10 53 {{\nreal_server 10.0.0.1 53 {{\n{checker}\n}}\n}}\n");
        let loaded = read(&text);
        assert!(loaded.config.is_none(), "{checker}");
        assert!(messages(&loaded.diagnostics).contains(wanted), "{}", messages(&loaded.diagnostics));
    }
}
