//! What YAML adds to checks: HEAD, header lines and a text in the body against nginx, STARTTLS with a verified certificate
//! against a mail server with TLS (aiosmtpd). Each is well, wrong and back, the mail server silent, too. And an answer of dnsmasq that has no room
//! in a datagram.

use std::process::Command;

use rustix::process::Signal;

use super::tls::{Authority, NAME};
use crate::lab::daemon::{Daemon, READY, run_dir};
use crate::lab::host::Host;
use crate::lab::judge;
use crate::lab::table::Table;
use crate::lab::wait::{seconds, wait_for};
use crate::lab::{Lab, Verdict};

const MAIL: &str = "/usr/bin/aiosmtpd";
/// One after the other: HEAD, a header, a text, STARTTLS, a long answer.
const PORTS: [u16; 5] = [8001, 8002, 8003, 8004, 8005];

pub(super) fn run(lab: &mut Lab) -> Verdict {
    let site = lab.plain_site()?;
    let asked = lab.host("rs1")?;
    for (authority, certificate) in [("authority", "mail"), ("stranger", "other")] {
        Authority::new(lab, authority)?.issue(lab, certificate, 90)?;
    }
    let well = ["200", "lvsd", "status: healthy"];
    let mut web = nginx(lab, &asked, well)?;
    let mut mail = mail_server(lab, &asked, Some("mail"))?;
    let resolver = resolver(lab, &asked)?;
    let director = site.director.clone();
    let file = lab.write("d1.yaml", &include_str!("checks.yaml").replace("NAME", NAME))?;
    let mut daemon = Daemon::start_lvsd(lab, &director, &file, &run_dir(&director), &[])?;
    daemon.wait_log(READY, seconds(30))?;
    expect(&director, "all well", [true; 5])?;

    lab.step("nginx answers otherwise, is well again");
    web.end(Signal::TERM)?;
    web = nginx(lab, &asked, ["503", "another", "status: degraded"])?;
    expect(&director, "other answers", [false, false, false, true, true])?;
    for words in [
        "HTTP_GET: status 503, wanted 200-299",
        "HTTP_GET: status 403, wanted 200-299",
        "HTTP_GET: body does not match \"status: healthy\"",
    ] {
        daemon.wait_log(words, seconds(5))?;
    }
    web.end(Signal::TERM)?;
    web = nginx(lab, &asked, well)?;
    expect(&director, "well again", [true; 5])?;

    lab.step("the mail server has another's certificate, no TLS, hangs, is well again");
    mail.kill()?;
    mail = mail_server(lab, &asked, Some("other"))?;
    expect(&director, "a stranger's certificate", [true, true, true, false, true])?;
    daemon.wait_log("SMTP_CHECK: STARTTLS: certificate", seconds(5))?;
    mail.kill()?;
    mail = mail_server(lab, &asked, Some("mail"))?;
    expect(&director, "its own certificate", [true; 5])?;
    mail.kill()?;
    mail = mail_server(lab, &asked, None)?;
    expect(&director, "no TLS", [true, true, true, false, true])?;
    daemon.wait_log("SMTP_CHECK: STARTTLS: `454", seconds(5))?;
    mail.kill()?;
    mail = mail_server(lab, &asked, Some("mail"))?;
    expect(&director, "TLS again", [true; 5])?;
    mail.signal(Signal::STOP)?;
    expect(&director, "a mail server that hangs", [true, true, true, false, true])?;
    mail.signal(Signal::CONT)?;
    expect(&director, "it goes on", [true; 5])?;

    lab.step("a long answer is asked for over TCP, which is in the way");
    let rules = "table inet lab { chain input { type filter hook input priority 0; tcp dport 53 drop; }; }";
    judge::output(&asked, &["nft", rules])?;
    expect(&director, "no TCP", [true, true, true, true, false])?;
    daemon.wait_log("DNS_CHECK: truncated, and over TCP: ", seconds(5))?;
    judge::output(&asked, &["nft", "delete table inet lab"])?;
    expect(&director, "TCP again", [true; 5])?;
    drop((web, mail, resolver));
    daemon.end(Signal::TERM)
}

fn expect(director: &Host, what: &str, wanted: [bool; 5]) -> Verdict {
    wait_for(&format!("{what}: {wanted:?}"), seconds(30), || {
        let table = Table::read(director)?;
        let states = PORTS.map(|port| !table.serving(&format!("-t 10.1.0.100:{port}")).is_empty());
        if states == wanted { Ok(()) } else { Err(format!("{states:?}")) }
    })
}

/// nginx that answers HEAD with this status, wants this header, says this text.
fn nginx(lab: &Lab, host: &Host, [status, probe, text]: [&str; 3]) -> Result<Daemon, String> {
    let http = format!(
        "access_log off; server {{ listen 8080;\n\
         location /head {{ if ($request_method != HEAD) {{ return 405; }} return {status} \"a body\\n\"; }}\n\
         location /header {{ if ($http_x_probe != \"{probe}\") {{ return 403; }} return 200 \"ok\\n\"; }}\n\
         location /text {{ return 200 \"{text}, 3 of 3\\n\"; }} }}"
    );
    Daemon::nginx_with(lab, host, &http)
}

/// A resolver with an answer of 800 bytes; without EDNS a datagram has 512.
fn resolver(lab: &Lab, host: &Host) -> Result<Daemon, String> {
    let mut command = Command::new("dnsmasq");
    command.args(["--keep-in-foreground", "--conf-file=/dev/null", "--no-resolv", "--no-hosts"]);
    command.args(["--user=root", "--pid-file=", "--log-facility=-", "--bind-dynamic"]);
    for letter in ["a", "b", "c", "d"] {
        command.arg(format!("--txt-record=long.example.org,{}", letter.repeat(200)));
    }
    Daemon::start(lab, host, "dnsmasq", &mut command)
}

fn mail_server(lab: &Lab, host: &Host, certificate: Option<&str>) -> Result<Daemon, String> {
    let mut command = Command::new(MAIL);
    command.args(["--nosetuid", "--listen", "10.1.0.21:2525"]);
    if let Some(name) = certificate {
        let path = |ending| lab.out().join(format!("{name}.{ending}"));
        command.arg("--tlscert").arg(path("pem")).arg("--tlskey").arg(path("key"));
    }
    Daemon::start(lab, host, "aiosmtpd", &mut command)
}
