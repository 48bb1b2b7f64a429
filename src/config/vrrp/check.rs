//! `vrrp_check`: checks that priorities depend on, a word of lvsd's own: keepalived skips the block.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use crate::config::checker::{self, CheckerOptions, HasCheckers, Inherited};
use crate::config::options::options;
use crate::config::timing::{TimingOptions, Timings, TrackTiming};
use crate::config::values;
use crate::syntax::diagnostic::Diagnostic;
use crate::syntax::keyword::{Reader, Slot, Spanned, Table, get};
use crate::syntax::tree::{Node, Word};
use crate::vrrp::settings::CheckSettings;

use super::damping::{self, DampingOptions};
use super::track::{self, WEIGHT, WeightOptions};
use super::{DAY, name, yaml_name};

options! {
    /// `vrrp_check` as it was written.
    pub(crate) struct CheckOptions {
        pub(crate) name: Word;
        _ = yaml_name();
        /// What is asked; `checks` is a list, all of which must pass.
        pub(crate) checkers: Vec<CheckerOptions> = word(=> checker::yaml::read; "check", "tcp, or a block with a type").or(&["checks"]).only_yaml().yaml_block("check");
        /// Address and port that is asked, unless the check has its own; without it this host, 127.0.0.1.
        address: Slot<SocketAddr> = word(=> read_address; "address", "IP:PORT").only_yaml();
        /// Time from the beginning of a run to that of the next.
        interval: Slot<Duration> = time("interval", MILLISECOND, DAY);
        /// Longest time a connection, and then the rest of the conversation, may take; without it the interval.
        timeout: Slot<Duration> = time("timeout", MILLISECOND, HOUR);
        /// What is added to the priority; 0 puts the instance in Fault.
        pub(crate) weight: Slot<WeightOptions> = words(=> track::read_weight; "weight", WEIGHT, 1, 2);
        /// Passes in a row before it counts as up; 2 where it is not written.
        rise: Slot<u32> = number("rise", 1, MAX_COUNT);
        /// Failures in a row before it counts as down; 3 where it is not written.
        fall: Slot<u32> = number("fall", 1, MAX_COUNT);
        /// When it fails more than LIMIT times in about HALF_LIFE, it must be well for ever longer before it counts.
        pub(crate) damping: DampingOptions = words(=> damping::read; "damping", damping::WANTED, 2, 2).yaml_block(damping::TABLE);
        /// Down until its first passes.
        begins_failed: Slot<bool> = flag("init_fail").bare();
        /// Host header of HTTP checks.
        virtualhost: Slot<String> = text("virtualhost", "HOST", checker::MAX_HOST);
    }
}

/// Most passes or failures in a row.
const MAX_COUNT: u32 = 1_000_000;
const MILLISECOND: Duration = Duration::from_millis(1);
const HOUR: Duration = Duration::from_secs(3600);

/// Keywords of `vrrp_check`.
pub(crate) const CHECK: Table<CheckOptions> =
    Table::of("vrrp_check", "vrrp_check", &[CheckOptions::keywords(), checker::keywords()]);

impl HasCheckers for CheckOptions {
    fn checkers(&mut self) -> &mut Vec<CheckerOptions> {
        &mut self.checkers
    }
}

/// Reads `vrrp_check NAME`.
pub(crate) fn read(checks: &mut Vec<CheckOptions>, node: &Node, reader: &mut Reader<'_>) {
    let name = name(node, reader);
    let stand_in = name.clone().unwrap_or_else(|| node.keyword.clone());
    let mut options = CheckOptions { name: stand_in, ..CheckOptions::default() };
    let before = reader.diagnostics.errors();
    let outer = reader.skipped.take();
    reader.block(&CHECK, node.statements(), &mut options);
    reader.skipped = outer;
    if options.checkers.is_empty() && reader.diagnostics.errors() == before {
        let text = format!("vrrp_check {} asks nothing", options.name.text);
        let help = match reader.is_yaml() {
            true => "write e.g. `check: {type: http, url: /, connect_port: 80}`",
            false => "write a checker in it, e.g. `TCP_CHECK { connect_port 80 }`",
        };
        reader.diagnostics.push(Diagnostic::error(node.span(), text).help(help));
    }
    options.checkers.iter().filter_map(CheckerOptions::no_track).for_each(|(span, instead)| {
        let text = format!("vrrp_check {}: this is no check for virtual routers", options.name.text);
        reader.diagnostics.push(Diagnostic::error(span, text).help(instead));
    });
    checks.extend(name.map(|_| options));
}

fn read_address(slot: &mut Slot<SocketAddr>, node: &Node, reader: &mut Reader<'_>) {
    if let Some(value) = values::address_and_port(&node.values, node, reader) {
        *slot = Some(Spanned { value, span: node.span() });
    }
}

impl CheckOptions {
    /// The check; `from` is what is common to all of them.
    pub(in crate::config) fn resolve(
        &self,
        from: &Inherited<'_>,
        timings: &mut Timings,
        reader: &mut Reader<'_>,
    ) -> CheckSettings {
        let own = TrackTiming {
            interval: self.interval.clone(),
            timeout: self.timeout.clone(),
            fall: self.fall.clone(),
            rise: self.rise.clone(),
        };
        let from = Inherited {
            address: get(&self.address).unwrap_or((Ipv4Addr::LOCALHOST, 0).into()),
            timing: &TimingOptions::of_track(own),
            virtualhost: self.virtualhost.clone(),
            is_track: true,
            ..*from
        };
        let mut checkers: Vec<_> = self
            .checkers
            .iter()
            .filter(|checker| checker.no_track().is_none())
            .filter_map(|checker| checker::resolve(checker, &from, timings, reader))
            .map(|checker| checker.spec)
            .collect();
        // One that is asked twice is asked once.
        let mut seen = std::collections::BTreeSet::new();
        checkers.retain(|spec| seen.insert(Arc::clone(spec)));
        CheckSettings {
            name: self.name.text.to_string(),
            checkers,
            begins_failed: get(&self.begins_failed).unwrap_or(false),
        }
    }
}
