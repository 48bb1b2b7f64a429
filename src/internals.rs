//! A window into the crate for the lab, the memory count and the fuzz targets, which are programs of their own.

/// The conversations' words.
pub mod check {
    pub use crate::check::outcome::Outcome;
    pub use crate::check::schedule::RunId;
}

/// Text to configuration.
pub mod config {
    pub use crate::config::load::{Strictness, load_from};
    pub use crate::config::{Config, VirtualServerId};
    pub use crate::syntax::files::Files;
}

/// What a running daemon answers, and its clock.
pub mod daemon {
    pub use crate::daemon::clock::unix_now;
    pub use crate::daemon::control::{Command, Reply, ask};
    pub use crate::daemon::guardian::{Guardian, NAME as GUARDIAN};
}

/// The director's machine.
pub mod director {
    pub use crate::director::Director;
    pub use crate::director::admin_override::{OverrideChange, Selector};
    pub use crate::director::io::{Effect, Input};
    pub use crate::director::reconcile::Request;
    pub use crate::director::state::State;
    pub use crate::time::Instant;
}

/// Input from outside, as functions of bytes.
pub mod fuzz {
    pub use crate::fuzz::{
        TARGETS, bfd_packet, control_request, dns_reply, expander, http_reply, keepalived_conf, netlink_ipvs,
        netlink_rtnetlink, nft_json, smtp_reply, vrrp_packet, yaml,
    };
}

/// The kernel's table, in memory and for real, and the suite both must pass.
pub mod ipvs {
    pub use crate::ipvs::backend::{Backend, Op, Refusal, Scope, Snapshot};
    pub use crate::ipvs::conformance;
    pub use crate::ipvs::memory::MemoryBackend;
    pub use crate::ipvs::netlink::NetlinkBackend;
    pub use crate::ipvs::scheduler::{SCHEDULERS, Scheduler};
    pub use crate::ipvs::types::{
        DesiredService, Destination, Family, Forwarding, Persistence, Protocol, Service, ServiceEntry,
        ServiceFlags, ServiceKey, Tunnel, TunnelChecksum,
    };
}

/// The host's network, and the suite both its backends must pass.
pub mod net {
    pub use crate::net::conformance::{self, Meddling, Subject};
    pub use crate::net::kernel::Kernel;
    pub use crate::net::kernel::tc::FILTER_PRIORITIES;
    pub use crate::net::kernel::watch::{Watch, WatchBatch};
    pub use crate::net::packet_socket::PacketSocket;
    pub use crate::net::sysctl;
    pub use crate::net::tc::ingress::{MarkFilter, ServiceAddress, changes};
    pub use crate::net::types::{
        Address, Hop, Host, HostEvent, LinkIndex, MacAddress, Op, PROTOCOL, Prefix, Refusal, Route, Rule,
        RuleAction, Vmac,
    };
}

/// What the guardian does for a daemon that died.
pub mod vrrp {
    pub use crate::vrrp::io::{CrashPlan, Endpoint, Transmission};
}
