//! SMTP_CHECK, DNS_CHECK, UDP_CHECK and PING_CHECK against a real mail server (msmtpd), resolver (dnsmasq) and kernel, in
//! both families: well, down, silent, answering wrongly, and back. keepalived runs on the other director with the same
//! checks.

use std::process::Command;

use rustix::process::Signal;

use crate::lab::daemon::Daemon;
use crate::lab::host::Host;
use crate::lab::mail::{MailServer, Mood};
use crate::lab::table::Table;
use crate::lab::wait::{pause, seconds, wait_for};
use crate::lab::{Lab, Verdict, claim};

/// The checkers, in the order of the ports that [`file`] gives their virtual servers, from 8001 on.
const CHECKERS: [&str; 4] = ["SMTP_CHECK", "DNS_CHECK", "UDP_CHECK", "PING_CHECK"];
/// The real server that is asked: by both families.
const ASKED: &str = "rs1";

pub(super) fn run(lab: &mut Lab) -> Verdict {
    let site = lab.dr_site()?;
    let (ours, theirs) = (site.director.clone(), lab.host("d2")?);
    let asked = lab.host(ASKED)?;
    // msmtpd looks for its clients' names before it greets: no name server is there to be asked.
    std::fs::write("/etc/nsswitch.conf", "hosts: files\n").map_err(|e| format!("/etc/nsswitch.conf: {e}"))?;
    let mut resolver = resolver(lab, &asked, true)?;
    let mut mail = msmtpd(lab, &asked)?;
    let mut daemon = Daemon::lvsd(lab, &ours, &file())?;
    let keepalived = Daemon::keepalived(lab, &theirs, &file())?;
    let mut judge = Judge { ours, theirs, table: Vec::new() };
    judge.expect("all well", [true; 4])?;

    lab.step("the mail server dies, hangs, refuses, greets in several lines");
    mail.kill()?;
    judge.expect("no mail server", [false, true, true, true])?;
    daemon.wait_log("SMTP_CHECK: connection refused", seconds(5))?;
    mail = msmtpd(lab, &asked)?;
    judge.expect("a mail server again", [true; 4])?;
    mail.signal(Signal::STOP)?;
    judge.expect("a mail server that hangs", [false, true, true, true])?;
    daemon.wait_log("SMTP_CHECK: no whole answer within 1 s", seconds(5))?;
    mail.signal(Signal::CONT)?;
    judge.expect("it goes on", [true; 4])?;
    mail.kill()?;
    let mut other = MailServer::start(&asked)?;
    judge.expect("another mail server", [true; 4])?;
    other.set_mood(Mood::Says("HELO", "421 4.3.2 too busy".to_owned()));
    judge.expect("a mail server that refuses", [false, true, true, true])?;
    daemon.wait_log("SMTP_CHECK: HELO: `421 4.3.2 too busy`, wanted 250", seconds(5))?;
    other.set_mood(Mood::Says("HELO", "250-one line\r\n250 and another".to_owned()));
    judge.expect("a mail server of several lines", [true; 4])?;
    other.stop();
    let mail = msmtpd(lab, &asked)?;
    judge.expect("the first mail server", [true; 4])?;

    lab.step("the resolver dies, hangs, refuses what it is asked");
    resolver.kill()?;
    judge.expect("no resolver", [true, false, false, true])?;
    for words in ["DNS_CHECK: connection refused", "UDP_CHECK: connection refused"] {
        daemon.wait_log(words, seconds(5))?;
    }
    resolver = self::resolver(lab, &asked, true)?;
    judge.expect("a resolver again", [true; 4])?;
    resolver.signal(Signal::STOP)?;
    judge.expect("a resolver that hangs", [true, false, false, true])?;
    for words in ["DNS_CHECK: no answer within 1 s", "UDP_CHECK: no reply within 1 s"] {
        daemon.wait_log(words, seconds(5))?;
    }
    resolver.signal(Signal::CONT)?;
    judge.expect("it goes on", [true; 4])?;
    resolver.kill()?;
    resolver = self::resolver(lab, &asked, false)?;
    // The datagram is answered all the same.
    judge.expect("a resolver that refuses", [true, false, true, true])?;
    daemon.wait_log("DNS_CHECK: answer code 5 (Query Refused)", seconds(5))?;
    resolver.kill()?;
    let _resolver = self::resolver(lab, &asked, true)?;
    judge.expect("the first resolver", [true; 4])?;

    lab.step("the real server answers no ping, then is cut off");
    let silent = |value| {
        asked.sysctl(&[("net.ipv4.icmp_echo_ignore_all", value), ("net.ipv6.icmp.echo_ignore_all", value)])
    };
    silent("1")?;
    judge.expect("no echo", [true, true, true, false])?;
    daemon.wait_log("PING_CHECK: no echo reply within 1 s", seconds(5))?;
    silent("0")?;
    judge.expect("echo again", [true; 4])?;
    lab.cut(ASKED, "eth0")?;
    judge.expect("cut off", [false; 4])?;
    lab.mend(ASKED, "eth0")?;
    judge.expect("mended", [true; 4])?;

    judge.table.iter().for_each(|row| lab.note(row));
    drop((keepalived, mail));
    daemon.end(Signal::TERM)
}

