//! SMTP_CHECK, DNS_CHECK, UDP_CHECK, PING_CHECK, MISC_CHECK and FILE_CHECK against a real mail server (msmtpd), resolver
//! (dnsmasq), kernel, script and file, in both families: well, down, silent, answering wrongly, and back. keepalived runs on the other
//! director with the same checks.

use std::process::Command;

use rustix::process::Signal;

use crate::lab::daemon::{Daemon, configure};
use crate::lab::host::Host;
use crate::lab::mail::{Behaviour, MailServer};
use crate::lab::table::Table;
use crate::lab::wait::{pause, seconds, wait_for};
use crate::lab::{Lab, Verdict, claim};

/// The checkers, in the order of the ports that [`file`] gives their virtual servers, from 8001 on.
const CHECKERS: [&str; 6] =
    ["SMTP_CHECK", "DNS_CHECK", "UDP_CHECK", "PING_CHECK", "MISC_CHECK", "FILE_CHECK"];
/// The real server that is asked: by both families.
const ASKED: &str = "rs1";

pub(super) fn run(lab: &mut Lab) -> Verdict {
    let site = lab.dr_site()?;
    let (ours, theirs) = (site.director.clone(), lab.host("d2")?);
    let asked = lab.host(ASKED)?;
    // msmtpd looks for its clients' names before it greets: no name server is there to be asked.
    std::fs::write("/etc/nsswitch.conf", "hosts: files\n").map_err(|e| format!("/etc/nsswitch.conf: {e}"))?;
    let script = format!("/bin/sh {}", lab.write("status", "exit 0")?.display());
    let mut resolver = resolver(lab, &asked, true)?;
    let mut mail = msmtpd(lab, &asked)?;
    let number = lab.write("number", "0")?.display().to_string();
    let config = |factor| file(&script, &number, factor);
    let mut daemon = Daemon::lvsd(lab, &ours, &config(2))?;
    let keepalived = Daemon::keepalived(lab, &theirs, &config(2))?;
    let mut judge = Judge { ours, theirs, table: Vec::new() };
    judge.expect("all well", [true; 6])?;

    lab.step("the mail server dies, hangs, refuses, greets in several lines");
    mail.kill()?;
    judge.expect("no mail server", [false, true, true, true, true, true])?;
    daemon.wait_log("SMTP_CHECK: connection refused", seconds(5))?;
    mail = msmtpd(lab, &asked)?;
    judge.expect("a mail server again", [true; 6])?;
    mail.signal(Signal::STOP)?;
    judge.expect("a mail server that hangs", [false, true, true, true, true, true])?;
    daemon.wait_log("SMTP_CHECK: no whole answer within 1 s", seconds(5))?;
    mail.signal(Signal::CONT)?;
    judge.expect("it goes on", [true; 6])?;
    mail.kill()?;
    let mut other = MailServer::start(&asked)?;
    judge.expect("another mail server", [true; 6])?;
    other.set_behaviour(Behaviour::Says("HELO", "421 4.3.2 too busy".to_owned()));
    judge.expect("a mail server that refuses", [false, true, true, true, true, true])?;
    daemon.wait_log("SMTP_CHECK: HELO: `421 4.3.2 too busy`, wanted 250", seconds(5))?;
    other.set_behaviour(Behaviour::Says("HELO", "250-one line\r\n250 and another".to_owned()));
    judge.expect("a mail server of several lines", [true; 6])?;
    other.stop();
    let mail = msmtpd(lab, &asked)?;
    judge.expect("the first mail server", [true; 6])?;

    lab.step("the resolver dies, hangs, refuses what it is asked");
    resolver.kill()?;
    judge.expect("no resolver", [true, false, false, true, true, true])?;
    for words in ["DNS_CHECK: connection refused", "UDP_CHECK: connection refused"] {
        daemon.wait_log(words, seconds(5))?;
    }
    resolver = self::resolver(lab, &asked, true)?;
    judge.expect("a resolver again", [true; 6])?;
    resolver.signal(Signal::STOP)?;
    judge.expect("a resolver that hangs", [true, false, false, true, true, true])?;
    for words in ["DNS_CHECK: no answer within 1 s", "UDP_CHECK: no reply within 1 s"] {
        daemon.wait_log(words, seconds(5))?;
    }
    resolver.signal(Signal::CONT)?;
    judge.expect("it goes on", [true; 6])?;
    resolver.kill()?;
    resolver = self::resolver(lab, &asked, false)?;
    // The datagram is answered all the same.
    judge.expect("a resolver that refuses", [true, false, true, true, true, true])?;
    daemon.wait_log("DNS_CHECK: answer code 5 (Query Refused)", seconds(5))?;
    resolver.kill()?;
    let _resolver = self::resolver(lab, &asked, true)?;
    judge.expect("the first resolver", [true; 6])?;

    lab.step("a script fails, hangs, weighs, goes");
    let says = |status: &str| lab.write("status", status).map(drop);
    says("exit 1")?;
    judge.expect("a script that fails", [true, true, true, true, false, true])?;
    daemon.wait_log("MISC_CHECK: exited with status 1", seconds(5))?;
    says("exit 12")?;
    judge.expect("a script that weighs", [true; 6])?;
    judge.weighs("a script that weighs", 8005, "-w 10")?;
    daemon.wait_log("has weight 10: MISC_CHECK: exited with status 12: weight 10", seconds(5))?;
    says("exit 0")?;
    judge.expect("a script that is well", [true; 6])?;
    judge.weighs("a script that is well", 8005, "-w 1")?;
    says("exit 2")?;
    judge.expect("a script that drains", [true, true, true, true, false, true])?;
    judge.weighs("a script that drains", 8005, "-w 0")?;
    says("exec sleep 100")?;
    // It fails, and is ended: nothing of it stays behind.
    judge.expect("a script that hangs", [true, true, true, true, false, true])?;
    daemon.wait_log("MISC_CHECK: was ended: it took longer than 1 s", seconds(8))?;
    // After a failure with another weight keepalived 2.2.7 adds to the wrong one.
    says("exit 0")?;
    judge.expect("a script that is well again", [true; 6])?;

    lab.step("a number counts, in a file that is written, replaced, removed, unreadable");
    let failing = [true, true, true, true, true, false];
    lab.write("number", "1\n")?;
    judge.expect("the number 1", failing)?;
    judge.weighs("the number 1", 8007, "-w 12")?;
    daemon.wait_log("FILE_CHECK: file number says 1", seconds(5))?;
    let new = lab.write("number.new", "-3")?;
    std::fs::rename(&new, &number).map_err(|e| format!("{number}: {e}"))?;
    judge.expect("a file that was replaced", failing)?;
    judge.weighs("a file that was replaced", 8007, "-w 4")?;
    std::fs::remove_file(&number).map_err(|e| format!("{number}: {e}"))?;
    judge.expect("no file", [true; 6])?;
    judge.weighs("no file", 8007, "-w 10")?;
    daemon.wait_log("number: there is no such file: it counts 0", seconds(5))?;
    lab.write("number", "-2147483648")?;
    judge.expect("the least number", failing)?;
    for director in [&judge.ours, &judge.theirs] {
        let table = Table::read(director)?;
        let is_out = table.serving("-t 10.1.0.100:8007").is_empty();
        claim(is_out, || format!("the least number on {}:\n{table}", director.name()))?;
    }
    lab.write("number", "many")?;
    judge.expect("no number", [true; 6])?;
    judge.weighs("no number", 8007, "-w 10")?;
    daemon.wait_log("number: `many` is no whole number: it counts 0", seconds(5))?;
    lab.write("number", "4")?;
    judge.expect("the number 4", failing)?;
    configure(lab, &judge.ours, &config(-1))?;
    lab.write("d2.keepalived.conf", &config(-1))?;
    daemon.reload()?;
    keepalived.reload()?;
    judge.expect("another weight", failing)?;
    judge.weighs("another weight", 8007, "-w 6")?;
    lab.write("number", "0")?;
    judge.expect("the number 0", [true; 6])?;

    lab.step("the real server answers no ping, then is cut off");
    let silent = |value| {
        asked.sysctl(&[("net.ipv4.icmp_echo_ignore_all", value), ("net.ipv6.icmp.echo_ignore_all", value)])
    };
    silent("1")?;
    judge.expect("no echo", [true, true, true, false, true, true])?;
    daemon.wait_log("PING_CHECK: no echo reply within 1 s", seconds(5))?;
    silent("0")?;
    judge.expect("echo again", [true; 6])?;
    lab.cut(ASKED, "eth0")?;
    judge.expect("cut off", [false, false, false, false, true, true])?;
    lab.mend(ASKED, "eth0")?;
    judge.expect("mended", [true; 6])?;

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
    fn expect(&mut self, what: &str, wanted: [bool; 6]) -> Verdict {
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

    /// The weight that the script asked for is in both directors' tables.
    fn weighs(&self, what: &str, port: u16, wanted: &str) -> Verdict {
        for director in [&self.ours, &self.theirs] {
            let table = Table::read(director)?;
            let service = table.0.get(&format!("-t 10.1.0.100:{port}"));
            let options = service.and_then(|service| service.destinations.values().next());
            let is_so = options.is_some_and(|options| format!("{options} ").contains(&format!("{wanted} ")));
            claim(is_so, || format!("{what}: {wanted} on {}:\n{table}", director.name()))?;
        }
        Ok(())
    }
}

/// Whether the real server is in a director's table, by family and checker.
fn states(director: &Host) -> Result<[[bool; 6]; 2], String> {
    let table = Table::read(director)?;
    let of = |vip: &str| {
        [8001, 8002, 8003, 8004, 8005, 8006]
            .map(|port| !table.serving(&format!("-t {vip}:{port}")).is_empty())
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

/// A virtual server for each checker and family, by NAT so that ports may differ; behind them one whose weight follows the
/// number by this factor.
fn file(script: &str, number: &str, factor: i32) -> String {
    let query = "0007 0100 0001 000000000000 03777777 07 6578616d706c65 036f7267 00 0001 0001";
    let checks = [
        (25, "SMTP_CHECK {\nhelo_name lb.example.org\n".to_owned()),
        (53, "DNS_CHECK {\ntype A\nname www.example.org\n".to_owned()),
        (53, format!("UDP_CHECK {{\npayload {query}\nrequire_reply 00078x8x\n")),
        (7, "PING_CHECK {\n".to_owned()),
        (9, format!("MISC_CHECK {{\nmisc_path \"{script}\"\nmisc_timeout 1\nmisc_dynamic\n")),
    ];
    let files = ["weight 0".to_owned(), format!("weight {factor}")];
    let mut text = format!("track_file number {{\nfile {number}\n}}\n");
    for (vip, real) in [("10.1.0.100", "10.1.0.21"), ("fd00:1::100", "fd00:1::21")] {
        for ((port, check), own) in checks.iter().zip(8001..) {
            // A command has no connection.
            let timeout = if check.starts_with("MISC_CHECK") { "" } else { "connect_timeout 1\n" };
            text.push_str(&format!(
                "virtual_server {vip} {own} {{\ndelay_loop 1\nlb_algo rr\nlb_kind NAT\nprotocol TCP\n\
                 real_server {real} {port} {{\nweight 1\n{check}{timeout}retry 0\ndelay_before_retry 1\nwarmup 0\n}}\n}}\n}}\n"
            ));
        }
        for (weight, own) in files.iter().zip(8006..) {
            text.push_str(&format!(
                "virtual_server {vip} {own} {{\nlb_algo rr\nlb_kind NAT\nprotocol TCP\n\
                 real_server {real} 80 {{\nweight 10\nFILE_CHECK {{\ntrack_file number\n{weight}\n}}\n}}\n}}\n"
            ));
        }
    }
    text
}
