//! What is looked at every ten seconds, because nothing announces its changes: kernel settings, the run directory, forwarding.

use tracing::{error, warn};

use super::super::state_file::Kept;
use super::Shell;
use crate::director::reconcile::SWEEP_INTERVAL;
use crate::director::vrrp_link::HostForwards;
use crate::net::sysctl;
use crate::time::Instant;

impl Shell {
    /// The kernel announces no changes of its settings either: those of IPVS are kept, those of forwarding read.
    pub(super) fn watch_host(&mut self, now: Instant) -> Option<HostForwards> {
        if self.is_stopping || now < self.watch_at {
            return None;
        }
        self.watch_at = now + SWEEP_INTERVAL;
        self.sysctls.keep();
        self.keep_run_dir();
        let is_on = |name| sysctl::read(name).map_or(true, |value| value != "0");
        let host =
            HostForwards { ipv4: is_on("net.ipv4.ip_forward"), ipv6: is_on("net.ipv6.conf.all.forwarding") };
        (self.forwards.replace(host) != Some(host)).then_some(host)
    }

    /// The run directory, or what is in it, may be deleted: nothing announces that either.
    pub(super) fn keep_run_dir(&mut self) {
        let is_anew = match self.run_dir.keep() {
            Ok(Kept::AsItWas) => false,
            Ok(Kept::MadeAnew) => true,
            Err(error) => return self.complain(&error.to_string()),
        };
        if is_anew {
            warn!(
                "the run directory, or its lock, was deleted or replaced: it is made anew, and the state saved"
            );
            self.sysctls.remember();
            self.save(self.director.state());
        }
        match self.control.keep() {
            Ok(false) => self.lost = None,
            Ok(true) => {
                self.lost = None;
                warn!("the control socket was deleted or replaced: it is there again");
            }
            Err(error) => self.complain(&format!("control socket: {error}: commands do not reach this lvsd")),
        }
    }

    /// Once, until it is something else.
    pub(super) fn complain(&mut self, trouble: &str) {
        if self.lost.as_deref() != Some(trouble) {
            error!("{trouble}");
            self.lost = Some(trouble.to_owned());
        }
    }
}