/// What the two directors make of the real server.
struct Judge {
    ours: Host,
    theirs: Host,
    table: Vec<String>,
}

impl Judge {
    /// Waits until lvsd's table is as wanted, for both families, and notes what keepalived's is then.
    fn expect(&mut self, what: &str, wanted: [bool; 4]) -> Verdict {
        wait_for(&format!("{what}: {wanted:?}"), seconds(20), || {
            let states = states(&self.ours)?;
            if states == [wanted; 2] { Ok(()) } else { Err(format!("{states:?}")) }
        })?;
        // It has the same intervals.
        pause(seconds(6));
        let states = states(&self.theirs)?;
        claim(self::states(&self.ours)? == [wanted; 2], || format!("{what}: it did not stay so"))?;
        for (family, state) in ["IPv4", "IPv6"].into_iter().zip(states) {
            for (checker, (is, wanted)) in CHECKERS.iter().zip(state.into_iter().zip(wanted)) {
                if is != wanted {
                    let word = if is { "in" } else { "out" };
                    self.table
                        .push(format!("{what}: keepalived has the server of {checker} ({family}) {word}"));
                }
            }
        }
        Ok(())
    }
}

/// Whether the real server is in a director's table, by family and checker.
fn states(director: &Host) -> Result<[[bool; 4]; 2], String> {
    let table = Table::read(director)?;
    let of = |vip: &str| {
        [8001, 8002, 8003, 8004].map(|port| !table.serving(&format!("-t {vip}:{port}")).is_empty())
    };
    Ok([of("10.1.0.100"), of("[fd00:1::100]")])
}

/// A resolver that knows www.example.org, or nothing.
fn resolver(lab: &Lab, host: &Host, knows: bool) -> Result<Daemon, String> {
    let mut command = Command::new("dnsmasq");
    command.args([
        "--keep-in-foreground",
        "--conf-file=/dev/null",
        "--no-resolv",
        "--no-hosts",
        "--user=root",
    ]);
    command.args(["--pid-file=", "--log-facility=-", "--bind-dynamic"]);
    if knows {
        command.arg("--address=/www.example.org/192.0.2.1");
    }
    Daemon::start(lab, host, "dnsmasq", &mut command)
}

fn msmtpd(lab: &Lab, host: &Host) -> Result<Daemon, String> {
    let mut command = Command::new("msmtpd");
    command.args(["--interface=::", "--port=25", "--command=cat"]);
    Daemon::start(lab, host, "msmtpd", &mut command)
}

/// A virtual server for each checker and family, by NAT so that ports may differ.
fn file() -> String {
    let query = "0007 0100 0001 000000000000 03777777 07 6578616d706c65 036f7267 00 0001 0001";
    let checks = [
        (25, "SMTP_CHECK {\nhelo_name lb.example.org\n".to_owned()),
        (53, "DNS_CHECK {\ntype A\nname www.example.org\n".to_owned()),
        (53, format!("UDP_CHECK {{\npayload {query}\nrequire_reply 00078x8x\n")),
        (7, "PING_CHECK {\n".to_owned()),
    ];
    let mut text = String::new();
    for (vip, real) in [("10.1.0.100", "10.1.0.21"), ("fd00:1::100", "fd00:1::21")] {
        for ((port, check), own) in checks.iter().zip(8001..) {
            text.push_str(&format!(
                "virtual_server {vip} {own} {{\ndelay_loop 1\nlb_algo rr\nlb_kind NAT\nprotocol TCP\n\
                 real_server {real} {port} {{\nweight 1\n{check}connect_timeout 1\nretry 0\ndelay_before_retry 1\nwarmup 0\n}}\n}}\n}}\n"
            ));
        }
    }
    text
}
