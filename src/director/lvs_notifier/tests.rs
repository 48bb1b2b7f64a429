use std::sync::Arc;

use super::*;
use crate::check::outcome::Outcome;
use crate::check::outcome::Phase;
use crate::config::{Config, ServerNotices, SorryServer};
use crate::director::Director;
use crate::director::io::{Effect, Input};
use crate::director::sim::scenarios::{real_server, tcp_server};
use crate::director::state::State;
use crate::ipvs::types::Forwarding;
use crate::script::Command;
use crate::time::Instant;

fn commands(name: &str) -> Option<Arc<UpDown>> {
    let command = |end: &str| {
        Some(Command { words: vec![format!("/{name}"), end.to_owned()], user: None, group: None })
    };
    Some(Arc::new(UpDown { up: command("up"), down: command("down") }))
}

fn server(group: Option<&str>, last: u8) -> VirtualServer {
    let mut server = tcp_server();
    server.id = match server.id {
        VirtualServerId::Address { protocol, port, .. } => {
            VirtualServerId::Address { protocol, address: [10, 0, 0, last].into(), port }
        }
        other => other,
    };
    server.real_servers = vec![real_server(1), real_server(2)];
    server.quorum = 2;
    for real in &mut server.real_servers {
        Arc::make_mut(real).commands = commands("rs");
    }
    server.notices = ServerNotices {
        commands: commands("vs"),
        group: group.map(Arc::from),
        is_told_at_stop: last == 1,
        is_mailed: false,
    };
    server
}

struct Site {
    director: Director,
    now: Instant,
}

impl Site {
    fn new(servers: Vec<VirtualServer>, global: Global) -> Site {
        let config = Arc::new(Config { global, virtual_servers: servers, ..Config::default() });
        Site { director: Director::new(config, State::default(), 1, Instant::ZERO), now: Instant::ZERO }
    }

    fn event(&mut self, event: Event) -> Vec<String> {
        let mut effects = Vec::new();
        self.director.report(event, &mut effects);
        texts(notified(effects))
    }

    fn ready(&mut self) -> Vec<String> {
        self.event(Event::Ready { services: 1, destinations: 2 })
    }

    fn reload(&mut self, config: Config) -> Vec<String> {
        let mut effects = Vec::new();
        self.director.handle(self.now, Input::Reload(Arc::new(config)), &mut effects);
        texts(notified(effects))
    }

    fn stop(&mut self) -> Vec<Notification> {
        let mut effects = Vec::new();
        self.director.notify_stop(&mut effects);
        notified(effects)
    }

    /// All probes of a real server fail until it is down; what is notified.
    fn fail(&mut self, at: &str) -> Vec<String> {
        let mut all = Vec::new();
        for _ in 0..200 {
            self.now = self.now + std::time::Duration::from_millis(500);
            let mut effects = Vec::new();
            self.director.handle(self.now, Input::Wake, &mut effects);
            let mut next = 0;
            while next < effects.len() {
                if let Effect::StartProbe { run, spec, .. } = &effects[next] {
                    let outcome = if spec.target.address.to_string() == at {
                        Outcome::fail(Phase::Done, "refused".to_owned())
                    } else {
                        Outcome::pass("connected".to_owned())
                    };
                    let done = Input::ProbeDone { run: *run, outcome };
                    self.director.handle(self.now, done, &mut effects);
                }
                next += 1;
            }
            all.extend(texts(notified(effects)));
        }
        all
    }
}

fn notified(effects: Vec<Effect>) -> Vec<Notification> {
    let notification = |effect| match effect {
        Effect::Notify(notification) => Some(*notification),
        _ => None,
    };
    effects.into_iter().filter_map(notification).collect()
}

/// Commands and line of each.
fn texts(notifications: Vec<Notification>) -> Vec<String> {
    let text = |notification: Notification| {
        let commands = notification.scripts.iter().map(|c| c.words.join(" "));
        let line = notification.line.map(|l| String::from_utf8(l.bytes).unwrap());
        commands.chain(line).collect::<Vec<_>>().join(" | ")
    };
    notifications.into_iter().map(text).collect()
}

#[test]
fn quorum_is_notified_when_all_is_in_the_kernel_and_changes_as_keepalived_writes_them() {
    let mut site = Site::new(vec![server(None, 1)], Global::default());
    assert_eq!(site.ready(), ["/vs up | VS [10.0.0.1]:tcp:80 UP\n"]);
    assert_eq!(site.ready(), [""; 0], "once");
    let told = site.fail("10.1.0.2:80");
    let expected = [
        "/rs down | RS [10.1.0.2]:tcp:80 [10.0.0.1]:tcp:80 DOWN\n",
        "/vs down | VS [10.0.0.1]:tcp:80 DOWN\n",
    ];
    assert_eq!(told, expected);
}

