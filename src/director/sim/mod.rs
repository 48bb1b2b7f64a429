//! The simulated world: the director that runs in production, over a memory kernel, in virtual time, with faults.
//!
//! [`world`] performs effects and keeps the clock, [`invariants`] say what must never and what must finally be
//! true, [`scenarios`], [`scale`], [`vrrp_link`] and [`colocation`], [`path_check`] and [`problems`] are single situations, [`sweep`] throws everything at it by seed,
//! [`idle`] is a director with nothing of IPVS, [`weights`] are those that checks ask for, [`sessions`] are checks by BFD, [`files`] by numbers in files, [`suspension`] those that need the VIP, [`track_checks`] those that the router tracks, [`notifications`] what scripts and FIFOs get, [`preview`] holds previews against what happens. Replay one seed with
//! `LVSD_SIM_SEED=17`, widen the sweep with `LVSD_SIM_SEEDS=0..10000`.

mod colocation;
mod costs;
mod files;
mod first_verdicts;
mod idle;
mod invariants;
mod notifications;
mod path_check;
mod preview;
mod problems;
mod scale;
pub(super) mod scenarios;
mod sessions;
mod suspension;
mod sweep;
mod track_checks;
mod vrrp_link;
mod weights;
mod world;
