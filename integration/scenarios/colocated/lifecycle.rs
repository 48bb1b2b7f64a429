//! What else may happen to a pair under lvsd; at every point all requests succeed.

use rustix::process::Signal;

use super::pair::{BY_ADDRESS, Director, Pair, VIP, by_script, is_marked};
use crate::lab::daemon::{Daemon, configure, control, lvsd, run_dir, status};
use crate::lab::host::Host;
use crate::lab::table::Table;
use crate::lab::topology::batch;
use crate::lab::wait::{seconds, wait_for};
use crate::lab::{Lab, Verdict, claim, judge, same};

const LVSD: Director = Director::Script;

/// Started and killed in any order, with the VIP on either node: all requests succeed.
pub(super) fn orders_of_start(lab: &Lab, pair: &Pair) -> Verdict {
    for (master, first, second) in
        [(&pair.a, &pair.a, &pair.b), (&pair.a, &pair.b, &pair.a), (&pair.b, &pair.a, &pair.b)]
    {
        let when = |what: &str| format!("{} is master, {what}", master.name());
        pair.bare()?;
        LVSD.vip_to(pair, master)?;
        pair.all_is_well(lab, &when("no director runs"))?;
        let one = LVSD.start(lab, first)?;
        LVSD.wait_until_whole(&[first])?;
        pair.all_is_well(lab, &when(&format!("{} alone directs", first.name())))?;
        let two = LVSD.start(lab, second)?;
        LVSD.wait_until_whole(&[first, second])?;
        pair.all_is_well(lab, &when("both direct"))?;
        one.kill()?;
        pair.all_is_well(lab, &when(&format!("kill -9 of {}", first.name())))?;
        two.kill()?;
        pair.all_is_well(lab, &when("kill -9 of both"))?;
        let other = if master.name() == "a" { &pair.b } else { &pair.a };
        LVSD.vip_to(pair, other)?;
        pair.all_is_well(lab, &when("then no longer, both still dead"))?;
        for host in [&pair.a, &pair.b] {
            LVSD.start(lab, host)?.end(Signal::TERM)?;
        }
    }
    Ok(())
}

/// What a keepalived that was killed left in the kernel makes room for lvsd's, make before break.
pub(super) fn change_over(lab: &Lab, pair: &Pair) -> Verdict {
    pair.bare()?;
    LVSD.vip_to(pair, &pair.a)?;
    let left = format!(
        "-A {BY_ADDRESS} -s wrr\n-a {BY_ADDRESS} -r 192.168.1.129:80 -g -w 1\n\
         -a {BY_ADDRESS} -r 192.168.1.131:80 -g -w 1\n"
    );
    for host in [&pair.a, &pair.b] {
        host.enter(|| judge::run_with_input(&["ipvsadm", "-R"], &left))?;
    }
    lab.step("what was left by address goes");
    let plan = planned(lab, &pair.a)?;
    claim(plan.contains("192.168.1.233:80 tcp by mark 0x6c76"), || plan.clone())?;
    let daemons = [LVSD.start(lab, &pair.a)?, LVSD.start(lab, &pair.b)?];
    LVSD.wait_until_whole(&[&pair.a, &pair.b])?;
    pair.all_is_well(lab, "during the change-over")?;
    for host in [&pair.a, &pair.b] {
        // The kernel remembers closed connections for two minutes.
        wait_for("the service by address is gone", seconds(310), || {
            let table = Table::read(host)?;
            if table.0.contains_key(BY_ADDRESS) { Err(table.to_string()) } else { Ok(()) }
        })?;
    }
    pair.all_is_well(lab, "after the change-over")?;
    let plan = planned(lab, &pair.a)?;
    claim(plan.contains("nothing to change"), || plan.clone())?;
    daemons.into_iter().try_for_each(|daemon| daemon.end(Signal::TERM))
}

