//! The shell: everything that can block, fail or lie. It performs the director's effects and decides nothing.
//!
//! [`clock`] is read here and nowhere below. [`startup`] makes sure this may be the director of its network namespace; [`main_loop`] owns the director and
//! hands out work: [`actuator`] talks to the kernel, [`prober`] asks real servers, [`reload`] reads configurations,
//! [`control`] answers operators, [`web`] monitoring ([`metrics`]), [`notify`] and [`pulse`] the service manager.
//! [`state_file`] remembers (in files of `private_file`), [`sink`] tells the log, operators' [`scripts`], [`fifos`] and [`mails`]; `life` runs the
//! scripts of the start and the end. [`trackers`] watch what the router follows. [`process`] knows who else runs here,
//! [`traps`] what on this host will hurt, [`rights`] what its commands lack, [`sysctls`] keeps its settings, [`doors`] knows its addresses and has arriving
//! packets marked, [`leaks`] asks who answers for its VIPs. [`plan`] only looks.
//! [`signals`] says what each signal means, [`dump`] writes the status into files when one asks for it.
//! [`guardian`] acts when all of it has died.

pub mod actuator;
mod admission;
pub mod clock;
pub mod control;
pub mod doors;
pub mod dump;
mod exposition;
pub mod fifos;
pub mod firewall;
pub mod guardian;
pub mod handshakes;
pub mod host_watch;
pub mod leaks;
mod life;
pub mod log;
pub mod mails;
pub mod main_loop;
mod masters;
pub mod metrics;
pub mod notify;
pub mod orphans;
pub mod plan;
mod private_file;
pub mod prober;
pub mod process;
mod programs;
pub mod pulse;
pub mod reload;
mod repeated;
pub mod rights;
pub mod router;
mod router_metrics;
pub mod scripts;
mod serve;
pub mod signals;
pub mod sink;
mod smtp;
pub mod snapshot;
mod sources;
pub mod startup;
pub mod state_file;
pub mod sync_ids;
pub mod sysctls;
pub mod trackers;
pub mod traps;
pub mod units;
mod vantage;
pub mod web;
