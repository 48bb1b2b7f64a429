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
    pub name: &'static str,
    /// Its named flags.
    #[cfg_attr(not(any(test, feature = "internals")), allow(dead_code))]
    // the conformance suite tries each
    pub flags: &'static [(&'static str, ServiceFlags)],
}

/// Every scheduler of Linux 6.x.
pub const SCHEDULERS: &[Known] = &[
    Known { name: "rr", flags: &[] },    // round robin
    Known { name: "wrr", flags: &[] },   // weighted round robin
    Known { name: "lc", flags: &[] },    // least connections
    Known { name: "wlc", flags: &[] },   // weighted least connections
    Known { name: "lblc", flags: &[] },  // locality-based least connections
    Known { name: "lblcr", flags: &[] }, // locality-based least connections with replication
    Known { name: "dh", flags: &[] },    // destination hashing
    Known {
        name: "sh", // source hashing
        flags: &[("sh-fallback", ServiceFlags::SCHED1), ("sh-port", ServiceFlags::SCHED2)],
    },
    Known {
        name: "mh", // Maglev hashing
        flags: &[("mh-fallback", ServiceFlags::SCHED1), ("mh-port", ServiceFlags::SCHED2)],
    },
    Known { name: "sed", flags: &[] },  // shortest expected delay
    Known { name: "nq", flags: &[] },   // never queue
    Known { name: "fo", flags: &[] },   // weighted failover
    Known { name: "ovf", flags: &[] },  // weighted overflow
    Known { name: "twos", flags: &[] }, // power of two choices
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
