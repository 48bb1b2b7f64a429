//! A configuration is put in force: every part of the daemon takes it, in one written order.
//!
//! All or nothing. What can be wrong with a file was found before (`reload`): a configuration that comes here is put in
//! force as a whole, and no part refuses it. What the host refuses later (the router's thread without CAP_NET_RAW) is
//! logged, and the other parts go on.

use std::sync::Arc;

use super::super::sysctls;
use super::Shell;
use crate::config::Config;
use crate::director::files;
use crate::director::io::Input;

/// A part of the daemon that a configuration reaches. The probes follow the director, and neither the control socket nor
/// the metrics depend on a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    /// Settings of the kernel. First, because services and addresses are made under them: an address that is removed
    /// before `promote_secondaries` holds would take others with it.
    Sysctls,
    /// Scripts, FIFOs and mails. Before everything that changes a state: each change of a reload is notified as the new
    /// file says.
    Notifications,
    /// Virtual routers; they begin where there were none. Their events are notified by the new settings from now on, or by
    /// the previous ones where the reload removed the instance. The router has a thread of its own: what counts is that
    /// its message is sent first.
    Router,
    /// What the router tracks. After the router, which ignores the level of what it does not track.
    Trackers,
    /// The sample of clients' connections. Its place has no meaning: it reads the configuration only.
    Handshakes,
    /// What of this host hurts the configuration. Its place has no meaning either.
    HostFindings,
    /// Virtual servers, and with them the probes and the kernel's table. After the router: what a virtual server needs of
    /// an instance is then on its way.
    Director,
    /// The TLS clients that the prober keeps, with their sessions. After the director, which names the checkers that
    /// need them.
    Tls,
    /// The router learns what the director reports of the VIPs, and of the checks it tracks. After both: one that has just begun does not know it yet.
    DirectorLevel,
    /// The states of virtual routers, written to FIFOs again (`fifo_write_vrrp_states_on_reload`). Last: behind the lines
    /// of what the reload changed.
    RouterStates,
}

/// A reload.
const RELOAD: [Part; 10] = [
    Part::Sysctls,
    Part::Notifications,
    Part::Router,
    Part::Trackers,
    Part::Handshakes,
    Part::HostFindings,
    Part::Director,
    Part::Tls,
    Part::DirectorLevel,
    Part::RouterStates,
];

/// A start: the others were made with the configuration, because they can refuse it, or inherit from a predecessor.
const START: [Part; 4] = [Part::Sysctls, Part::Trackers, Part::Handshakes, Part::HostFindings];

impl Shell {
    /// Puts a configuration in force instead of the one before; Some when the director is finished.
    pub(super) async fn put_in_force(&mut self, config: Arc<Config>) -> Option<bool> {
        let before = std::mem::replace(&mut self.config, config);
        self.previous = Some(Arc::clone(&before.vrrp));
        let mut finished = None;
        for part in RELOAD {
            finished = finished.or(self.configure(part).await);
        }
        self.memory_return.schedule();
        finished
    }

    /// Gives a start's configuration to the parts that do not have it yet.
    pub(in crate::daemon) async fn begin(&mut self) {
        for part in START {
            self.configure(part).await;
        }
        self.memory_return.schedule();
    }

    async fn configure(&mut self, part: Part) -> Option<bool> {
        let config = Arc::clone(&self.config);
        match part {
            Part::Sysctls => self.sysctls.want(sysctls::wanted(&config, self.expires_templates)),
            Part::Notifications => self.events.configure(&config),
            Part::Router => self.reload_router(&config.vrrp).await,
            Part::Trackers => self.trackers.configure(&config.vrrp, &files::followed(&config)),
            Part::Handshakes => self.handshakes.configure(&config),
            Part::HostFindings => self.host_findings.configure(&config),
            Part::Director => return self.direct(Input::Reload(config)),
            Part::Tls => self.prober.keep_tls(self.director.checker_specs()),
            Part::DirectorLevel => {
                self.send_level();
                self.send_track_checks();
            }
            Part::RouterStates => self.events.router_reloaded(&config.vrrp),
        }
        None
    }
}
