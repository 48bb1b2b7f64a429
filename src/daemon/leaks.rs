//! Asks the network now and then who answers for the VIPs, and tells the director which real servers do.
//!
//! Only where the way through a VIP is checked, from an address of this host's own, in a blocking job of a second.
//! Without the right to it (CAP_NET_RAW) nothing is asked, which is said once.

use std::sync::Arc;
use std::time::Duration;

use tracing::info;

use super::clock;
use super::doors;
use super::process;
use super::repeated::Repeated;
use crate::config::Config;
use crate::director::Input;
use crate::director::leaks::{self, Leaks};
use crate::doctor::surroundings::Capability;
use crate::net::holders;
use crate::net::kernel::Kernel;

/// From a start or a reload to the first question.
const SOON: Duration = Duration::from_secs(3);
/// From one question to the next.
const INTERVAL: Duration = Duration::from_secs(60);

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct LeakWatch {
    /// None where nobody's way is checked.
    config: Option<Arc<Config>>,
    questions: Repeated<Result<Leaks, String>>,
    told: Leaks,
    unseen: String,
}

impl LeakWatch {
    /// Asks what this configuration needs, and nothing where it needs nothing.
    pub(crate) fn want(&mut self, config: &Arc<Config>) {
        let is_needed = leaks::is_asked(config);
        self.config = is_needed.then(|| Arc::clone(config));
        // Once more even so: what was told before may be true no longer.
        self.questions.set((is_needed || !self.told.is_empty()).then(|| clock::now() + SOON));
    }

    /// What the director is to be told; waits for it.
    pub(crate) async fn next(&mut self) -> Input {
        loop {
            let begin = || {
                let config = self.config.clone();
                move || ask(config.as_deref())
            };
            let answer = self.questions.next(begin).await;
            self.questions.set(self.config.as_ref().map(|_| clock::now() + INTERVAL));
            let unseen = match answer.unwrap_or_else(|error| Err(error.to_string())) {
                Ok(found) if found != self.told => {
                    self.told.clone_from(&found);
                    return Input::Leaks(found);
                }
                Ok(_) => continue,
                Err(unseen) => unseen,
            };
            if unseen != self.unseen {
                info!("who else answers for VIPs is not known: {unseen}");
                self.unseen = unseen;
            }
        }
    }
}

fn ask(config: Option<&Config>) -> Result<Leaks, String> {
    let Some(config) = config else { return Ok(Leaks::new()) };
    let (vips, reals) = leaks::questions(config);
    let host = Kernel::open().and_then(|mut kernel| kernel.host())?;
    let around = doors::around(&host);
    let mut unseen = Vec::new();
    let (claims, _) = holders::ask_around(&host, &vips, &reals, &mut unseen, clock::now);
    // VIPs of other networks are nothing to complain of here.
    if let (true, false, Some(unseen)) =
        (claims.is_empty(), process::has_capability(Capability::NetRaw.number()), unseen.pop())
    {
        return Err(unseen);
    }
    let (of_vips, names) = leaks::answers(claims, &vips);
    Ok(leaks::find(config, &around.own, |vip| around.shown.contains(&vip), &of_vips, &names))
}
