//! The simulated world: routers that run in production, over memory hosts and a wire, in virtual time, with faults.
//!
//! [`world`] performs effects and keeps the clock, [`site`] makes settings, [`invariants`] say what must never and what
//! must finally be true, the stories are single situations (CONFORMANCE.md says which point each proves), [`sweep`]
//! throws everything at it by seed. Replay one seed with `LVSD_SIM_SEED=17`, widen the sweep with
//! `LVSD_SIM_SEEDS=0..10000`.

mod addresses;
mod conflicts;
mod groups;
mod invariants;
mod life;
mod protocol;
pub mod site;
mod sweep;
mod world;
