//! Mails tell of virtual servers and virtual routers what Debian's keepalived's tell, for the same file and the same
//! deaths. A mail server that is dead, hangs or refuses delays nothing else; waiting mails are sent when it is back,
//! and a storm by few mails.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::lab::daemon::{Daemon, configure, control, lvsd, run_dir, status};
use crate::lab::host::Host;
use crate::lab::mail::{Behaviour, Mail, MailServer};
use crate::lab::prometheus::Scrape;
use crate::lab::site::Site;
use crate::lab::wait::{pause, seconds, wait_for};
use crate::lab::{Lab, Verdict, claim, same};

const CONF: &str = include_str!("keepalived.conf");
const FOLDER: &str = "/run/mail";
const METRICS: &str = "10.1.0.11:9100";

/// How a daemon is started.
type Start = fn(&Lab, &Host, &str) -> Result<Daemon, String>;
/// Subjects and bodies of each step.
type MailsByStep = Vec<(&'static str, BTreeSet<String>)>;

/// What the file says of mails, in other ways.
const WAYS: [&str; 5] = [
    "smtp_alert",
    "smtp_alert\n no_checker_emails\n no_email_faults",
    "",
    "smtp_alert_checker off\n smtp_alert_vrrp on",
    "smtp_alert off\n smtp_alert_checker on",
];

pub(super) fn run(lab: &mut Lab) -> Verdict {
    let mut site = lab.dr_site()?;
    let mut server = MailServer::start(&lab.host("sorry")?)?;
    for way in WAYS {
        let conf = CONF.replace("    smtp_alert\n", &format!("    {way}\n"));
        lab.step(format!("keepalived, {way:?}"));
        let theirs = run_case(lab, &mut site, &server, &conf, Daemon::keepalived)?;
        lab.step(format!("lvsd, {way:?}"));
        let ours = run_case(lab, &mut site, &server, &conf, Daemon::lvsd)?;
        for ((step, ours), (_, theirs)) in ours.iter().zip(&theirs) {
            same(&format!("{way:?}: {step}: lvsd's mails and keepalived's"), ours, theirs)?;
        }
        let count: usize = ours.iter().map(|(_, mails)| mails.len()).sum();
        lab.note(format!("{way:?}: the same {count} mails"));
    }
    headers(lab, &mut site, &server)?;
    mails_at_the_stop(lab, &site, &server)?;
    dead(lab, &mut site, &mut server)?;
    hanging(lab, &mut site, &server)?;
    refusing(lab, &mut site, &server)?;
    storm(lab, &mut site, &server)
}

/// The same deaths for each daemon.
fn run_case(
    lab: &Lab,
    site: &mut Site,
    server: &MailServer,
    conf: &str,
    start: Start,
) -> Result<MailsByStep, String> {
    let mut steps = Vec::new();
    let mut told = |step: &'static str| {
        pause(seconds(8));
        let mails = server.take();
        let texts: BTreeSet<String> = mails.iter().map(Mail::text).collect();
        steps.push((step, texts));
        same(
            &format!("{step}: mails told twice"),
            &(mails.len() - steps.last().map_or(0, |(_, t)| t.len())),
            &0,
        )
    };
    well(0)?;
    let daemon = start(lab, &site.director, conf)?;
    told("start")?;
    site.web("rs1")?.set_health_status(500);
    told("rs1 is ill")?;
    site.web("rs2")?.stop();
    told("rs2 refuses")?;
    site.web("rs1")?.set_health_status(200);
    told("rs1 is well")?;
    site.web("rs2")?.resume()?;
    told("rs2 is back")?;
    site.web("rs1")?.hang(true);
    told("rs1 hangs")?;
    site.web("rs1")?.hang(false);
    told("rs1 answers")?;
    well(1)?;
    told("a script fails")?;
    well(0)?;
    told("it succeeds")?;
    daemon.end(Signal::TERM)?;
    // keepalived ends before the mails of its end are sent.
    pause(seconds(8));
    server.take();
    Ok(steps)
}

/// What a script of virtual routers answers.
fn well(code: u8) -> Verdict {
    let path = format!("{FOLDER}/well");
    fs::create_dir_all(FOLDER)
        .and_then(|()| fs::write(&path, format!("#!/bin/sh\nexit {code}\n")))
        .and_then(|()| fs::set_permissions(&path, fs::Permissions::from_mode(0o755)))
        .map_err(|e| e.to_string())
}

