//! `real_server`: its keywords, and the options as they were written.

use std::net::SocketAddr;

use crate::ipvs::types::Forwarding;
use crate::syntax::diagnostic::Diagnostic;
use crate::syntax::keyword::{Reader, Slot, Spanned, Table};
use crate::syntax::source::Span;
use crate::syntax::tree::{Node, Word};

use super::checker::{self, CheckerOptions};
use super::notice::UpDownOptions;
use super::options::options;
use super::timing::{HasTiming, TimingOptions};
use super::types::MAX_WEIGHT;
use super::values;
use super::virtual_server::VirtualServerOptions;
use super::vrrp::command::{self, command};
use super::vrrp::global::NO_SNMP;

options! {
    /// A real server as it was written.
    pub(crate) struct RealServerOptions {
        _ = only_on();
        /// Its address and port.
        pub(crate) address: Slot<SocketAddr> = word(=> read_address; "address", "IP:PORT").only_yaml();
        /// Check of this real server; `checks` is a list, all of which must pass.
        pub(crate) checkers: Vec<CheckerOptions> = word(=> checker::yaml::read; "check", "tcp, or a block with a type").or(&["checks"]).only_yaml().yaml_block("check");
        /// Share of the connections; 0 gets no new ones.
        pub(crate) weight: Slot<u32> = number("weight", 0, MAX_WEIGHT);
        /// Forwarding method of this real server.
        pub(crate) forwarding: Slot<Forwarding> = words(=> values::forwarding; "lvs_method", values::FORWARDING, 1, 8).yaml(&["forwarding"]).yaml_block(values::TUN);
        /// On failure weight 0 instead of removal.
        pub(crate) inhibit_on_failure: Slot<bool> = flag("inhibit_on_failure");
        /// DR and TUN: check that it takes packets for the VIP (lvsd's own word).
        pub(crate) path_check: Slot<bool> = flag("path_check");
        /// Connections above which it gets no new ones; 0 is no limit.
        pub(crate) upper_threshold: Slot<u32> = number("uthreshold", 0, i32::MAX as u32).yaml(&["upper_threshold"]), default 0;
        /// Connections below which an overloaded real server is used again.
        pub(crate) lower_threshold: Slot<u32> = number("lthreshold", 0, i32::MAX as u32).yaml(&["lower_threshold"]);
        /// Host header of HTTP checks.
        pub(crate) virtualhost: Slot<String> = text("virtualhost", "HOST", 255);
        /// Script to run when it comes up.
        _ = command(@commands.up => command::read; "notify_up");
        /// Script to run when it goes down.
        _ = command(@commands.down => command::read; "notify_down");
        pub(crate) commands: UpDownOptions;
        /// Send mails when it goes down and comes up.
        pub(crate) is_mailed: Slot<bool> = flag("smtp_alert");
        /// Name in SNMP.
        _ = unread("snmp_name", NO_SNMP);
        include pub(crate) timing: TimingOptions;
        /// Where its address is, or in YAML where it begins.
        pub(crate) span: Span;
        /// An unknown block that was skipped here: it may have been a check.
        pub(crate) skipped: Option<Word>;
    }
}

impl HasTiming for RealServerOptions {}

/// Keywords of `real_server`.
pub(crate) const REAL_SERVER: Table<RealServerOptions> = Table::of(
    "real_server",
    "a real server",
    &[RealServerOptions::keywords(), TimingOptions::keywords(), checker::keywords()],
);

/// Reads `real_server IP [PORT]`, or one of YAML's `real_servers`.
pub(crate) fn read(options: &mut VirtualServerOptions, node: &Node, reader: &mut Reader<'_>) {
    options.has_real_servers = true;
    let mut real_server = RealServerOptions { span: node.keyword.span, ..RealServerOptions::default() };
    if !reader.is_yaml() {
        real_server.span = node.span();
        read_address(&mut real_server.address, node, reader);
    }
    let outer = reader.skipped.take();
    reader.block(&REAL_SERVER, node.statements(), &mut real_server);
    real_server.skipped = std::mem::replace(&mut reader.skipped, outer);
    if reader.is_yaml() && !node.statements().iter().any(|s| &*s.keyword.text == "address") {
        let problem = Diagnostic::error(node.keyword.span, "a real server needs an address");
        reader.diagnostics.push(problem.help("write `address: IP:PORT`"));
    }
    // Most have one check, for which a vector takes the room of four.
    real_server.checkers.shrink_to_fit();
    if let Some(written) = &real_server.address {
        real_server.span = written.span;
        options.real_servers.push(real_server);
    }
}

fn read_address(slot: &mut Slot<SocketAddr>, node: &Node, reader: &mut Reader<'_>) {
    if let Some(value) = values::address_and_port(&node.values, node, reader) {
        *slot = Some(Spanned { value, span: node.span() });
    }
}
