//! The end of the daemon: a stop, which gives everything back, or a hand-over, which leaves everything.

use std::sync::Arc;

use tracing::info;

use super::super::control::Reply;
use super::super::guardian::Guardian;
use super::super::lifecycle_scripts;
use super::super::signals::Signals;
use super::Shell;
use crate::vrrp::io::Input as RouterInput;

/// Why a reload is not put in force, and an order not carried out.
pub(super) const STOPS: &str = "lvsd stops";
pub(super) const HANDS_OVER: &str = "lvsd hands over to the next start, which reads the file";
pub(super) const NO_ORDER: &str =
    "lvsd is ending, the order is not carried out: give it again to the next lvsd";

impl Shell {
    /// Whether lvsd ends: nothing is put in force any more.
    pub(super) fn is_ending(&self) -> bool {
        self.is_stopping || self.director.is_ending()
    }

    /// The director is finished: everything else ends, in this order.
    pub(super) async fn end(&mut self, signals: &mut Signals) {
        self.asserter.finish().await;
        if self.is_stopping {
            self.sysctls.release();
            self.host_watcher.release().await;
            self.part_from_router().await;
            self.events.finish(true).await;
        } else {
            // Its advertisements go on until there is nothing else to wait for.
            self.events.finish(false).await;
            self.router.iter_mut().for_each(|router| router.send(RouterInput::HandOver));
            self.part_from_router().await;
        }
        self.guardian.take().into_iter().for_each(Guardian::dismiss);
        let config = Arc::clone(&self.config);
        if let Some(script) = config.global.shutdown.as_ref().filter(|_| self.is_stopping) {
            lifecycle_scripts::run("shutdown_script", script, config.vrrp.secures_scripts, signals.end())
                .await;
        }
        info!("done");
        self.answer_hand_over().await;
    }

    /// Everything is handed over: the command that asked for it is answered, and the answer leaves this process.
    async fn answer_hand_over(&mut self) {
        let waiting = std::mem::take(&mut self.handing_over);
        if waiting.is_empty() {
            return;
        }
        for reply in waiting {
            // The command may have been interrupted.
            let _ = reply.send(Reply::HandedOver { pid: std::process::id() });
        }
        self.control.finish().await;
    }
}
