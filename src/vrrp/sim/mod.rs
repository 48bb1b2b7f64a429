//! The simulated world: routers that run in production, over memory hosts and a wire, in virtual time, with faults.
//!
//! [`world`] performs effects and keeps the clock, [`site`] makes settings, [`invariants`] say what must never and what
//! must finally be true, the scenarios are single situations (CONFORMANCE.md says which point each proves), [`sweep`]
//! throws everything at it by seed. Replay one seed with `LVSD_SIM_SEED=17`, widen the sweep with
//! `LVSD_SIM_SEEDS=0..10000`.

mod addresses;
mod assertions;
mod believed;
mod conflicts;
mod damping;
mod groups;
mod handovers;
mod invariants;
mod kernel;
mod lifecycle;
mod links;
mod noise;
mod other_nodes;
mod pairs;
mod peer_lists;
mod preemption;
mod protocol;
mod reports;
pub(crate) mod scale;
mod sessions;
pub(crate) mod site;
mod sockets;
mod sources;
mod sweep;
mod track_checks;
mod world;

/// `LVSD_SIM_SEED` replays one, `LVSD_SIM_SEEDS` (`a..b`) widens the sweep.
pub(crate) fn seeds() -> std::ops::Range<u64> {
    let number = |text: &str| text.parse().expect("LVSD_SIM_SEED is a number, LVSD_SIM_SEEDS is a..b");
    if let Ok(one) = std::env::var("LVSD_SIM_SEED") {
        return number(&one)..number(&one) + 1;
    }
    match std::env::var("LVSD_SIM_SEEDS") {
        Ok(range) => {
            let (from, to) = range.split_once("..").expect("LVSD_SIM_SEEDS is a..b");
            number(from)..number(to)
        }
        Err(_) => 0..256,
    }
}
