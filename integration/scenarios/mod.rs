//! Every scenario, one folder each: its steps in mod.rs, its keepalived.conf files beside it.

mod assert;
mod bad_input;
mod bare_kernel;
mod bench;
mod bfd;
mod check_errors;
mod check_options;
mod checkers;
mod colocated;
mod conformance;
mod damping;
mod demo;
mod demo_failover;
mod differential;
mod doctor;
mod examples;
mod failover_table;
mod failures;
mod files;
mod forwarding_modes;
mod genhash;
mod guardian;
mod ha_suspend;
mod harness_itself;
mod inhibit;
mod languages;
mod leaving;
mod local_trouble;
mod mail;
mod modes;
mod net_conformance;
mod net_namespace;
mod no_accept;
mod notices;
mod observability;
mod orders;
mod outages;
mod own_addresses;
mod path_check;
mod plan;
mod real_server;
mod refusals;
mod reload;
mod reload_storm;
mod restart;
mod same_table;
mod scale;
mod schedulers;
mod script_words;
mod signals;
mod soak;
mod sorry;
mod stop;
mod strangers;
mod sysctls;
mod tcp_cost;
mod tls;
mod track_check;
mod unit_file;
mod unit_restart;
mod vagrant;
mod vrrp_addresses;
mod vrrp_binding;
mod vrrp_failover;
mod vrrp_handover;
mod vrrp_hostile;
mod vrrp_interop;
mod vrrp_kernel;
mod vrrp_links;
mod vrrp_many;
mod vrrp_one_file;
mod vrrp_pair;
mod vrrp_reports;
mod vrrp_soak;
mod vrrp_three;
mod vrrp_vmac;
mod vrrp_wire;

use std::process::ExitCode;
use std::time::Duration;

use crate::lab::wait::seconds;
use crate::lab::{Lab, Verdict};

/// A test that a kernel and other programs decide.
pub(crate) struct Scenario {
    /// Its name, and its folder's with underscores.
    pub name: &'static str,
    /// What it shows, in one line.
    pub about: &'static str,
    /// The clock it runs by.
    pub time: Time,
    /// Wall-clock limit in seconds, whichever clock it runs by, with room for a busy machine.
    pub limit_s: u64,
    /// The guest's memory in MiB.
    pub memory: u32,
    /// Run only when asked for by its whole name.
    pub on_request: bool,
    /// What runs, and where.
    pub run: Run,
}

/// The clock a scenario runs by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Time {
    /// Simulated time, in the lab's own kernel.
    Simulated,
    /// Real time, in Debian's: what measures time, races against it, wants modules, or is watched by people.
    Real,
    /// In the time an emulator counts: what compares what computing costs.
    Counted,
    /// Once by each: what depends on races that simulated time hides, or on the kernel a distribution ships.
    Both,
}

/// What runs, and where.
pub(crate) enum Run {
    /// In a guest of its own.
    Inside(fn(&mut Lab) -> Verdict),
    /// On the host, about the lab itself.
    Outside(fn() -> Verdict),
}

impl Scenario {
    /// Wall-clock limit.
    pub(crate) fn limit(&self) -> Duration {
        seconds(if [soak::NAME, vrrp_soak::NAME].contains(&self.name) {
            soak::limit_s(self.limit_s)
        } else {
            self.limit_s
        })
    }
}

/// A job that tests the machinery that runs jobs.
pub(crate) struct Probe {
    /// Its name, for `--inside`.
    pub name: &'static str,
    /// What the guest does.
    pub run: fn() -> ExitCode,
}

/// The name of the job that is nothing but a shell in the standard network.
pub(crate) const SHELL: &str = "shell";

/// Jobs of the scenario `harness-itself`, and processes that scenarios start.
pub(crate) const PROBES: [&[Probe]; 2] = [harness_itself::PROBES, guardian::PROBES];

