//! Sync groups: instances that are Master together or not at all.

use super::io::State;
use super::settings::GroupSettings;
use std::collections::BTreeSet;
use std::sync::Arc;

/// A sync group, and the state that was last reported.
#[derive(Debug)]
pub(super) struct Group {
    /// What it is to be.
    pub settings: Arc<GroupSettings>,
    pub reported: State,
}

impl Group {
    /// Nothing is reported yet.
    pub(super) fn new(settings: Arc<GroupSettings>) -> Group {
        Group { settings, reported: State::Init }
    }

    /// Whether an instance is in it.
    pub(super) fn has(&self, instance: &str) -> bool {
        self.settings.members.iter().any(|member| member == instance)
    }
}

/// The state of a group of instances in these states: that of all of them, but one Fault is the whole group's. While
/// they differ, as when one joins by a reload, it is what was reported before.
pub(super) fn state_of(members: impl Iterator<Item = State>, reported: State) -> State {
    let states: BTreeSet<State> = members.collect();
    let has = |state| states.contains(&state);
    match (states.first(), states.len()) {
        (None, _) => State::Init,
        (Some(state), 1) => *state,
        _ if has(State::Fault) => State::Fault,
        _ => match reported {
            State::Fault => State::Backup,
            State::Master if !has(State::Master) => State::Backup,
            before => before,
        },
    }
}

/// Some are Master and some are Backup: one has joined by a reload, and will follow or take the others along.
pub(super) fn is_split(members: impl Iterator<Item = State> + Clone) -> bool {
    members.clone().any(|state| state == State::Master) && members.clone().any(|state| state == State::Backup)
}

#[cfg(test)]
mod tests {
    use super::State::*;
    use super::*;

    #[test]
    fn a_group_has_its_members_state_and_one_fault_is_the_groups() {
        let cases: [(&[State], State, State); 10] = [
            (&[], Master, Init),
            (&[Master, Master], Init, Master),
            (&[Master, Fault, Master], Master, Fault),
            (&[Fault, Init], Backup, Fault),
            (&[Backup, Init, Backup], Init, Init),
            (&[Backup, Backup], Init, Backup),
            // One joins, or they are on their way.
            (&[Master, Backup, Init], Master, Master),
            (&[Master, Backup], Backup, Backup),
            (&[Backup, Init], Master, Backup),
            (&[Backup, Init], Fault, Backup),
        ];
        for (members, reported, state) in cases {
            assert_eq!(state_of(members.iter().copied(), reported), state, "{members:?} after {reported}");
        }
    }
}
