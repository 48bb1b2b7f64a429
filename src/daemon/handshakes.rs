//! Reads a sample of the kernel's list of connections every 10 seconds, and reports to the director how many TCP
//! handshakes are completed.
//!
//! Only where a virtual server has TCP, in a blocking job. The list is bounded, as it may have millions of lines: the
//! kernel lists connections by hash, so its beginning is a fair sample.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::time::Duration;

use tracing::info;

use super::clock;
use super::repeated::Repeated;
use crate::config::{Config, VirtualServerId};
use crate::director::io::Input;
use crate::ipvs::connections::{Completed, Flow, Handshakes, parse};
use crate::ipvs::types::Protocol;

/// The kernel's list, of this network namespace.
const LIST: &str = "/proc/net/ip_vs_conn";
/// From one reading to the next.
const INTERVAL: Duration = Duration::from_secs(10);
/// Bytes that are read: some three thousand connections.
const LIMIT: u64 = 256 << 10;

/// What one reading brought.
type Sample = BTreeMap<Flow, Handshakes>;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct HandshakeWatch {
    is_wanted: bool,
    readings: Repeated<(Completed, io::Result<Sample>)>,
    known: Completed,
    /// Without an earlier reading it is not known what is new.
    has_read: bool,
    was_empty: bool,
    unseen: String,
}

impl HandshakeWatch {
    /// Reads what this configuration needs, and nothing where it needs nothing.
    pub(crate) fn configure(&mut self, config: &Config) {
        let has_handshakes = |id: VirtualServerId| match id {
            VirtualServerId::Address { protocol, .. } => protocol == Protocol::Tcp,
            VirtualServerId::Fwmark { .. } => true,
        };
        self.is_wanted = config.virtual_servers.iter().any(|server| has_handshakes(server.id));
        self.read_again();
    }

    fn read_again(&mut self) {
        self.readings.set(self.is_wanted.then(|| clock::now() + INTERVAL));
    }

    /// The next input for the director; waits for it.
    pub(crate) async fn next(&mut self) -> Input {
        loop {
            let begin = || {
                let mut known = std::mem::take(&mut self.known);
                move || {
                    let sample = read(&mut known);
                    (known, sample)
                }
            };
            let ended = self.readings.next(begin).await;
            let (known, read) =
                ended.unwrap_or_else(|error| (Completed::new(), Err(io::Error::other(error))));
            self.known = known;
            let is_first = !std::mem::replace(&mut self.has_read, true);
            self.read_again();
            match read {
                Ok(_) if is_first => {}
                // Without connections there is nothing new to say twice.
                Ok(sample) => {
                    let is_empty = sample.is_empty();
                    if !std::mem::replace(&mut self.was_empty, is_empty) || !is_empty {
                        return Input::Handshakes(sample);
                    }
                }
                Err(error) => {
                    let unseen = error.to_string();
                    if unseen != self.unseen {
                        info!("client handshakes are not monitored: {LIST}: {unseen}");
                        self.unseen = unseen;
                    }
                }
            }
        }
    }
}

fn read(known: &mut Completed) -> io::Result<Sample> {
    let mut text = Vec::new();
    File::open(LIST)?.take(LIMIT).read_to_end(&mut text)?;
    Ok(parse(&String::from_utf8_lossy(&text), known))
}