/// An ordinary scenario.
const fn scenario(
    name: &'static str,
    about: &'static str,
    limit_s: u64,
    run: fn(&mut Lab) -> Verdict,
) -> Scenario {
    Scenario {
        name,
        about,
        time: Time::Simulated,
        limit_s,
        memory: 512,
        on_request: false,
        run: Run::Inside(run),
    }
}

/// One that runs in real time only.
const fn real(scenario: Scenario) -> Scenario {
    Scenario { time: Time::Real, ..scenario }
}

/// One that runs in both times.
const fn both(scenario: Scenario) -> Scenario {
    Scenario { time: Time::Both, ..scenario }
}

/// All scenarios, in the order they run.
pub(crate) const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "harness-itself",
        about: "exit status and output come back; a hang and a dead kernel are seen; nothing stays behind",
        time: Time::Real,
        limit_s: 60,
        memory: 128,
        on_request: false,
        run: Run::Outside(harness_itself::run),
    },
    scenario(
        "forwarding-modes",
        "the lab's network carries NAT, DR and TUN, TCP, UDP and SCTP, by ipvsadm alone",
        120,
        forwarding_modes::run,
    ),
    Scenario {
        memory: 1024,
        time: Time::Real,
        ..scenario("scale", "1,000 virtual servers of 10 real servers, beside keepalived", 300, scale::run)
    },
    scenario("strangers", "others' services are left alone, edits of ours repaired", 240, strangers::run),
    scenario(
        soak::NAME,
        "hours of a director's life under random faults, the kernel compared with what should be",
        300,
        soak::run,
    ),
    both(scenario("failures", "a server dies in five ways, and returns each time", 180, failures::run)),
    scenario(
        "tls",
        "SSL_GET of nginx: keepalived's digest, resumed sessions, wrong certificates, old versions",
        180,
        tls::run,
    ),
    scenario(
        "doctor",
        "faults of directors and real servers, found in the right words, gone after the printed fix",
        180,
        doctor::run,
    ),
    scenario(
        "outages",
        "outages from the clients' link to the application: what log, status, doctor and metrics say, and when",
        900,
        outages::run,
    ),
    scenario(
        "path-check",
        "a real server that does not take packets for the VIP, beside keepalived: named, out, back; nothing left over",
        600,
        path_check::run,
    ),
    scenario(
        "doctor-routers",
        "what is wrong between virtual routers, found in the right words, gone after the printed fix",
        180,
        doctor::run_routers,
    ),
    real(scenario(
        "real-server",
        "bare hosts prepared for DR and TUN, put back, asked for the VIP; what is emitted does the same",
        240,
        real_server::run,
    )),
    scenario(
        "real-server-files",
        "files for the boot, read by ifupdown, systemd-networkd, netplan and NetworkManager: the host serves by DR",
        180,
        real_server::run_files,
    ),
    Scenario {
        name: "verdicts",
        about: "what keepalived goes on with, lvsd goes on with; one fault is one error",
        time: Time::Real,
        limit_s: 600,
        memory: 128,
        on_request: false,
        run: Run::Outside(differential::verdicts::run),
    },
    scenario(
        "genhash",
        "the digests Debian's genhash prints, and checks to paste that pass",
        120,
        genhash::run,
    ),
    scenario(
        "colocated",
        "two directors that are also the real servers, beside plain keepalived: nothing goes round",
        600,
        colocated::run,
    ),
    scenario(
        "colocated-persistence",
        "clients stay at their node across failovers of a co-located pair, by the kernel's sync daemons",
        300,
        colocated::run_persistence,
    ),
    real(scenario(
        "colocated-fallback",
        "the same where the kernel cannot mark packets: a table on the active node only, and a word about it",
        180,
        colocated::run_fallback,
    )),
    scenario("tcp-cost", "a TCP_CHECK takes six system calls, counted by strace", 120, tcp_cost::run),
    scenario(
        "reload",
        "SIGHUP adds, removes, changes; a typo changes nothing; no request fails",
        180,
        reload::run,
    ),
    scenario(
        "vrrp-pair",
        "two directors share a VIP: kill -9, SIGTERM, hand-over, a removed VIP",
        180,
        vrrp_pair::run,
    ),
    scenario(
        "unit-file",
        "the systemd unit: a life with its least capabilities, and systemd-analyze as judge",
        120,
        unit_file::run,
    ),
    real(scenario(
        "unit-restart",
        "the unit under a real systemd: restart, restart with a typo, stop",
        180,
        unit_restart::run,
    )),
    scenario(
        "signals",
        "no signal but SIGTERM and SIGINT ends a director or takes its VIP; those of keepalived's dumps write the status",
        120,
        signals::run,
    ),
    scenario(
        "sysctls",
        "IPVS settings are applied, kept, left by a crash, put back by a stop; settings that break something are logged",
        120,
        sysctls::run,
    ),
    real(scenario("reload-storm", "a hundred reloads under load: no request fails", 180, reload_storm::run)),
    scenario(
        "observability",
        "metrics, health, reload verdicts and sd_notify, as their readers see them",
        180,
        observability::run,
    ),
    real(scenario(
        "files",
        "a file system that hangs, a run directory that others spoil, a daemon that was stopped",
        120,
        files::run,
    )),
    scenario("plan", "what would change is said, nothing is changed, and then it happens", 180, plan::run),
    scenario(
        "plan-router",
        "a Master with a sync daemon, beside keepalived: nothing to change, and the first of two sync daemons runs",
        120,
        plan::router::run,
    ),
    both(scenario(
        "restart",
        "kill -9 and `lvsd handover` under load: no request fails, known down stays down",
        120,
        restart::run,
    )),
    scenario(
        "leaving",
        "healthy servers leave and return for every reason, under load: no request is lost",
        240,
        leaving::run,
    ),
    scenario(
        "replaced",
        "a reload or restart replaces the only real server, beside keepalived: no request is lost",
        240,
        leaving::replaced::run,
    ),
    scenario(
        "check-errors",
        "what stops clients takes a server out, what stops only its check does not: each error, beside keepalived",
        900,
        check_errors::run,
    ),
    scenario(
        "checkers",
        "SMTP, DNS, UDP, PING, MISC and FILE checks of real peers, in both families: well, down, silent, wrong, back; beside keepalived",
        400,
        checkers::run,
    ),
    scenario(
        "check-options",
        "what YAML adds to checks, against nginx and a mail server with TLS: HEAD, headers, a text in the body, STARTTLS; a long answer of DNS",
        200,
        check_options::run,
    ),
    scenario(
        "local-trouble",
        "checks that cannot be made here change no verdict: a missing source address, no descriptors",
        120,
        local_trouble::run,
    ),
    scenario(
        "orders",
        "drain, disable, weight and why, under load; no request fails; a restart remembers",
        120,
        orders::run,
    ),
    scenario(
        "drain-persistent",
        "a persistent client of a drained server: sent elsewhere, or told how long it stays; settings put back",
        120,
        orders::persistent::run,
    ),
    scenario(
        "own-addresses",
        "a VIP the kernel prefers, a sorry server on the director, a routed VIP: no server is taken out, all clients are served",
        400,
        own_addresses::run,
    ),
    scenario(
        "ha-suspend",
        "checks run only while this host has the VIP, in keepalived and lvsd: what they found stands, and with the VIP they begin at once",
        300,
        ha_suspend::run,
    ),
    scenario(
        "net-namespace",
        "net_namespace: started elsewhere, keepalived and lvsd direct in the namespace of the file; a killed lvsd's guardian cleans up there",
        120,
        net_namespace::run,
    ),
    scenario(
        "no-accept",
        "a rule behind IPVS keeps the VIP from answering for this host, and drops no client of a virtual server; one before IPVS drops all",
        120,
        no_accept::run,
    ),
    scenario("modes", "NAT, DR and TUN in IPv4 and IPv6, by real traffic", 120, modes::run),
    both(scenario(
        "conformance",
        "the netlink backend passes the suite that the imitated kernel passes",
        120,
        conformance::run,
    )),
    both(scenario(
        "net-conformance",
        "links, addresses, routes, rules and macvlans by rtnetlink, as ip sees them; lost events are reported",
        120,
        net_conformance::run,
    )),
    both(scenario(
        "guardian",
        "the priority 0 of a killed daemon is sent and its addresses are gone within 100 ms; not after a planned end",
        120,
        guardian::run,
    )),
    scenario(
        "languages",
        "YAML and keepalived.conf, groups and --lenient: the same table as keepalived's",
        240,
        languages::run,
    ),
    scenario(
        "same-table",
        "keepalived and lvsd make the same table of the same files, by hand and by generator",
        240,
        same_table::run,
    ),
    scenario(
        "examples",
        "every file of examples/ can be run, runs until it is ready, and finds its servers well",
        600,
        examples::run,
    ),
    scenario(
        "vagrant",
        "the Vagrantfile's site, prepared by its script: what breaks there is survived here",
        240,
        vagrant::run,
    ),
    both(scenario(
        "schedulers",
        "every scheduler the kernel has; a missing one degrades its own service",
        120,
        schedulers::run,
    )),
    scenario(
        "notices",
        "scripts and FIFOs get what keepalived sends them; a hanging script and a full FIFO delay nothing else",
        180,
        notices::run,
    ),
    scenario(
        "router-notices",
        "scripts and a FIFO hear of virtual routers what keepalived tells them",
        180,
        notices::routers::run,
    ),
    scenario(
        "mail",
        "mails say what keepalived's say, of virtual servers and virtual routers; a dead mail server delays nothing else",
        600,
        mail::run,
    ),
    scenario(
        "life-scripts",
        "startup_script before the first service, shutdown_script after the last, each within its time",
        180,
        notices::life::run,
    ),
    scenario("sorry", "all real servers die, the sorry server answers, they return", 120, sorry::run),
    scenario(
        "script-words",
        "scripts with words that only a shell would understand, beside keepalived: one verdict, and a word about it",
        120,
        script_words::run,
    ),
    scenario("inhibit", "inhibit_on_failure: weight 0 instead of removal", 120, inhibit::run),
    scenario("stop", "SIGTERM and SIGINT leave nothing but the stranger's service", 120, stop::run),
    scenario("refusals", "no second master of a table: exit 69, the process named", 120, refusals::run),
    scenario(
        "bad-input",
        "a clear error with its place; nothing running is lost; no panic",
        240,
        bad_input::run,
    ),
    real(scenario(
        "bare-kernel",
        "without IPVS: exit 69 and the next step; lvsd loads the module",
        90,
        bare_kernel::run,
    )),
    real(scenario(
        "bare-kernel-routers",
        "virtual routers alone need no IPVS, beside keepalived; a reload brings the first virtual server",
        180,
        bare_kernel::run_routers,
    )),
    scenario(
        "vrrp-wire",
        "advertisements and announcements, byte by byte beside frames recorded from keepalived",
        240,
        vrrp_wire::run,
    ),
    scenario(
        "vrrp-interop",
        "two directors with the same file, in thirteen flavours: the VIP moves both ways, without complaints",
        600,
        vrrp_interop::run,
    ),
    scenario(
        "bfd",
        "BFD with lvsd, keepalived and FRR: a failover in a third of a second, a hand-over, BFD_CHECK",
        300,
        bfd::run,
    ),
    scenario(
        "track-check",
        "the VIP follows nginx: stopped, hung, wrong status, back; beside keepalived with curl",
        300,
        track_check::run,
    ),
    scenario(
        "damping",
        "what flaps moves the VIP a bounded number of times, and status says for how long",
        180,
        damping::run,
    ),
    scenario(
        "assert",
        "a command makes a cloud's address the Master's: failover, failing and hanging API, rivals, never two at once",
        300,
        assert::run,
    ),
    scenario(
        "vrrp-one-file",
        "one file for two directors, both families in one instance, peers and priorities that a reload changes",
        300,
        vrrp_one_file::run,
    ),
    scenario(
        "vrrp-three",
        "three directors: of two Backups the better one takes over, the other never speaks",
        180,
        vrrp_three::run,
    ),
    scenario(
        "vrrp-vmac",
        "a virtual MAC address is heard of where its Master is: reports of groups leave from the interface below",
        180,
        vrrp_vmac::run,
    ),
    scenario(
        "vrrp-reports",
        "scripts and FIFOs beside keepalived: starts, a peer that is Master for seconds, reloads of groups, preempt healthier",
        300,
        vrrp_reports::run,
    ),
    real(scenario(
        "vrrp-vrf",
        "the VMACs of an interface in a VRF are there, too, and answer",
        180,
        vrrp_vmac::run_vrf,
    )),
    both(scenario(
        "vrrp-links",
        "a NAT pair's inside dies in each way, beside keepalived; links get other MAC addresses, names, or are made anew",
        400,
        vrrp_links::run,
    )),
    scenario(
        "vrrp-hostile",
        "invalid frames change neither state nor timers, and a flood no advertisement",
        400,
        vrrp_hostile::run,
    ),
    scenario(
        "vrrp-addresses",
        "VIPs left behind, deleted by hand, reloaded; a virtual MAC; and a host left as it was found",
        240,
        vrrp_addresses::run,
    ),
    scenario(
        "vrrp-kernel",
        "the host's own address as a VIP or behind one; routes and rules after a death and after the kernel dropped them",
        240,
        vrrp_kernel::run,
    ),
    scenario(
        "vrrp-binding",
        "two networks on a link, source addresses that come late, sockets that cannot be opened",
        180,
        vrrp_binding::run,
    ),
    both(scenario(
        "vrrp-believed",
        "strangers by unicast, peers beyond a router, an interval five times as long",
        600,
        vrrp_binding::run_believed,
    )),
    scenario(
        "vrrp-many",
        "2,000 VIPs behind a full queue are all announced in a second; links of containers; process 1 reaps",
        600,
        vrrp_many::run,
    ),
    scenario(
        vrrp_soak::NAME,
        "two directors' lives under random faults: one Master, the right one, after each",
        400,
        vrrp_soak::run,
    ),
    scenario(
        "vrrp-failover",
        "the VIP moves each way a director can go, under load, and a connection survives",
        900,
        vrrp_failover::run,
    ),
    both(scenario(
        "vrrp-handover",
        "a hand-over to a process that comes at once, fails, is late, or a process that stands still: one VIP, always",
        300,
        vrrp_handover::run,
    )),
    Scenario {
        on_request: true,
        time: Time::Counted,
        memory: 1024,
        ..scenario(
            "failover-table",
            "how long a failover takes, lvsd and keepalived in one boot, twenty times each way",
            3600,
            failover_table::run,
        )
    },
    Scenario {
        on_request: true,
        time: Time::Counted,
        memory: 3072,
        ..scenario(
            bench::NAME,
            "what lvsd costs beside keepalived, row by row, in one boot",
            7200,
            bench::run,
        )
    },
    // The same in simulated time, where computing costs nothing: the protocol's own time, exactly.
    Scenario {
        on_request: true,
        ..scenario(
            "failover-table-simulated",
            "how long a failover takes by the protocol alone",
            1800,
            failover_table::run,
        )
    },
    Scenario {
        on_request: true,
        time: Time::Real,
        ..scenario(
            "demo",
            "the demonstration: a real server dies and comes back, before your eyes",
            120,
            demo::run,
        )
    },
    Scenario {
        on_request: true,
        time: Time::Real,
        ..scenario(
            "demo-failover",
            "the demonstration: two directors, and a failover before your eyes",
            180,
            demo_failover::run,
        )
    },
];
