//! What BFD_CHECK asks.

use serde::Serialize;

/// The BFD session that BFD_CHECK follows.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct BfdQuestion {
    /// Name of its `bfd_instance`.
    pub session: Box<str>,
}