#[test]
fn the_addresses_of_a_group_are_notified_as_one() {
    let servers = (1..=3).map(|last| server(Some("[web]:0"), last)).collect();
    let mut site = Site::new(servers, Global { tells_first_servers: true, ..Global::default() });
    let expected = [
        "/rs up | RS [10.1.0.1]:tcp:80 [web]:0 UP\n",
        "/rs up | RS [10.1.0.2]:tcp:80 [web]:0 UP\n",
        "/vs up | VS [web]:0 UP\n",
    ];
    assert_eq!(site.ready(), expected, "and real servers with rs_init_notifies");
    let told = site.fail("10.1.0.1:80");
    let expected = ["/rs down | RS [10.1.0.1]:tcp:80 [web]:0 DOWN\n", "/vs down | VS [web]:0 DOWN\n"];
    assert_eq!(told, expected);
}

#[test]
fn a_virtual_server_without_quorum_is_notified_at_the_start_when_a_sorry_server_takes_its_place() {
    let mut alone = server(None, 1);
    alone.real_servers.iter_mut().for_each(|r| Arc::make_mut(r).weight = 0);
    let mut helped = server(None, 2);
    helped.real_servers = alone.real_servers.clone();
    let address = "10.1.0.9:80".parse().unwrap();
    helped.sorry_server = Some(SorryServer { address, forwarding: Forwarding::Dr, inhibit: false });
    let mut site = Site::new(vec![alone, helped], Global::default());
    assert_eq!(site.ready(), ["/vs down | VS [10.0.0.2]:tcp:80 DOWN\n"]);
}

#[test]
fn a_reload_notifies_what_is_new_and_a_stop_those_with_omega() {
    let mut site = Site::new(vec![server(None, 1)], Global::default());
    site.ready();
    let config = Config { virtual_servers: vec![server(None, 1), server(None, 2)], ..Config::default() };
    assert_eq!(site.reload(config), ["/vs up | VS [10.0.0.2]:tcp:80 UP\n"]);
    let told = texts(site.stop());
    let expected = [
        "/rs down | RS [10.1.0.1]:tcp:80 [10.0.0.1]:tcp:80 DOWN\n",
        "/rs down | RS [10.1.0.2]:tcp:80 [10.0.0.1]:tcp:80 DOWN\n",
        "/vs down | VS [10.0.0.1]:tcp:80 DOWN\n",
    ];
    assert_eq!(told, expected);
    assert_eq!(texts(site.stop()), [""; 0], "once");
}

#[test]
fn a_virtual_server_that_joins_or_leaves_a_group_is_notified_by_its_new_name() {
    let of = |group| Config { virtual_servers: vec![server(group, 1)], ..Config::default() };
    let mut site = Site::new(vec![server(None, 1)], Global::default());
    site.ready();
    for (group, expected) in [
        (None, None),
        (Some("[web]:0"), Some("/vs up | VS [web]:0 UP\n")),
        (Some("[web]:0"), None),
        (None, Some("/vs up | VS [10.0.0.1]:tcp:80 UP\n")),
    ] {
        assert_eq!(site.reload(of(group)), expected.into_iter().collect::<Vec<_>>());
    }
}

#[test]
fn mails_are_made_of_servers_that_ask_for_them() {
    let mut server = server(None, 1);
    server.notices.is_mailed = true;
    Arc::make_mut(&mut server.real_servers[1]).is_mailed = true;
    let mut site = Site::new(vec![server], Global::default());
    site.ready();
    let changes = site.stop();
    let changes = changes.into_iter().filter_map(|t| t.mail).map(|l| l.subject).collect::<Vec<_>>();
    let expected = [
        "Realserver [10.1.0.2]:tcp:80 of virtual server [10.0.0.1]:tcp:80 - DOWN",
        "Virtualserver [10.0.0.1]:tcp:80 - DOWN",
    ];
    assert_eq!(changes, expected);
}

#[test]
fn a_firewall_mark_has_no_protocol() {
    let mut server = server(None, 1);
    server.id = VirtualServerId::Fwmark { family: crate::ipvs::types::Family::Inet, mark: 7 };
    assert_eq!(name(&server), "FWM 7");
    assert_eq!(real_name(&server, "[fd00::1]:0".parse().unwrap()), "[fd00::1]:none:0");
}

#[test]
fn a_firewall_mark_of_both_families_is_two_virtual_servers_to_quorum_scripts() {
    use crate::ipvs::types::Family;
    let of = |family, script: &str| {
        let mut server = server(None, 1);
        server.id = VirtualServerId::Fwmark { family, mark: 7 };
        server.notices.commands = commands(script);
        server
    };
    let (ipv4, ipv6) = (of(Family::Inet, "four"), of(Family::Inet6, "six"));
    let lost = |id| Event::Quorum { virtual_server: id, has_quorum: false, weight: 0, quorum: 2 };
    let (lost4, lost6) = (lost(ipv4.id), lost(ipv6.id));
    let mut site = Site::new(vec![ipv4, ipv6], Global::default());
    assert_eq!(site.ready(), ["/four up | VS FWM 7 UP\n", "/six up | VS FWM 7 UP\n"]);
    assert_eq!(site.event(lost4), ["/four down | VS FWM 7 DOWN\n"]);
    assert_eq!(site.event(lost6), ["/six down | VS FWM 7 DOWN\n"]);
}