/// What stands around subject and body; the server is found by its name.
fn headers(lab: &Lab, site: &mut Site, server: &MailServer) -> Verdict {
    lab.step("headers and envelope, by a server's name");
    let hosts = fs::read_to_string("/etc/hosts").unwrap_or_default();
    fs::write("/etc/hosts", format!("{hosts}\n10.1.0.29 mx.lab\n")).map_err(|e| e.to_string())?;
    let conf = CONF.replace("smtp_server 10.1.0.29", "smtp_server mx.lab 25").replace("    smtp_alert\n", "");
    let daemon = Daemon::lvsd(lab, &site.director, &conf)?;
    site.web("rs1")?.set_health_status(500);
    let mails = server.exactly("rs1 is ill", 1, seconds(10))?;
    let mail = mails.first().ok_or("no mail")?;
    let header = |name: &str| mail.header(name).unwrap_or_default();
    same("From", &header("From").as_str(), &"lvs@example.org")?;
    same("To", &header("To").as_str(), &"ops@example.org, Duty <duty@example.org>")?;
    same("why", &header("X-LVSD-Cause").as_str(), &"HTTP_GET: status 500, wanted 200")?;
    same("Auto-Submitted", &header("Auto-Submitted").as_str(), &"auto-generated")?;
    claim(header("Message-ID").ends_with("@example.org>"), || header("Message-ID"))?;
    claim(header("Date").ends_with(" +0000"), || header("Date"))?;
    same("hello", &mail.hello.as_str(), &"EHLO lb1.example.org")?;
    let envelope = ["MAIL FROM:<lvs@example.org>", "RCPT TO:<ops@example.org>", "RCPT TO:<duty@example.org>"];
    same("envelope", &mail.envelope, &envelope.map(str::to_owned).to_vec())?;
    site.web("rs1")?.set_health_status(200);
    server.exactly("rs1 is well", 1, seconds(2))?;
    let counts = |status: &serde_json::Value| {
        let mail = status.get("mail").cloned().unwrap_or_default();
        ["sent", "failed", "dropped", "waiting"]
            .map(|name| mail.get(name).and_then(serde_json::Value::as_u64))
    };
    same("what the status counts", &counts(&status(&site.director)?), &[Some(2), Some(0), Some(0), Some(0)])?;
    daemon.end(Signal::TERM)
}

/// What changes at the end is told by a last mail.
fn mails_at_the_stop(lab: &Lab, site: &Site, server: &MailServer) -> Verdict {
    lab.step("the end is told");
    let daemon = Daemon::lvsd(lab, &site.director, CONF)?;
    pause(seconds(8));
    server.take();
    daemon.end(Signal::TERM)?;
    let mails = server.take();
    claim(mails.len() <= 2, || format!("the first change, and all others: {mails:#?}"))?;
    let text = mails.iter().map(Mail::text).collect::<String>();
    for words in [
        "VRRP Instance VI_1 - Entering STOP state",
        "VRRP Instance VI_2 - Entering STOP state",
        "Virtualserver [10.1.0.100]:tcp:81 - DOWN",
        "=> Shutting down <=",
    ] {
        claim(text.contains(words), || format!("the last mail says {words:?}: {text}"))?;
    }
    Ok(())
}

/// No server listens: mails wait, and are sent once one does.
fn dead(lab: &Lab, site: &mut Site, server: &mut MailServer) -> Verdict {
    lab.step("a dead mail server");
    let director = site.director.clone();
    let file = configure(lab, &director, CONF)?;
    let mut daemon = Daemon::start_lvsd(lab, &director, &file, &run_dir(&director), &["--metrics", METRICS])?;
    pause(seconds(8));
    server.take();
    server.stop();
    site.web("rs1")?.set_health_status(500);
    daemon.wait_log("mails: 10.1.0.29:25: Connection refused", seconds(20))?;
    let seen = status(&site.director)?;
    let error = seen.pointer("/mail/last_error").and_then(serde_json::Value::as_str).unwrap_or_default();
    claim(error.contains("does a mail server listen there"), || format!("{seen:#}"))?;
    site.web("rs1")?.set_health_status(200);
    wait_for("four changes wait", seconds(20), || {
        let seen = status(&site.director)?;
        if seen.pointer("/mail/waiting") == Some(&4.into()) { Ok(()) } else { Err(format!("{seen:#}")) }
    })?;
    let scrape = Scrape::of(&director, METRICS)?;
    let metrics = ["lvsd_mail_failing", "lvsd_mail_changes_waiting"].map(|name| scrape.value(name, &[]));
    same("metrics", &metrics, &[Ok(1.0), Ok(4.0)])?;
    let text = lvsd(&director, &["status", "--control", &control(&run_dir(&director))])?.stdout;
    claim(text.contains("mails NOT TAKEN by 10.1.0.29:25: ") && text.contains(", 4 wait\n"), || {
        text.clone()
    })?;
    server.resume()?;
    let mails = server.exactly("when it is back", 4, seconds(10))?;
    let last = mails.last().map(Mail::text).unwrap_or_default();
    claim(last.contains("Virtualserver [web]:0 - UP"), || format!("in order: {last}"))?;
    daemon.wait_log("mails: accepted again", seconds(5))?;
    let scrape = Scrape::of(&director, METRICS)?;
    same("failing", &scrape.value("lvsd_mail_failing", &[]), &Ok(0.0))?;
    let failed = scrape.value("lvsd_mail_changes_total", &[("result", "failed")]);
    same("changes that were not told", &failed, &Ok(0.0))?;
    daemon.end(Signal::TERM)?;
    server.take();
    Ok(())
}

