//! SSL_GET against Debian's nginx: the digest is the one keepalived's genhash prints, sessions are resumed (nginx
//! says so), a certificate near its end is reported once and stays valid, its end is in status and metrics, and a
//! server with a wrong certificate, an old version, old ciphers or another page goes, with the reason in the status,
//! and returns when it is well again.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustix::process::Signal;

use crate::lab::daemon::{Daemon, configure, control, lvsd, run_dir, status};
use crate::lab::host::Host;
use crate::lab::judge;
use crate::lab::prometheus::Scrape;
use crate::lab::table::Table;
use crate::lab::wait::{seconds, wait_for};
use crate::lab::{Lab, Verdict, claim, same};

const METRICS: &str = "10.1.0.11:9100";
const SERVICE: &str = "-t 10.1.0.100:443";
/// The name that certificates are for.
pub(super) const NAME: &str = "www.lab.example";
const DAY: Duration = Duration::from_secs(86_400);
const ALL: [&str; 3] = ["10.1.0.21:443", "10.1.0.22:443", "10.1.0.23:443"];

/// What nginx speaks when it is well.
const WELL: &str = "ssl_protocols TLSv1.2 TLSv1.3;";

pub(super) fn run(lab: &mut Lab) -> Verdict {
    let site = lab.dr_site()?;
    let ours = Authority::new(lab, "authority")?;
    let theirs = Authority::new(lab, "stranger")?;
    let mut servers = Vec::new();
    for (name, days) in [("rs1", 90), ("rs2", 10), ("rs3", 90)] {
        ours.issue(lab, name, days)?;
        servers.push(nginx(lab, &lab.host(name)?, name, WELL, "a page")?);
    }
    theirs.issue(lab, "wrong", 90)?;

    lab.step("keepalived's genhash says the digest");
    let said = judge::output(
        &site.director,
        &["keepalived", "--genhash", "-s", "10.1.0.21", "-p", "443", "-S", "-u", "/page"],
    )?;
    let digest = said.trim();
    same("a digest of 32 digits", &digest.len(), &32)?;

    lab.step("all are checked and serve");
    let configuration = include_str!("keepalived.conf").replace("DIGEST", digest);
    let director = &site.director;
    let file = configure(lab, director, &configuration)?;
    let daemon = Daemon::start_lvsd(lab, director, &file, &run_dir(director), &["--metrics", METRICS])?;
    wait_for_serving(&site.director, &ALL)?;
    let page = judge::output(
        &site.client,
        &[
            "curl",
            "-sS",
            "-m",
            "5",
            "-k",
            "--resolve",
            "www.lab.example:443:10.1.0.100",
            "https://www.lab.example/page",
        ],
    )?;
    same("the page by the VIP", &page.as_str(), &"a page\n")?;

    lab.step("sessions are resumed");
    let log = lab.out().join("rs3.tls.log");
    wait_for("nginx says that sessions are resumed", seconds(20), || {
        let text = fs::read_to_string(&log).unwrap_or_default();
        let resumed = text.lines().filter(|line| *line == "TLSv1.3 r KeepAliveClient").count();
        if resumed >= 6 { Ok(()) } else { Err(text) }
    })?;
    let text = fs::read_to_string(&log).unwrap_or_default();
    same("full handshakes", &text.lines().filter(|line| *line == "TLSv1.3 . KeepAliveClient").count(), &1)?;

    lab.step("a certificate near its end was told once");
    let told = |daemon: &Daemon| daemon.log_text().matches("certificate expires in 9 days").count();
    same("events", &told(&daemon), &1)?;

    lab.step("when the certificates end is in the status, the metrics and `why`");
    ends(&site.director)?;

    for (what, certificate, speaks, page, reason) in [
        ("another authority", "wrong", WELL, "a page", "certificate is of no trusted authority"),
        (
            "only TLS 1.1",
            "rs1",
            "ssl_protocols TLSv1 TLSv1.1; ssl_ciphers ALL:@SECLEVEL=0;",
            "a page",
            "offers only protocol versions that are too old",
        ),
        (
            "only old ciphers",
            "rs1",
            "ssl_protocols TLSv1.2; ssl_ciphers ECDHE-ECDSA-AES128-SHA256;",
            "a page",
            "offers only protocol versions or ciphers that lvsd does not speak",
        ),
        ("another page", "rs1", WELL, "another page", "/page: digest "),
    ] {
        lab.step(what);
        let host = lab.host("rs1")?;
        servers.remove(0).end(Signal::TERM)?;
        servers.insert(0, nginx(lab, &host, certificate, speaks, page)?);
        wait_for_serving(&site.director, &ALL[1..])?;
        wait_for(&format!("the status says {reason:?}"), seconds(10), || {
            let said = status(&site.director)?.to_string();
            if said.contains(reason) { Ok(()) } else { Err(said) }
        })?;
        servers.remove(0).end(Signal::TERM)?;
        servers.insert(0, nginx(lab, &host, "rs1", WELL, "a page")?);
        wait_for_serving(&site.director, &ALL)?;
    }
    same("events", &told(&daemon), &1)?;
    claim(!daemon.log_text().contains("panicked"), || "no panic".to_owned())?;
    daemon.end(Signal::TERM)
}

