//! Changes of virtual routers and sync groups in keepalived's words: which commands hear of them, which line is
//! written.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::mail::content::{self, MailContent};
use super::notification::{Audience, FifoLine, Notification, StateChange, Subject};
use crate::script::Command;
use crate::vrrp::event::Event;
use crate::vrrp::io::State;
use crate::vrrp::settings::{NotifyCommands, Settings};

/// What a notification depends on besides its event.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Context<'a> {
    /// Settings in force.
    pub settings: &'a Settings,
    /// Those before the last reload: of what it removed.
    pub previous: Option<&'a Settings>,
    /// The daemon stops: Init is the end.
    pub is_stopping: bool,
}

/// Makes notifications of the router's events; remembers the last state of each subject.
#[derive(Debug, Default)]
pub(crate) struct VrrpNotifier {
    last: BTreeMap<Subject, LastState>,
    /// Priorities of instances that have both families.
    pairs: BTreeMap<String, u8>,
}

#[derive(Clone, Copy, Debug)]
struct LastState {
    state: &'static str,
    priority: u8,
}

impl VrrpNotifier {
    /// The notification of an event of the router, if it has one.
    pub(crate) fn notify(&mut self, event: &Event, context: Context<'_>) -> Option<Notification> {
        match event {
            Event::Transition { instance, to, priority, reason, master, .. } => {
                let subject = Subject::Instance(instance.clone());
                if let Some(pair) = pair_of(instance, context) {
                    // Both families are notified once: by their group, and when the configuration has them no more.
                    let is_removed = *to == State::Init && !context.is_stopping;
                    self.pairs.insert(pair.to_owned(), *priority);
                    if pair != instance || !is_removed {
                        return None;
                    }
                }
                self.transition(subject, *to, *priority, (reason, *master), context)
            }
            Event::Group { group, to, reason } if is_pair(group, context) => {
                let subject = Subject::Instance(group.clone());
                let priority = self.pairs.get(group).copied().unwrap_or_default();
                let is_known = self.last.get(&subject).is_some_and(|last| Some(last.state) == word(*to));
                // It had one family before the reload.
                if is_known { None } else { self.transition(subject, *to, priority, (reason, None), context) }
            }
            Event::Group { group, to, reason } => {
                self.transition(Subject::Group(group.clone()), *to, 0, (reason, None), context)
            }
            Event::Renamed { is_group: true, name, .. } if is_pair(name, context) => None,
            // Its name follows from the other one's.
            Event::Renamed { is_group: false, name, .. }
                if pair_of(name, context).is_some_and(|pair| pair != name) =>
            {
                None
            }
            Event::Renamed { is_group, before, is_taken, name, state, priority } => {
                let subject = |name: &String| match is_group {
                    true => Subject::Group(name.clone()),
                    false => Subject::Instance(name.clone()),
                };
                // Unless it is another one's by now, also if a new instance gets it: that one has no last state.
                if !is_taken {
                    self.last.remove(&subject(before));
                }
                self.renamed(&subject(before), subject(name), *state, *priority)
            }
            Event::Priority { instance, .. }
                if pair_of(instance, context).is_some_and(|pair| pair != instance) =>
            {
                None
            }
            Event::Priority { instance, state, to, reason, .. } => {
                if let Some(priority) = self.pairs.get_mut(instance) {
                    *priority = *to;
                }
                let subject = Subject::Instance(instance.clone());
                let commands = commands(&subject, context.settings)?;
                if let Some(last) = self.last.get_mut(&subject) {
                    last.priority = *to;
                }
                let word = match state {
                    State::Master => "MASTER_PRIORITY",
                    State::Backup => "BACKUP_PRIORITY",
                    State::Init | State::Fault => return None,
                };
                // keepalived writes this to the FIFO only.
                commands
                    .notifies_priority
                    .then(|| self.notification(subject, word, *to, (reason, None), Vec::new()))
            }
            Event::LowerPriority { instance, source, theirs, ours, is_over } => {
                let subject = Subject::Instance(pair_of(instance, context).unwrap_or(instance).to_owned());
                let script = commands(&subject, context.settings)?.master_heard_lower_priority.clone();
                let reason = match is_over {
                    false => format!("{source} advertises as Master with priority {theirs}"),
                    true => {
                        format!("{source} advertised as Master with priority {theirs} and no longer does")
                    }
                };
                let scripts = script.into_iter().collect();
                Some(self.notification(subject, "MASTER_RX_LOWER_PRI", *ours, (&reason, None), scripts))
            }
            _ => None,
        }
    }

    /// The last line of each instance and group again (`fifo_write_vrrp_states_on_reload`).
    pub(crate) fn lines(&self) -> Vec<FifoLine> {
        self.last.iter().map(|(subject, last)| line(subject, last.state, last.priority)).collect()
    }