/// Recreated links, a new MAC address of the peer, removed filters: put right.
pub(super) fn network_changes(lab: &Lab, pair: &Pair) -> Verdict {
    pair.bare()?;
    LVSD.vip_to(pair, &pair.a)?;
    let daemons = [LVSD.start(lab, &pair.a)?, LVSD.start(lab, &pair.b)?];
    LVSD.wait_until_whole(&[&pair.a, &pair.b])?;
    judge::output(
        &pair.a,
        &[
            "tc", "filter", "add", "dev", "eth0", "ingress", "prio", "9", "protocol", "ip", "flower",
            "dst_ip", "10.9.9.9", "action", "drop",
        ],
    )?;

    lab.step("the peer gets another network card");
    batch(Some("a"), "link set eth0 down\nlink set eth0 address 02:00:00:00:00:aa\nlink set eth0 up\n")?;
    LVSD.vip_to(pair, &pair.a)?;
    wait_for("b knows it", seconds(20), || shows(&pair.b, "src_mac 02:00:00:00:00:aa"))?;
    pair.all_is_well(lab, "another card")?;

    lab.step("all filters are removed");
    judge::output(&pair.b, &["tc", "qdisc", "del", "dev", "eth0", "clsact"])?;
    wait_for("they are back", seconds(20), || shows(&pair.b, "src_mac 02:00:00:00:00:aa"))?;
    pair.all_is_well(lab, "filters are back")?;

    lab.step("a link is made anew");
    let cable = "link add b-eth0 netns sw type veth peer name eth0 netns b\n";
    batch(Some("b"), "link del eth0\n")?;
    batch(None, cable)?;
    batch(Some("sw"), "link set b-eth0 master lan up\n")?;
    batch(Some("b"), "link set eth0 up\naddr add 192.168.1.131/24 dev eth0\n")?;
    wait_for("its filter is there", seconds(20), || shows(&pair.b, "src_mac 02:00:00:00:00:aa"))?;
    wait_for("b is whole", seconds(60), || is_marked(&pair.b))?;
    wait_for("a is whole", seconds(60), || is_marked(&pair.a))?;
    pair.all_is_well(lab, "a link made anew")?;

    lab.step("what an operator sees");
    let status = lvsd(&pair.a, &["status", "--control", &control(&run_dir(&pair.a))])?.stdout;
    let what = "this host is one of its real servers (192.168.1.129:80): its packets get mark 0x6c76";
    claim(status.contains("192.168.1.233:80 tcp wrr") && status.contains(what), || status.clone())?;
    let file = configure(lab, &pair.a, by_script(&pair.a))?.display().to_string();
    let check = lvsd(&pair.a, &["check", "-c", &file])?.stdout;
    claim(check.contains(&format!("note: virtual server {VIP}:80 tcp: {what}")), || check.clone())?;
    daemons.into_iter().try_for_each(|daemon| daemon.end(Signal::TERM))?;
    lab.step("a stop takes ours away and leaves others'");
    shows(&pair.a, "10.9.9.9")?;
    shows_not(&pair.a, "skbedit")?;
    judge::output(&pair.a, &["tc", "qdisc", "del", "dev", "eth0", "clsact"]).map(drop)
}

/// A hand-over leaves everything, a stop nothing.
pub(super) fn ends(lab: &Lab, pair: &Pair) -> Verdict {
    pair.bare()?;
    LVSD.vip_to(pair, &pair.a)?;
    let [a, b] = [LVSD.start(lab, &pair.a)?, LVSD.start(lab, &pair.b)?];
    LVSD.wait_until_whole(&[&pair.a, &pair.b])?;
    let before = (Table::read(&pair.a)?, filters(&pair.a)?);
    a.hand_over()?;
    same("after a hand-over", &(Table::read(&pair.a)?, filters(&pair.a)?), &before)?;
    pair.all_is_well(lab, "handed over without a successor")?;
    let a = LVSD.start(lab, &pair.a)?;
    LVSD.wait_until_whole(&[&pair.a])?;
    same("adopted", &(Table::read(&pair.a)?, filters(&pair.a)?), &before)?;
    a.end(Signal::TERM)?;
    b.end(Signal::TERM)?;
    for host in [&pair.a, &pair.b] {
        same("services left", &Table::read(host)?, &Table::default())?;
        same("filters left", &filters(host)?, &String::new())?;
        let qdiscs = judge::output(host, &["tc", "qdisc", "show", "dev", "eth0"])?;
        claim(!qdiscs.contains("clsact"), || qdiscs.clone())?;
    }
    pair.all_is_well(lab, "no director runs any more")
}