/// The end of rs2's certificate, ten days after this scenario began, as the log, status and metrics show it.
fn ends(director: &Host) -> Verdict {
    let told = status(director)?;
    let found = told.pointer("/director/virtual_servers/0/real_servers/1/certificates/0");
    same("whose it is", &found.and_then(|c| c.pointer("/target")), &Some(&ALL[1].into()))?;
    let end = found.and_then(|c| c.pointer("/not_after")?.as_u64()).ok_or_else(|| told.to_string())?;
    let wanted = (lvsd::internals::daemon::unix_now() + DAY * 10).as_secs();
    claim(end < wanted && end > wanted - 3600, || {
        format!("rs2's certificate ends at {end}, about {wanted}")
    })?;
    let scrape = Scrape::of(director, METRICS)?;
    let labels = [("real_server", ALL[1]), ("target", ALL[1])];
    let family = "lvsd_real_server_certificate_not_after_seconds";
    same("the metric", &scrape.value(family, &labels)?.to_string(), &end.to_string())?;
    let date = judge::output(director, &["date", "-u", "-d", &format!("@{end}"), "+%F %T UTC"])?;
    let (moment, day) = (date.trim(), date.get(..10).unwrap_or_default());
    for (command, words) in [(&["status"][..], day), (&["why", ALL[1]], moment)] {
        let control = control(&run_dir(director));
        let said = lvsd(director, &[command, &["--control", &control]].concat())?.stdout;
        claim(said.contains(&format!("certificate until {words}")), || {
            format!("{command:?} says {words}: {said}")
        })?;
    }
    Ok(())
}

fn wait_for_serving(director: &Host, want: &[&str]) -> Verdict {
    wait_for(&format!("the VIP is served by {want:?}"), seconds(20), || {
        let table = Table::read(director)?;
        if table.serving(SERVICE) == want { Ok(()) } else { Err(table.to_string()) }
    })
}

/// nginx with TLS on 443, with one of the certificates that were written; its log says of each request which
/// version it came by, and whether the session was resumed.
fn nginx(lab: &Lab, host: &Host, certificate: &str, speaks: &str, page: &str) -> Result<Daemon, String> {
    let (dir, name) = (lab.out().display().to_string(), host.name());
    let http = format!(
        "log_format tls '$ssl_protocol $ssl_session_reused $http_user_agent'; access_log {dir}/{name}.tls.log tls;\n\
         server {{ listen 443 ssl; {speaks}\n\
         ssl_certificate {dir}/{certificate}.pem; ssl_certificate_key {dir}/{certificate}.key;\n\
         location /page {{ return 200 \"{page}\\n\"; }}\n\
         location / {{ return 200 \"nginx {name}\\n\"; }} }}"
    );
    Daemon::nginx_with(lab, host, &http)
}

/// An authority; its certificate is NAME.pem.
pub(super) struct Authority {
    params: CertificateParams,
    key: KeyPair,
}

impl Authority {
    pub(super) fn new(lab: &Lab, name: &str) -> Result<Authority, String> {
        let key = KeyPair::generate().map_err(in_words)?;
        let mut params = valid(CertificateParams::default(), 365);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        let certificate = params.self_signed(&key).map_err(in_words)?;
        lab.write(&format!("{name}.pem"), &certificate.pem())?;
        Ok(Authority { params, key })
    }

    /// Writes NAME.pem and NAME.key, for the site's name.
    pub(super) fn issue(&self, lab: &Lab, name: &str, days: u32) -> Result<PathBuf, String> {
        let key = KeyPair::generate().map_err(in_words)?;
        let params = valid(CertificateParams::new(vec![NAME.to_owned()]).map_err(in_words)?, days);
        let issuer = Issuer::from_params(&self.params, &self.key);
        let certificate = params.signed_by(&key, &issuer).map_err(in_words)?;
        lab.write(&format!("{name}.pem"), &certificate.pem())?;
        lab.write(&format!("{name}.key"), &key.serialize_pem())
    }
}

/// Valid from yesterday on, for so many days from now.
fn valid(mut params: CertificateParams, days: u32) -> CertificateParams {
    let now = rcgen::date_time_ymd(1970, 1, 1) + lvsd::internals::daemon::unix_now();
    params.not_before = now - DAY;
    params.not_after = now + DAY * days;
    params
}

fn in_words(error: rcgen::Error) -> String {
    format!("a certificate: {error}")
}
