//! Changes of virtual routers and sync groups in keepalived's words: which commands hear of them, which line is
//! written.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::mail::letter::{self, Letter};
use super::telling::{Audience, Change, Line, Subject, Telling};
use crate::script::Command;
use crate::vrrp::event::Event;
use crate::vrrp::exchange::State;
use crate::vrrp::settings::{NotifyCommands, Settings};

/// What is told of an event besides itself.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scene<'a> {
    /// Settings in force.
    pub settings: &'a Settings,
    /// Those before the last reload: of what it removed.
    pub previous: Option<&'a Settings>,
    /// The daemon stops: Init is the end.
    pub is_stopping: bool,
}

/// Remembers what was told last, and counts.
#[derive(Debug, Default)]
pub(crate) struct Teller {
    last: BTreeMap<Subject, Told>,
    sequence: u64,
}

#[derive(Clone, Copy, Debug)]
struct Told {
    state: &'static str,
    priority: u8,
}

impl Teller {
    /// The number of the next change.
    pub(crate) fn next_sequence(&mut self) -> u64 {
        self.sequence += 1;
        self.sequence
    }

    /// Who hears of an event of the router, and what.
    pub(crate) fn tell(&mut self, event: &Event, scene: Scene<'_>) -> Option<Telling> {
        match event {
            Event::Transition { instance, to, priority, reason, master, .. } => {
                let subject = Subject::Instance(instance.clone());
                self.transition(subject, *to, *priority, (reason, *master), scene)
            }
            Event::Group { group, to, reason } => {
                self.transition(Subject::Group(group.clone()), *to, 0, (reason, None), scene)
            }
            Event::Renamed { is_group, before, name, state, priority } => {
                let subject = |name: &String| match is_group {
                    true => Subject::Group(name.clone()),
                    false => Subject::Instance(name.clone()),
                };
                self.renamed(&subject(before), subject(name), *state, *priority, scene)
            }
            Event::Priority { instance, state, to, reason, .. } => {
                let subject = Subject::Instance(instance.clone());
                let commands = commands(&subject, scene.settings)?;
                if let Some(told) = self.last.get_mut(&subject) {
                    told.priority = *to;
                }
                let word = match state {
                    State::Master => "MASTER_PRIORITY",
                    State::Backup => "BACKUP_PRIORITY",
                    State::Init | State::Fault => return None,
                };
                // keepalived tells the FIFO only.
                commands.tells_priority.then(|| self.telling(subject, word, *to, (reason, None), Vec::new()))
            }
            Event::LowerPriority { instance, source, theirs, ours, is_over } => {
                let subject = Subject::Instance(instance.clone());
                let script = commands(&subject, scene.settings)?.master_heard_lower_priority.clone();
                let reason = match is_over {
                    false => format!("{source} speaks as Master with priority {theirs}"),
                    true => format!("{source} spoke as Master with priority {theirs} and no longer does"),
                };
                let scripts = script.into_iter().collect();
                Some(self.telling(subject, "MASTER_RX_LOWER_PRI", *ours, (&reason, None), scripts))
            }
            _ => None,
        }
    }

    /// The last line of each instance and group again (`fifo_write_vrrp_states_on_reload`).
    pub(crate) fn lines(&self) -> Vec<Line> {
        self.last.iter().map(|(subject, told)| line(subject, told.state, told.priority)).collect()
    }

    /// Who reads the FIFO learns the new name with its state. No script runs: nothing has changed for what they do.
    fn renamed(
        &mut self,
        before: &Subject,
        subject: Subject,
        state: State,
        priority: u8,
        scene: Scene<'_>,
    ) -> Option<Telling> {
        let state = match state {
            State::Master => "MASTER",
            State::Backup => "BACKUP",
            State::Fault => "FAULT",
            State::Init => return None,
        };
        if commands(before, scene.settings).is_none() {
            self.last.remove(before);
        }
        let reason = format!("its name was {} before the reload", before.name());
        let telling = self.telling(subject.clone(), state, priority, (&reason, None), Vec::new());
        self.last.insert(subject, Told { state, priority });
        Some(telling)
    }

    fn transition(
        &mut self,
        subject: Subject,
        to: State,
        priority: u8,
        why: (&str, Option<IpAddr>),
        scene: Scene<'_>,
    ) -> Option<Telling> {
        let current = commands(&subject, scene.settings);
        let is_deleted = current.is_none();
        let commands = current.or_else(|| commands(&subject, scene.previous?))?;
        let (state, own) = match to {
            State::Master => ("MASTER", &commands.master),
            State::Backup => ("BACKUP", &commands.backup),
            State::Fault => ("FAULT", &commands.fault),
            State::Init if is_deleted && (commands.tells_deleted || commands.deleted.is_some()) => {
                ("DELETED", &commands.deleted)
            }
            State::Init if is_deleted => ("FAULT", &commands.fault),
            State::Init if scene.is_stopping => ("STOP", &commands.stop),
            // On its way from one life to the next.
            State::Init => return None,
        };
        let any = commands.any.as_ref().map(|any| with_state(any, &subject, state, priority));
        let scripts = own.clone().into_iter().chain(any).collect();
        let mut telling = self.telling(subject.clone(), state, priority, why, scripts);
        telling.letter = mail(commands, &telling.change, scene);
        if is_deleted {
            self.last.remove(&subject);
        } else {
            self.last.insert(subject, Told { state, priority });
        }
        Some(telling)
    }

    fn telling(
        &mut self,
        subject: Subject,
        state: &'static str,
        priority: u8,
        (reason, master): (&str, Option<IpAddr>),
        scripts: Vec<Command>,
    ) -> Telling {
        let line = Some(line(&subject, state, priority));
        let previous = self.last.get(&subject).map(|told| told.state);
        let (priority, cause) = (Some(priority), reason.to_owned());
        let sequence = self.next_sequence();
        let change = Change { subject, state, previous, priority, cause, master, sequence };
        Telling { change, scripts, line, letter: None }
    }
}

fn commands<'a>(subject: &Subject, settings: &'a Settings) -> Option<&'a NotifyCommands> {
    match subject {
        Subject::Instance(name) => settings.instances.iter().find(|i| i.name == *name).map(|i| &i.notify),
        Subject::Group(name) => settings.groups.iter().find(|g| g.name == *name).map(|g| &g.notify),
        Subject::VirtualServer(_) | Subject::RealServer(..) => None,
    }
}

/// What a mail says. Of what a reload removed, it is a fault's, whatever scripts are told.
fn mail(commands: &NotifyCommands, change: &Change, scene: Scene<'_>) -> Option<Letter> {
    let state = if change.state == "DELETED" { "FAULT" } else { change.state };
    let is_told = commands.mail && (state != "FAULT" || !scene.settings.notify.mails_no_faults);
    is_told.then(|| letter::of_router(&change.subject, state, &change.cause))
}

/// `notify`: its own arguments, then who and how.
fn with_state(any: &Command, subject: &Subject, state: &str, priority: u8) -> Command {
    let mut command = any.clone();
    let words = [subject.kind(), subject.name(), state, &priority.to_string()];
    command.words.extend(words.map(str::to_owned));
    command
}

fn line(subject: &Subject, state: &str, priority: u8) -> Line {
    let text = format!("{} \"{}\" {state} {priority}\n", subject.kind(), subject.name());
    Line { audience: Audience::Vrrp, bytes: text.into_bytes() }
}

#[cfg(test)]
mod tests;
