//! Sync groups: instances that are Master together or not at all.

use super::exchange::State;
use super::settings::GroupSettings;
use std::sync::Arc;

/// A sync group, and what was last told of it.
#[derive(Debug)]
pub struct Group {
    /// What it is to be.
    pub settings: Arc<GroupSettings>,
    /// The state that was told.
    pub told: State,
}

impl Group {
    /// Nothing told yet.
    pub fn new(settings: Arc<GroupSettings>) -> Group {
        Group { settings, told: State::Init }
    }

    /// Whether an instance is in it.
    pub fn has(&self, instance: &str) -> bool {
        self.settings.members.iter().any(|member| member == instance)
    }
}

/// The state of a group of instances in these states: that of all of them, but one Fault is everybody's.
pub fn state_of(members: impl Iterator<Item = State>) -> State {
    let mut all = None;
    for state in members {
        all = match (all, state) {
            (_, State::Fault) | (Some(State::Fault), _) => Some(State::Fault),
            (None, state) => Some(state),
            (Some(before), state) if before == state => Some(state),
            (Some(State::Init), _) | (_, State::Init) => Some(State::Init),
            // On the way from one to the other.
            (Some(_), _) => Some(State::Backup),
        };
    }
    all.unwrap_or(State::Init)
}

#[cfg(test)]
mod tests {
    use super::State::*;
    use super::*;

    #[test]
    fn a_group_is_what_all_are_and_one_fault_is_everybodys() {
        let cases: [(&[State], State); 7] = [
            (&[], Init),
            (&[Master, Master], Master),
            (&[Master, Backup], Backup),
            (&[Backup, Backup], Backup),
            (&[Master, Fault, Master], Fault),
            (&[Fault, Init], Fault),
            (&[Backup, Init, Backup], Init),
        ];
        for (members, state) in cases {
            assert_eq!(state_of(members.iter().copied()), state, "{members:?}");
        }
    }
}
