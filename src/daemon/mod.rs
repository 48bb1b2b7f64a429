//! The shell: everything that can block, fail or lie. It performs the director's effects and decides nothing.
//!
//! [`clock`] is read here and nowhere below. [`startup`] makes sure this may be the director of its network namespace;
//! [`main_loop`] owns the director and hands out work: [`actuator`] talks to the kernel, [`prober`] asks real servers,
//! [`reload`] reads configurations, [`control`] answers operators, [`web`] monitoring ([`metrics`]), [`systemd`] and
//! [`health`] the service manager. [`state_file`] remembers (in files of `private_file`), [`event_dispatcher`] sends
//! events to the log, operators' [`scripts`], [`fifos`] and [`mails`]; `lifecycle_scripts` runs the scripts of the
//! start and the end. [`trackers`] watch what the router follows, [`asserter`] runs the commands of `assert`. [`process`] finds other directors that run here,
//! [`host_checks`] what on this host will hurt, [`rights`] what its commands lack, [`sysctls`] keeps its settings,
//! [`host_watch`] knows its addresses and has arriving packets marked, [`host_findings`] runs the doctor for it now and
//! then. [`plan`] only looks. [`signals`] says what each signal means, [`dump`] writes the status into files when one
//! asks for it. [`guardian`] acts when all of it has died.

pub(crate) mod actuator;
mod admission;
pub(crate) mod asserter;
pub(crate) mod boot_file;
pub(crate) mod clock;
pub(crate) mod control;
pub(crate) mod dump;
pub(crate) mod event_dispatcher;
mod exposition;
pub(crate) mod fifos;
pub(crate) mod firewall;
pub(crate) mod guardian;
mod handover;
pub(crate) mod handshakes;
pub(crate) mod health;
pub(crate) mod host_checks;
pub(crate) mod host_findings;
pub(crate) mod host_watch;
mod ingress_marks;
mod lifecycle_scripts;
pub(crate) mod log;
pub(crate) mod mails;
pub(crate) mod main_loop;
pub(crate) mod memory;
pub(crate) mod metrics;
pub(crate) mod orphans;
pub(crate) mod plan;
mod private_file;
pub(crate) mod prober;
pub(crate) mod process;
mod programs;
pub(crate) mod reload;
mod repeated;
mod return_path;
pub(crate) mod rights;
pub(crate) mod router;
mod router_metrics;
pub(crate) mod scripts;
mod serve;
pub(crate) mod signals;
mod smtp;
pub(crate) mod snapshot;
mod sources;
pub(crate) mod startup;
pub(crate) mod state_file;
pub(crate) mod sync_ids;
pub(crate) mod sysctls;
pub(crate) mod systemd;
pub(crate) mod trackers;
pub(crate) mod units;
pub(crate) mod web;