    /// A reader of the FIFO gets the new name with its state. No script runs, because the state did not change.
    fn renamed(
        &mut self,
        before: &Subject,
        subject: Subject,
        state: State,
        priority: u8,
    ) -> Option<Notification> {
        let state = word(state)?;
        let reason = format!("its name was {} before the reload", before.name());
        let notification = self.notification(subject.clone(), state, priority, (&reason, None), Vec::new());
        self.last.insert(subject, LastState { state, priority });
        Some(notification)
    }

    fn transition(
        &mut self,
        subject: Subject,
        to: State,
        priority: u8,
        why: (&str, Option<IpAddr>),
        context: Context<'_>,
    ) -> Option<Notification> {
        let current = commands(&subject, context.settings);
        // An instance that is not run here any more (another node's), while lvsd goes on, was removed as well.
        let is_deleted = current.is_none() || (to == State::Init && !context.is_stopping);
        let commands = current.or_else(|| commands(&subject, context.previous?))?;
        let (state, own) = match to {
            State::Master => ("MASTER", &commands.master),
            State::Backup => ("BACKUP", &commands.backup),
            State::Fault => ("FAULT", &commands.fault),
            State::Init if is_deleted && (commands.notifies_deleted || commands.deleted.is_some()) => {
                ("DELETED", &commands.deleted)
            }
            State::Init if is_deleted => ("FAULT", &commands.fault),
            State::Init => ("STOP", &commands.stop),
        };
        let any = commands.any.as_ref().map(|any| with_state(any, &subject, state, priority));
        let scripts = own.clone().into_iter().chain(any).collect();
        let mut notification = self.notification(subject.clone(), state, priority, why, scripts);
        notification.mail = mail(commands, &notification.change, context);
        if is_deleted {
            self.last.remove(&subject);
        } else {
            self.last.insert(subject, LastState { state, priority });
        }
        Some(notification)
    }

    fn notification(
        &self,
        subject: Subject,
        state: &'static str,
        priority: u8,
        (reason, master): (&str, Option<IpAddr>),
        scripts: Vec<Command>,
    ) -> Notification {
        let line = Some(line(&subject, state, priority));
        let previous = self.last.get(&subject).map(|last| last.state);
        let (priority, cause) = (Some(priority), reason.to_owned());
        let change = StateChange { subject, state, previous, priority, cause, master };
        Notification { change, scripts, line, mail: None }
    }
}

/// keepalived's word for a state that lasts.
fn word(state: State) -> Option<&'static str> {
    match state {
        State::Master => Some("MASTER"),
        State::Backup => Some("BACKUP"),
        State::Fault => Some("FAULT"),
        State::Init => None,
    }
}

/// The instance of the configuration that an instance is one family of.
fn pair_of<'a>(name: &str, context: Context<'a>) -> Option<&'a str> {
    let all = [Some(context.settings), context.previous].into_iter().flatten();
    let mut named = all.filter_map(|settings| settings.instances.iter().find(|i| i.name == name));
    named.next().and_then(|instance| instance.pair.as_deref())
}

/// A group of the two families of one instance.
fn is_pair(group: &str, context: Context<'_>) -> bool {
    let all = [Some(context.settings), context.previous].into_iter().flatten();
    let mut named = all.filter_map(|settings| settings.groups.iter().find(|g| g.name == group));
    named.next().is_some_and(|group| group.is_pair)
}

fn commands<'a>(subject: &Subject, settings: &'a Settings) -> Option<&'a NotifyCommands> {
    match subject {
        Subject::Instance(name) => settings.instances.iter().find(|i| i.name == *name).map(|i| &i.notify),
        Subject::Group(name) => settings.groups.iter().find(|g| g.name == *name).map(|g| &g.notify),
        Subject::VirtualServer(_) | Subject::RealServer(..) => None,
    }
}

/// The content of a mail. For an instance that a reload removed it says FAULT, although scripts get another state.
fn mail(commands: &NotifyCommands, change: &StateChange, context: Context<'_>) -> Option<MailContent> {
    let state = if change.state == "DELETED" { "FAULT" } else { change.state };
    let is_reported = commands.mail && (state != "FAULT" || !context.settings.notify.mails_no_faults);
    is_reported.then(|| content::of_router(&change.subject, state, &change.cause))
}

/// `notify`: its own arguments, then type, name, state and priority.
fn with_state(any: &Command, subject: &Subject, state: &str, priority: u8) -> Command {
    let mut command = any.clone();
    let words = [subject.kind(), subject.name(), state, &priority.to_string()];
    command.words.extend(words.map(str::to_owned));
    command
}

fn line(subject: &Subject, state: &str, priority: u8) -> FifoLine {
    let text = format!("{} \"{}\" {state} {priority}\n", subject.kind(), subject.name());
    FifoLine { audience: Audience::Vrrp, bytes: text.into_bytes() }
}

#[cfg(test)]
mod tests;
