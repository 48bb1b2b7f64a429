//! The kernel's schedulers (`lb_algo`): one row each.
//!
//! A name outside this table may still exist in a kernel newer than lvsd, hence [`Scheduler`] holds any valid
//! module name; the table answers what configuration files may say and what the flags mean.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::types::ServiceFlags;

/// A scheduler's name as the kernel knows it (`ip_vs_NAME`), at most 15 bytes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Scheduler(String);

/// One scheduler the kernel offers.
pub struct Known {
    /// Its name.
    pub name: &'static str,
    /// What it does, in one phrase.
    pub doc: &'static str,
    /// Its named flags.
    pub flags: &'static [(&'static str, ServiceFlags)],
}

/// Every scheduler of Linux 6.x.
pub const SCHEDULERS: &[Known] = &[
    Known { name: "rr", doc: "round robin", flags: &[] },
    Known { name: "wrr", doc: "weighted round robin", flags: &[] },
    Known { name: "lc", doc: "least connections", flags: &[] },
    Known { name: "wlc", doc: "weighted least connections", flags: &[] },
    Known { name: "lblc", doc: "locality-based least connections", flags: &[] },
    Known { name: "lblcr", doc: "locality-based least connections with replication", flags: &[] },
    Known { name: "dh", doc: "destination hashing", flags: &[] },
    Known {
        name: "sh",
        doc: "source hashing",
        flags: &[("sh-fallback", ServiceFlags::SCHED1), ("sh-port", ServiceFlags::SCHED2)],
    },
    Known {
        name: "mh",
        doc: "Maglev hashing",
        flags: &[("mh-fallback", ServiceFlags::SCHED1), ("mh-port", ServiceFlags::SCHED2)],
    },
    Known { name: "sed", doc: "shortest expected delay", flags: &[] },
    Known { name: "nq", doc: "never queue", flags: &[] },
    Known { name: "fo", doc: "weighted failover", flags: &[] },
    Known { name: "ovf", doc: "weighted overflow", flags: &[] },
    Known { name: "twos", doc: "power of two choices", flags: &[] },
];

impl Scheduler {
    /// Longest name the kernel takes (IP_VS_SCHEDNAME_MAXLEN less the terminator).
    pub const MAX_LEN: usize = 15;

    /// A scheduler by name; None when the name could not be a kernel module's (empty, too long, odd bytes).
    pub fn new(name: &str) -> Option<Scheduler> {
        let plain =
            name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_' || b == b'-');
        (!name.is_empty() && name.len() <= Self::MAX_LEN && plain).then(|| Scheduler(name.to_owned()))
    }

    /// Its name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Its row in the table, if lvsd knows it.
    pub fn known(&self) -> Option<&'static Known> {
        SCHEDULERS.iter().find(|k| k.name == self.0)
    }
}

impl fmt::Display for Scheduler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