/// It accepts and says nothing: nothing else waits for it.
fn hanging(lab: &Lab, site: &mut Site, server: &MailServer) -> Verdict {
    lab.step("a mail server that hangs");
    let mut daemon = Daemon::lvsd(lab, &site.director, CONF)?;
    pause(seconds(8));
    server.take();
    server.set_behaviour(Behaviour::Hangs);
    let begun = Instant::now();
    site.web("rs1")?.set_health_status(500);
    site.wait_for_serving(&["10.1.0.22:80"])?;
    well(1)?;
    daemon.wait_log("VI_1 (VRID 51): Master -> Fault", seconds(5))?;
    daemon.reload()?;
    daemon.wait_log("is in force", seconds(5))?;
    claim(begun.elapsed() < seconds(10), || format!("nothing waits for it: {:?}", begun.elapsed()))?;
    daemon.wait_log("took longer than 60 s", seconds(100))?;
    let end = Instant::now();
    daemon.end(Signal::TERM)?;
    let took = end.elapsed();
    claim(took < seconds(5), || format!("the end waits two seconds for it, not {took:?}"))?;
    server.set_behaviour(Behaviour::Well);
    well(0)?;
    site.web("rs1")?.set_health_status(200);
    pause(seconds(5));
    server.take();
    Ok(())
}

/// One recipient is refused, then all are.
fn refusing(lab: &Lab, site: &mut Site, server: &MailServer) -> Verdict {
    lab.step("a mail server that refuses");
    let mut daemon = Daemon::lvsd(lab, &site.director, CONF)?;
    pause(seconds(8));
    server.take();
    server.set_behaviour(Behaviour::Says("RCPT", "550 5.1.1 no such\tuser".to_owned()));
    site.web("rs1")?.set_health_status(500);
    daemon.wait_log(
        "mails: 10.1.0.29:25 refuses the recipient ops@example.org: 550 5.1.1 no such user: its log says more",
        seconds(20),
    )?;
    let mut endless = "250-on and on\r\n".repeat(9000);
    endless.push_str("250 and on");
    server.set_behaviour(Behaviour::Says("MAIL", endless));
    site.web("rs1")?.set_health_status(200);
    daemon.wait_log("mails: 10.1.0.29:25 breaks off: it answers without end", seconds(20))?;
    server.set_behaviour(Behaviour::Says("MAIL", "530 5.7.0 Must issue a STARTTLS command first".to_owned()));
    daemon
        .wait_log("530 5.7.0 Must issue a STARTTLS command first: it wants TLS or a password", seconds(60))?;
    server.set_behaviour(Behaviour::Well);
    daemon.end(Signal::TERM)?;
    server.take();
    Ok(())
}

/// Hundreds of changes at once are few mails, which list them all.
fn storm(lab: &Lab, site: &mut Site, server: &MailServer) -> Verdict {
    const SERVERS: usize = 150;
    lab.step("a storm");
    let mut conf = String::from(
        "global_defs {\n notification_email {\n ops@example.org\n }\n smtp_server 10.1.0.29\n smtp_alert\n}\n",
    );
    for port in 1000..1000 + SERVERS {
        let _ = writeln!(
            conf,
            "virtual_server 10.1.0.100 {port} {{\n delay_loop 1\n lb_algo rr\n lb_kind NAT\n protocol TCP\n \
             real_server 10.1.0.21 80 {{\n TCP_CHECK {{\n connect_timeout 1\n retry 0\n }}\n }}\n}}"
        );
    }
    configure(lab, &site.director, &conf)?;
    let daemon = Daemon::lvsd(lab, &site.director, &conf)?;
    pause(seconds(60));
    server.take();
    site.web("rs1")?.stop();
    pause(Duration::from_secs(60));
    let mails = server.take();
    let text = mails.iter().map(Mail::text).collect::<String>();
    claim(mails.len() < 20, || format!("few mails, not {}", mails.len()))?;
    same("servers told of", &text.matches("Realserver [10.1.0.21]:tcp:80").count(), &SERVERS)?;
    same("virtual servers told of", &text.matches("Virtualserver [10.1.0.100]").count(), &SERVERS)?;
    let subjects: Vec<_> = mails.iter().filter_map(|m| m.header("Subject")).collect();
    lab.note(format!(
        "{} changes by {} mails, the last: {}",
        SERVERS * 2,
        mails.len(),
        subjects.last().map_or("", |s| s)
    ));
    site.web("rs1")?.resume()?;
    daemon.end(Signal::TERM)
}
