//! Asks the network now and then who answers for the VIPs, and tells the director which real servers do.
//!
//! Only where the way through a VIP is checked, from an address of this host's own, in a blocking job of a second.
//! Without the right to it (CAP_NET_RAW) nothing is asked, which is said once.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;
use tracing::info;

use super::clock;
use super::doors;
use super::process;
use crate::config::Config;
use crate::director::Input;
use crate::director::leaks::{self, Leaks};
use crate::doctor::surroundings::Capability;
use crate::net::holders;
use crate::net::kernel::Kernel;
use crate::time::Instant;

/// From a start or a reload to the first question.
const SOON: Duration = Duration::from_secs(3);
/// From one question to the next.
const INTERVAL: Duration = Duration::from_secs(60);

/// See the module.
#[derive(Debug, Default)]
pub struct LeakWatch {
    /// None where nobody's way is checked.
    config: Option<Arc<Config>>,
    job: Option<JoinHandle<Result<Leaks, String>>>,
    ask_at: Option<Instant>,
    told: Leaks,
    unseen: String,
}

impl LeakWatch {
    /// Asks what this configuration needs, and nothing where it needs nothing.
    pub fn want(&mut self, config: &Arc<Config>) {
        let is_needed = leaks::is_asked(config);
        self.config = is_needed.then(|| Arc::clone(config));
        // Once more even so: what was told before may be true no longer.
        self.ask_at = (is_needed || !self.told.is_empty()).then(|| clock::now() + SOON);
    }

    /// What the director is to be told; waits for it.
    pub async fn next(&mut self) -> Input {
        loop {
            let answer = match &mut self.job {
                Some(job) => job.await.unwrap_or_else(|error| Err(error.to_string())),
                None => {
                    let Some(at) = self.ask_at else { return std::future::pending().await };
                    tokio::time::sleep(at.since(clock::now())).await;
                    let config = self.config.clone();
                    self.job = Some(tokio::task::spawn_blocking(move || ask(config.as_deref())));
                    continue;
                }
            };
            self.job = None;
            self.ask_at = self.config.as_ref().map(|_| clock::now() + INTERVAL);
            let unseen = match answer {
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
    let mut names: BTreeMap<_, BTreeSet<IpAddr>> = BTreeMap::new();
    for (ip, mac) in claims.iter().filter(|(ip, _)| !vips.contains(ip)) {
        names.entry(*mac).or_default().insert(*ip);
    }
    let of_vips = claims.into_iter().filter(|(ip, _)| vips.contains(ip)).collect();
    Ok(leaks::find(config, &around.own, |vip| around.shown.contains(&vip), &of_vips, &names))
}
