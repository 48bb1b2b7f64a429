//! The simulated world: the director that runs in production, over a memory kernel, in virtual time, with faults.
//!
//! [`world`] performs effects and keeps the clock, [`invariants`] say what must never and what must finally be
//! true, [`stories`], [`crowds`], [`coupled`] and [`placed`], [`ways`] and [`problems`] are single situations, [`sweep`] throws everything at it by seed,
//! [`idle`] is a director with nothing of IPVS, [`foresight`] holds previews against what happens. Replay one seed with
//! `LVSD_SIM_SEED=17`, widen the sweep with `LVSD_SIM_SEEDS=0..10000`.

mod costs;
mod coupled;
mod crowds;
mod first_verdicts;
mod foresight;
mod idle;
mod invariants;
mod placed;
mod problems;
pub(super) mod stories;
mod sweep;
mod ways;
mod world;
