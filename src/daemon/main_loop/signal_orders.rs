//! What signals mean: stop, reload, demote, write the status into files.

use tracing::{info, warn};

use super::super::clock;
use super::super::health::HealthMonitor;
use super::super::router::Handle;
use super::super::signals::SignalOrder;
use super::Shell;
use super::end::STOPS;
use super::router_link::ROUTER_LIMIT;
use crate::director::io::Input;
use crate::vrrp::io::Input as RouterInput;

impl Shell {
    /// What an order by signal means for the director; a reload is read first.
    pub(super) fn obey(&mut self, order: SignalOrder, health: &HealthMonitor) -> Option<Input> {
        match order {
            SignalOrder::Stop(signal) if !self.is_stopping && self.director.is_ending() => {
                warn!("{signal} comes too late: everything is being handed over, and stays in the kernel");
                None
            }
            SignalOrder::Stop(signal) => {
                if !self.is_ending() {
                    self.is_stopping = true;
                    self.reloads.end(STOPS);
                }
                info!("{signal}: stopping, our services are removed");
                match self.router.as_mut().filter(|router| !router.is_finished()) {
                    // Its VIPs leave first: no client may find them without services. A second signal does not wait.
                    Some(router) if self.stop_by.is_none() => {
                        router.send(RouterInput::Stop);
                        self.stop_by = Some(clock::now() + ROUTER_LIMIT);
                        Some(Input::StopRequested)
                    }
                    _ => {
                        self.stop_by = None;
                        Some(Input::Stop)
                    }
                }
            }
            SignalOrder::Demote => {
                self.router.iter_mut().for_each(Handle::demote);
                None
            }
            SignalOrder::Dump(signal) => {
                self.dump(signal, health);
                None
            }
            SignalOrder::Reload if self.is_ending() => {
                warn!("the reload is ignored: lvsd is ending");
                None
            }
            SignalOrder::Reload => {
                self.reloads.begin(None, false, &self.config);
                None
            }
        }
    }
}
