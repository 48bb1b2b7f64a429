//! Asks the kernel from which address a check would leave, and replaces a VIP.
//!
//! The answer is kept while this host's addresses stay as they are, for a minute at most: routes change, too.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::clock;
use crate::check::connect;
use crate::check::outcome::{Outcome, Phase};
use crate::check::source::Sources;
use crate::check::spec::{Source, Target};
use crate::time::Instant;

/// For how long an answer is believed.
const KEPT: Duration = Duration::from_secs(60);

/// See the module.
#[derive(Debug, Default)]
pub(super) struct SourceChooser {
    sources: Option<Arc<Sources>>,
    /// By target and what else decides about the route.
    known: BTreeMap<(IpAddr, Option<Box<Source>>), Choice>,
    since: Instant,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Choice {
    /// The kernel's own is right.
    Kernels,
    /// This one instead.
    Instead(IpAddr),
    /// The kernel chooses this VIP, and there is no other address.
    Nothing(IpAddr),
}

impl SourceChooser {
    /// The address to bind a check of `target` to, where the kernel's choice is a VIP.
    ///
    /// # Errors
    /// An outcome that names the VIP where this host has no other address.
    pub(super) fn choose(
        &mut self,
        target: &Target,
        sources: &Arc<Sources>,
    ) -> Result<Option<IpAddr>, Outcome> {
        let now = clock::now();
        let is_same = self.sources.as_ref().is_some_and(|known| Arc::ptr_eq(known, sources));
        if !is_same || now.since(self.since) >= KEPT {
            self.known.clear();
            self.sources = Some(Arc::clone(sources));
            self.since = now;
        }
        let key = (target.address.ip(), target.source.clone());
        let choice = *self.known.entry(key).or_insert_with(|| choice(target, sources));
        match choice {
            Choice::Kernels => Ok(None),
            Choice::Instead(ip) => Ok(Some(ip)),
            Choice::Nothing(vip) => Err(Outcome::inconclusive(
                Phase::Socket,
                format!(
                    "it would leave from the VIP {vip}, which the real server has as well, and this host has no other \
                     address: give it one, or write bindto"
                ),
            )),
        }
    }
}

fn choice(target: &Target, sources: &Sources) -> Choice {
    match connect::kernels_source(target) {
        Some(chosen) if sources.is_forbidden(chosen) && chosen != target.address.ip() => {
            sources.instead_of(chosen, target.address.ip()).map_or(Choice::Nothing(chosen), Choice::Instead)
        }
        _ => Choice::Kernels,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::spec::Target;

    #[test]
    fn the_kernels_choice_is_replaced_only_where_it_is_a_vip() {
        let target = Target {
            address: "127.0.0.2:80".parse().unwrap(),
            source: None,
            connect_timeout: Duration::from_secs(1),
        };
        let kernels = connect::kernels_source(&target).expect("loopback has a route");
        let sources = |vips: &[IpAddr], own: &[IpAddr]| {
            let own = own.iter().map(|ip| (*ip, 1)).collect();
            Arc::new(Sources { vips: Arc::new(vips.iter().copied().collect()), own, ..Sources::default() })
        };
        let other: IpAddr = "127.0.0.9".parse().unwrap();
        let mut chooser = SourceChooser::default();
        assert_eq!(chooser.choose(&target, &sources(&[other], &[kernels])), Ok(None));
        assert_eq!(chooser.choose(&target, &sources(&[kernels], &[kernels, other])), Ok(Some(other)));
        let nothing = chooser.choose(&target, &sources(&[kernels], &[kernels])).unwrap_err();
        assert!(
            nothing.reason.contains(&format!("the VIP {kernels}, which the real server has")),
            "{nothing:?}"
        );
    }
}
