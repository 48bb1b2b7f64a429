//! How the director does, in numbers: cheap enough to be asked every second, for the service manager's eyes.

use std::fmt;
use std::time::Duration;

use super::{Director, Life};
use crate::time::Instant;

/// How the director does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    pub virtual_servers: usize,
    /// Those without quorum.
    pub without_quorum: usize,
    /// Those the kernel refuses a part of.
    pub degraded: usize,
    pub real_servers: usize,
    /// Those that count as up.
    pub up: usize,
    /// Checkers that could not run for several intervals.
    pub stale: usize,
    /// How late the latest check is to begin or to end.
    pub overdue: Duration,
    /// Why the kernel does not answer, while it does not.
    pub kernel_trouble: Option<String>,
}

impl Director {
    /// How the director does at `now`.
    pub fn summary(&self, now: Instant) -> Summary {
        let members = || self.pools.values().flat_map(|pool| pool.members.values());
        Summary {
            virtual_servers: self.pools.len(),
            without_quorum: self.pools.values().filter(|pool| !pool.has_quorum()).count(),
            degraded: self.reconciler.failing().count(),
            real_servers: members().count(),
            up: members().filter(|member| member.is_up).count(),
            stale: self.checkers.stale(),
            overdue: self.checkers.overdue(now),
            kernel_trouble: self.reconciler.kernel_trouble().map(str::to_owned),
        }
    }

    /// How late the latest check is to begin or to end.
    pub fn overdue(&self, now: Instant) -> Duration {
        self.checkers.overdue(now)
    }

    /// Why the kernel does not answer, or refuses a setting, while it does.
    pub fn kernel_trouble(&self) -> Option<&str> {
        self.reconciler.kernel_trouble()
    }

    /// Whether the kernel holds what it should, as far as is known.
    pub fn is_in_sync(&self) -> bool {
        self.reconciler.is_in_sync()
    }

    /// Whether the kernel held what it should at least once since the start.
    pub fn is_ready(&self) -> bool {
        self.is_ready
    }

    /// Whether a stop or a hand-over has begun.
    pub fn is_ending(&self) -> bool {
        self.life != Life::Running
    }
}

impl fmt::Display for Summary {
    /// One sentence, what is wrong last: `2 virtual servers, 5 of 6 real servers up; 1 without quorum`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.virtual_servers {
            0 => f.write_str("no virtual servers")?,
            count => {
                let s = if count == 1 { "" } else { "s" };
                write!(f, "{count} virtual server{s}, {} of {} real servers up", self.up, self.real_servers)?;
            }
        }
        if self.without_quorum > 0 {
            write!(f, "; {} without quorum", self.without_quorum)?;
        }
        if self.degraded > 0 {
            write!(f, "; {} degraded", self.degraded)?;
        }
        if self.stale > 0 {
            write!(f, "; {} checks cannot be made from here", self.stale)?;
        }
        match &self.kernel_trouble {
            Some(trouble) => write!(f, "; kernel: {trouble}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sentence_says_what_is_wrong_and_nothing_when_all_is_well() {
        let well = Summary { virtual_servers: 1, real_servers: 3, up: 3, ..Summary::default() };
        assert_eq!(well.to_string(), "1 virtual server, 3 of 3 real servers up");
        assert_eq!(Summary::default().to_string(), "no virtual servers");
        let ill = Summary {
            virtual_servers: 2,
            without_quorum: 1,
            degraded: 1,
            up: 0,
            kernel_trouble: Some("no answer".to_owned()),
            ..well
        };
        let wanted =
            "2 virtual servers, 0 of 3 real servers up; 1 without quorum; 1 degraded; kernel: no answer";
        assert_eq!(ill.to_string(), wanted);
    }
}