/// IPv6, and a tunnel: what comes out of it was never marked.
pub(super) fn families_and_tunnels(lab: &Lab, pair: &Pair) -> Verdict {
    pair.bare()?;
    judge::modprobe(&["ipip"])?;
    for host in ["a", "b"] {
        batch(
            Some(host),
            "addr add fd00::233/128 dev lo nodad\naddr add 192.168.1.234/32 dev lo\nlink set tunl0 up\n",
        )?;
    }
    let conf = include_str!("families.conf");
    let mut daemons = vec![Daemon::lvsd(lab, &pair.a, conf)?, Daemon::lvsd(lab, &pair.b, conf)?];
    for (master, other) in [("a", "b"), ("b", "a")] {
        let vips = ["192.168.1.234/32 dev eth0", "fd00::233/128 dev eth0 nodad preferred_lft 0"];
        batch(Some(master), &vips.map(|vip| format!("addr add {vip}\n")).concat())?;
        batch(Some("c"), "neigh flush all\n")?;
        LVSD.wait_until_whole(&[&pair.a, &pair.b])?;
        for host in [&pair.a, &pair.b] {
            path_checks_pass(host)?;
        }
        for (what, url) in [("IPv6", "http://[fd00::233]/"), ("TUN", "http://192.168.1.234/")] {
            let round = pair.ask(&pair.client, url, 10)?;
            round.judge(lab, &format!("{what}, {master} is master: requests of a client"))?;
            claim(round.answered.len() == 2, || format!("{what}: not both serve: {round}"))?;
            for host in [&pair.a, &pair.b] {
                let round = pair.ask(host, url, 4)?;
                round.judge(lab, &format!("{what}, {master} is master: requests of {}", host.name()))?;
            }
        }
        batch(Some(master), "addr del 192.168.1.234/32 dev eth0\naddr del fd00::233/128 dev eth0\n")?;
        if let (true, Some(daemon)) = (other == "b", daemons.pop()) {
            lab.step("kill -9 of b");
            daemon.kill()?;
            daemons.push(Daemon::lvsd(lab, &pair.b, conf)?);
        }
    }
    daemons.into_iter().try_for_each(|daemon| daemon.end(Signal::TERM))
}

/// Each asks the other through the VIP, and itself it does not.
fn path_checks_pass(host: &Host) -> Verdict {
    wait_for(&format!("{} finds the ways good", host.name()), seconds(20), || {
        let status = status(host)?;
        let servers =
            status.pointer("/director/virtual_servers").and_then(|all| all.as_array()).ok_or("no servers")?;
        let reals = servers.iter().filter_map(|server| server.get("real_servers")?.as_array()).flatten();
        let words: Vec<&str> = reals.filter_map(|real| real.pointer("/path/words")?.as_str()).collect();
        let of = |end: &str| words.iter().filter(|words| words.ends_with(end)).count();
        let is_so = (of("not checked: it is this host"), of(" answers there")) == (2, 2);
        if is_so { Ok(()) } else { Err(format!("{words:?}")) }
    })
}

fn planned(lab: &Lab, host: &Host) -> Result<String, String> {
    let file = configure(lab, host, by_script(host))?.display().to_string();
    let run_dir = run_dir(host);
    let done = lvsd(host, &["plan", "-c", &file, "--run-dir", &run_dir, "--control", &control(&run_dir)])?;
    Ok(done.stdout + &done.stderr)
}

fn filters(host: &Host) -> Result<String, String> {
    judge::output(host, &["tc", "filter", "show", "dev", "eth0", "ingress"])
}

fn shows(host: &Host, words: &str) -> Verdict {
    let shown = filters(host)?;
    if shown.contains(words) { Ok(()) } else { Err(shown) }
}

fn shows_not(host: &Host, words: &str) -> Verdict {
    let shown = filters(host)?;
    claim(!shown.contains(words), || shown.clone())
}
