//! Everything that can stop a check, one after the other: what stops clients' packets as well takes the real server out,
//! what stops only the check holds its verdict and says so. keepalived runs on the other director with the same faults:
//! it keeps a real server in service behind a prohibit or blackhole route, and its clients fail.

use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, prlimit};

use crate::lab::client::hits;
use crate::lab::daemon::Daemon;
use crate::lab::host::Host;
use crate::lab::judge;
use crate::lab::topology::{VIP, batch};
use crate::lab::wait::{pause, seconds, wait_for};
use crate::lab::web::Web;
use crate::lab::{Lab, Verdict, claim};

/// keepalived's VIP.
const OTHER_VIP: &str = "10.1.0.101";

/// What a fault does to the check of the real server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wanted {
    /// It is taken out, with these words.
    Down(&'static str),
    /// It cannot be asked, with these words; its verdict is held.
    Held(&'static str),
    /// The check passes.
    Well,
}
use Wanted::{Down, Held, Well};

const SILENCE: &str = "no answer within 4 s";

pub(super) fn run(lab: &mut Lab) -> Verdict {
    let site = lab.dr_site()?;
    lab.dr_real_servers(&[OTHER_VIP])?;
    lab.vips_on("d2", &[OTHER_VIP])?;
    // A real server behind the router, for what the network in between answers.
    let far = site.client.clone();
    let _far_web = Web::start(&far)?;
    let mut daemon = Daemon::lvsd(lab, &site.director, &file(VIP))?;
    let other = lab.host("d2")?;
    let keepalived = Daemon::keepalived(lab, &other, &file(OTHER_VIP))?;
    site.wait_for_serving(&["10.1.0.21:80", "10.1.0.22:80"])?;
    let mut table = vec![format!("{:58} {:44} keepalived", "", "lvsd")];

    lab.step("routes of the director's own");
    for (kind, words) in [
        ("blackhole", "blackholed by a route of this host"),
        ("prohibit", "prohibited by a route of this host"),
        ("unreachable", "no route to host"),
        ("throw", "network unreachable"),
    ] {
        for (family, to, real) in FAMILIES {
            let route = |act: &str| format!("route {act} {kind} {to}\n");
            let fault = Fault { real, name: format!("{kind} route to {to}"), wanted: Down(words) };
            both(&site.director, &other, &route("add"))?;
            let beside = fault.judge(&mut daemon, &keepalived, &mut table)?;
            if family == "-4" {
                let (ours, theirs) = requests(&site.client)?;
                claim(ours == 0, || format!("{kind} route: {ours} of 10 of lvsd's clients fail"))?;
                claim((theirs == 0) == beside, || {
                    format!("{kind} route: {theirs} of 10 of keepalived's clients fail")
                })?;
                if let Some(row) = table.last_mut() {
                    row.push_str(&format!("; {theirs} of 10 requests fail"));
                }
            }
            both(&site.director, &other, &route("del"))?;
            fault.mended(&mut daemon, &keepalived)?;
        }
    }

    lab.step("rules of the director's own firewall, and of the router on the way");
    for (family, to, real) in FAMILIES {
        let ip = if family == "-4" { "ip" } else { "ip6" };
        let cases: &[(&str, Wanted)] = if family == "-4" { &REJECTED_V4 } else { &REJECTED_V6 };
        for (verdict, wanted) in cases {
            // The kernel hands an ICMPv6 error of its own on as a soft error: it looks like silence.
            let is_soft = verdict.contains("icmpv6");
            let wanted = if is_soft { &Down("") } else { wanted };
            let rule = format!("{ip} daddr {to} tcp dport 80 {verdict}");
            let hosts = [site.director.clone(), other.clone()];
            let name = format!("output: {ip} {verdict}");
            rules(&hosts, "output", &rule)?;
            let fault = Fault { real, name, wanted: *wanted };
            fault.judge(&mut daemon, &keepalived, &mut table)?;
            clear(&hosts)?;
            fault.mended(&mut daemon, &keepalived)?;
        }
        let (to, real) =
            if family == "-4" { ("10.2.0.2", "10.2.0.2:80") } else { ("fd00:2::2", "[fd00:2::2]:80") };
        for (verdict, wanted) in cases {
            let rule = format!("{ip} daddr {to} tcp dport 80 {verdict}");
            let hosts = [lab.host("r")?];
            let name = format!("on the way: {ip} {verdict}");
            rules(&hosts, "forward", &rule)?;
            let fault = Fault { real, name, wanted: *wanted };
            fault.judge(&mut daemon, &keepalived, &mut table)?;
            clear(&hosts)?;
            fault.mended(&mut daemon, &keepalived)?;
        }
    }
    let hosts = [site.director.clone(), other.clone()];
    rules(&hosts, "forward", "ip daddr 10.1.0.21 drop")?;
    let name = "forward: ip drop".to_owned();
    let fault = Fault { real: "10.1.0.21:80", name, wanted: Well };
    fault.judge(&mut daemon, &keepalived, &mut table)?;
    let (ours, _) = requests(&site.client)?;
    claim(ours == 0, || {
        format!("IPVS passes forward rules by, as the check does, but {ours} of 10 requests fail")
    })?;
    clear(&hosts)?;

    lab.step("a cut cable: no neighbour answers");
    lab.cut("rs1", "eth0")?;
    both(&site.director, &other, "neigh flush dev eth0\n")?;
    let fault = Fault { real: "10.1.0.21:80", name: "cut cable".to_owned(), wanted: Down("") };
    fault.judge(&mut daemon, &keepalived, &mut table)?;
    lab.mend("rs1", "eth0")?;
    fault.mended(&mut daemon, &keepalived)?;

    lab.step("no descriptors: nothing can be asked, and long enough of it is an event");
    let files = Starved::begin(&[daemon.pid()])?;
    let name = "no file descriptors".to_owned();
    let fault = Fault { real: "10.1.0.21:80", name, wanted: Held("no file descriptors left") };
    fault.judge(&mut daemon, &keepalived, &mut table)?;
    files.end()?;
    fault.mended(&mut daemon, &keepalived)?;

    lab.step("a source that this host does not have");
    daemon.wait_log(
        "TCP_CHECK of 10.1.0.23:80 cannot run here, its verdict is held: bindto 10.1.0.77 is not an address of this \
         host",
        seconds(5),
    )?;

    lab.step("the director's own link is down");
    both(&site.director, &other, "link set eth0 down\n")?;
    let fault =
        Fault { real: "10.1.0.21:80", name: "link down".to_owned(), wanted: Down("network unreachable") };
    fault.judge(&mut daemon, &keepalived, &mut table)?;
    table.iter().for_each(|row| lab.note(row));
    drop(keepalived);
    daemon.end(Signal::TERM)
}

/// Family for `ip`, the real server that suffers, as checks and as tables name it.
const FAMILIES: [(&str, &str, &str); 2] =
    [("-4", "10.1.0.21", "10.1.0.21:80"), ("-6", "fd00:1::21", "[fd00:1::21]:80")];

const REJECTED_V4: [(&str, Wanted); 9] = [
    ("drop", Down(SILENCE)),
    ("reject with tcp reset", Down("connection refused")),
    ("reject with icmp type net-unreachable", Down("network unreachable")),
    ("reject with icmp type host-unreachable", Down("no route to host")),
    ("reject with icmp type prot-unreachable", Down("protocol unreachable (ICMP)")),
    ("reject with icmp type port-unreachable", Down("connection refused")),
    ("reject with icmp type net-prohibited", Down("network unreachable")),
    ("reject with icmp type host-prohibited", Down("no route to host")),
    ("reject with icmp type admin-prohibited", Down("no route to host")),
];

const REJECTED_V6: [(&str, Wanted); 6] = [
    ("drop", Down(SILENCE)),
    ("reject with tcp reset", Down("connection refused")),
    ("reject with icmpv6 type no-route", Down("network unreachable")),
    ("reject with icmpv6 type admin-prohibited", Down("administratively prohibited")),
    ("reject with icmpv6 type addr-unreachable", Down("no route to host")),
    ("reject with icmpv6 type port-unreachable", Down("connection refused")),
];

struct Fault {
    real: &'static str,
    name: String,
    wanted: Wanted,
}

impl Fault {
    /// Waits for what lvsd says, notes what keepalived does; whether it took the real server out, too.
    fn judge(
        &self,
        daemon: &mut Daemon,
        keepalived: &Daemon,
        table: &mut Vec<String>,
    ) -> Result<bool, String> {
        let said = match self.wanted {
            Down(words) => wait_for(&format!("{}: out, {words}", self.name), seconds(15), || {
                let last = last_of(daemon, self.real);
                if last.contains(" is down: ") && last.contains(words) { Ok(last.clone()) } else { Err(last) }
            })?,
            Held(words) => wait_for(&format!("{}: held, {words}", self.name), seconds(15), || {
                let last = last_of(daemon, self.real);
                if last.contains("could not be checked for ") && last.contains(words) {
                    Ok(last.clone())
                } else {
                    Err(last)
                }
            })?,
            Well => {
                pause(seconds(8));
                let last = last_of(daemon, self.real);
                claim(!last.contains(" is down: "), || {
                    format!("{}: nothing should happen, but: {last}", self.name)
                })?;
                last
            }
        };
        // It has the same interval.
        pause(seconds(7));
        let is_out = keepalived_state(keepalived, self.real) == Some(false);
        let reason = said.split_once("TCP_CHECK: ").or_else(|| said.split_once("server: "));
        let reason = reason.map_or("", |(_, reason)| reason);
        let verdict = match self.wanted {
            Down(_) => "out",
            Held(_) => "held",
            Well => "well",
        };
        let short: String = reason.chars().take(60).collect();
        table.push(format!(
            "{:58} {verdict:5} {short:60} {}",
            self.name,
            if is_out { "out" } else { "held" }
        ));
        Ok(is_out)
    }

    fn mended(&self, daemon: &mut Daemon, keepalived: &Daemon) -> Verdict {
        wait_for(&format!("{}: mended", self.name), seconds(15), || {
            let last = last_of(daemon, self.real);
            let is_well = last.contains(" is up: ") || last.contains(" runs again");
            if is_well && keepalived_state(keepalived, self.real) != Some(false) { Ok(()) } else { Err(last) }
        })
    }
}

/// The last line of lvsd's log about the health of a real server.
fn last_of(daemon: &Daemon, real: &str) -> String {
    let text = daemon.log_text();
    let subject = format!("{real} ");
    let is_about = |line: &&str| {
        line.contains(&subject)
            && [" is down: ", " is up: ", "could not be checked for", "runs again"]
                .iter()
                .any(|w| line.contains(w))
    };
    text.lines().rfind(is_about).unwrap_or_default().to_owned()
}

/// Whether keepalived's last word on a real server is that its check passes.
fn keepalived_state(daemon: &Daemon, real: &str) -> Option<bool> {
    let address = real.trim_end_matches(":80").trim_matches(['[', ']']);
    let subject = format!("[{address}]:tcp:80 ");
    let text = daemon.log_text();
    let mut verdicts = text.lines().filter(|line| line.contains(&subject)).filter_map(|line| {
        match (line.ends_with("success."), line.ends_with("failed.")) {
            (true, _) => Some(true),
            (_, true) => Some(false),
            _ => None,
        }
    });
    verdicts.next_back()
}

/// How many of ten requests fail, by lvsd and by keepalived.
fn requests(client: &Host) -> Result<(u64, u64), String> {
    let failed = |vip: &str| hits(client, 10, &format!("http://{vip}/")).map(|hits| hits.total_failed());
    Ok((failed(VIP)?, failed(OTHER_VIP)?))
}

fn both(one: &Host, other: &Host, lines: &str) -> Verdict {
    batch(Some(one.name()), lines)?;
    batch(Some(other.name()), lines)
}

fn rules(hosts: &[Host], hook: &str, rule: &str) -> Verdict {
    let ruleset =
        format!("table inet check {{ chain {hook} {{ type filter hook {hook} priority 0; {rule}; }}; }}");
    hosts.iter().try_for_each(|host| judge::output(host, &["nft", &ruleset]).map(drop))
}

fn clear(hosts: &[Host]) -> Verdict {
    hosts.iter().try_for_each(|host| judge::output(host, &["nft", "delete table inet check"]).map(drop))
}

/// A process that can open nothing more.
struct Starved(Vec<(Pid, Rlimit)>);

impl Starved {
    fn begin(pids: &[u32]) -> Result<Starved, String> {
        let mut before = Vec::new();
        for id in pids {
            let pid = Pid::from_raw(id.cast_signed()).ok_or("no process id")?;
            // How many are open changes by itself; what is open stays.
            let none_left = Rlimit { current: Some(3), ..getrlimit(Resource::Nofile) };
            let was = prlimit(Some(pid), Resource::Nofile, none_left).map_err(|e| format!("prlimit: {e}"))?;
            before.push((pid, was));
        }
        Ok(Starved(before))
    }

    fn end(self) -> Verdict {
        self.0.into_iter().try_for_each(|(pid, was)| {
            prlimit(Some(pid), Resource::Nofile, was).map(drop).map_err(|e| format!("prlimit: {e}"))
        })
    }
}

/// Two real servers beside the director and one behind the router, by DR and NAT, in both families; one more is asked
/// from an address that this host does not have.
fn file(vip: &str) -> String {
    let check = |more: &str| {
        format!("TCP_CHECK {{\nconnect_timeout 4\nretry 0\ndelay_before_retry 1\nwarmup 0\n{more}}}\n")
    };
    let real = |ip: &str, more: &str| format!("real_server {ip} 80 {{\nweight 1\n{}}}\n", check(more));
    let server = |vip: &str, port: u16, kind: &str, reals: &str| {
        format!(
            "virtual_server {vip} {port} {{\ndelay_loop 1\nlb_algo rr\nlb_kind {kind}\nprotocol TCP\n{reals}}}\n"
        )
    };
    let vip6 = if vip == VIP { "fd00:1::100" } else { "fd00:1::101" };
    [
        server(vip, 80, "DR", &[real("10.1.0.21", ""), real("10.1.0.22", "")].concat()),
        server(vip6, 80, "DR", &[real("fd00:1::21", ""), real("fd00:1::22", "")].concat()),
        server(vip, 81, "NAT", &real("10.2.0.2", "")),
        server(vip6, 81, "NAT", &real("fd00:2::2", "")),
        server(vip, 82, "NAT", &real("10.1.0.23", "bindto 10.1.0.77\n")),
    ]
    .concat()
}
