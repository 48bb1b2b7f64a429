//! What instances and groups follow (`track_interface` and the like), and whom they tell.

use crate::config::mail::Alerts;
use crate::config::options::options;
use crate::syntax::keyword::{Reader, Slot, Table, get, nearest};
use crate::syntax::source::Span;
use crate::syntax::tree::{Node, Word};
use crate::syntax::value::{Wrong, boolean};
use crate::vrrp::settings::{Command, NotifyCommands, TrackTarget};

use super::command::{self, CommandOptions, UserOptions, command};
use super::line::lines;
use super::yaml_name;

/// The table of YAML's mappings.
pub(crate) const TABLE: &str = "track";

options! {
    /// What a block tracks and notifies, as it was written.
    pub(crate) struct Tracked {
        /// Interfaces that change the priority, or put it in Fault.
        pub(crate) interfaces: Vec<TrackOptions> = lines(=> read; "track_interface", Some(TABLE));
        /// Scripts that change the priority, or put it in Fault.
        pub(crate) scripts: Vec<TrackOptions> = lines(=> read; "track_script", Some(TABLE));
        /// Files whose numbers change the priority, or put it in Fault.
        pub(crate) files: Vec<TrackOptions> = lines(=> read; "track_file", Some(TABLE));
        /// Processes that change the priority, or put it in Fault.
        pub(crate) processes: Vec<TrackOptions> = lines(=> read; "track_process", Some(TABLE));
        /// Checks that change the priority, or put it in Fault (lvsd's own word).
        pub(crate) checks: Vec<TrackOptions> = lines_or_line(=> read; "track_check", Some(TABLE));
        /// BFD sessions that change the priority, or put it in Fault.
        pub(crate) sessions: Vec<TrackOptions> = lines(=> read; "track_bfd", Some(TABLE));
        /// Script to run at any change of state: INSTANCE or GROUP, name, state and priority are its last arguments.
        _ = command(@notify.any => command::read; "notify");
        /// Script to run on becoming Master.
        _ = command(@notify.master => command::read; "notify_master");
        /// Script to run on becoming Backup.
        _ = command(@notify.backup => command::read; "notify_backup");
        /// Script to run on a fault.
        _ = command(@notify.fault => command::read; "notify_fault");
        /// Script to run at the end.
        _ = command(@notify.stop => command::read; "notify_stop");
        /// Script to run when a reload removes it; without one, DELETED is reported instead of FAULT.
        _ = words(@notify => deleted; "notify_deleted", "[COMMAND [USER [GROUP]]]", 0, 3);
        /// Report priorities to the FIFO, too.
        _ = flag(@notify.notifies_priority; "notify_priority_changes");
        /// Send mails about changes of state.
        _ = flag(@notify.mail; "smtp_alert");
        pub(crate) notify: NotifyOptions;
    }
}

options! {
    /// A line of such a block.
    pub(crate) struct TrackOptions {
        pub(crate) name: Word;
        _ = yaml_name();
        _ = only_on();
        /// What is added to the priority; 0 puts the instance in Fault.
        pub(crate) weight: Slot<WeightOptions> = words(=> read_weight; "weight", WEIGHT, 1, 2);
        /// It counts the other way round.
        pub(crate) is_reversed: Slot<bool> = flag("reverse").only_yaml();
    }
}

/// `weight N [reverse|noreverse]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct WeightOptions {
    /// From -254 to 254.
    pub(crate) weight: i16,
    /// Whether it counts the other way round, where that is said.
    pub(crate) is_reversed: Option<bool>,
}

/// The same of FILE_CHECK, whose numbers are those of IPVS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Factor {
    /// At least the opposite of the largest number of 32 bits.
    pub(crate) weight: i32,
    /// Whether it counts the other way round, where that is said.
    pub(crate) is_reversed: Option<bool>,
}

/// `notify` and the like.
#[derive(Debug, Default)]
pub(crate) struct NotifyOptions {
    any: Slot<CommandOptions>,
    master: Slot<CommandOptions>,
    backup: Slot<CommandOptions>,
    fault: Slot<CommandOptions>,
    stop: Slot<CommandOptions>,
    deleted: Slot<CommandOptions>,
    notifies_deleted: Slot<bool>,
    /// `notify_master_rx_lower_pri`.
    pub(crate) lower_priority: Slot<CommandOptions>,
    notifies_priority: Slot<bool>,
    /// `smtp_alert`.
    pub(crate) mail: Slot<bool>,
}

/// Makes the target of one kind out of its name.
pub(crate) type Kind = fn(String) -> TrackTarget;

/// Options of what is tracked.
pub(crate) const TRACK: Table<TrackOptions> = Table::of(TABLE, TABLE, &[TrackOptions::keywords()]);

impl NotifyOptions {
    /// The commands, with the users they run as.
    pub(crate) fn resolve(
        &self,
        usual: &UserOptions,
        notifies_priority: bool,
        alerts: Alerts,
    ) -> NotifyCommands {
        let command = |slot: &Slot<CommandOptions>| -> Option<Command> {
            slot.as_ref().map(|s| command::resolve(&s.value, usual))
        };
        NotifyCommands {
            master: command(&self.master),
            backup: command(&self.backup),
            fault: command(&self.fault),
            stop: command(&self.stop),
            deleted: command(&self.deleted),
            notifies_deleted: get(&self.notifies_deleted).unwrap_or(false),
            any: command(&self.any),
            master_heard_lower_priority: command(&self.lower_priority),
            notifies_priority: get(&self.notifies_priority).unwrap_or(notifies_priority),
            mail: alerts.of_router(&self.mail),
        }
    }

    /// Its commands.
    pub(crate) fn commands(&self) -> impl Iterator<Item = &CommandOptions> {
        let all = [
            &self.any,
            &self.master,
            &self.backup,
            &self.fault,
            &self.stop,
            &self.deleted,
            &self.lower_priority,
        ];
        all.into_iter().flatten().map(|slot| &slot.value)
    }
}

fn deleted(notify: &mut NotifyOptions, node: &Node, reader: &mut Reader<'_>) {
    match &node.values[..] {
        [] => reader.store(&mut notify.notifies_deleted, node, true),
        [word] if boolean(word).is_some() => {
            reader.store(&mut notify.notifies_deleted, node, boolean(word).unwrap_or(true));
        }
        _ => command::read(&mut notify.deleted, node, reader),
    }
}

/// Reads a block of `NAME [weight N [reverse]]` lines.
fn read(found: &mut Vec<TrackOptions>, node: &Node, reader: &mut Reader<'_>) {
    for line in lines(&TRACK, "name", node, reader) {
        let Some(name) = line.first.first().cloned() else { continue };
        let mut options = TrackOptions { name, ..TrackOptions::default() };
        reader.options(&TRACK, &line.options, &mut options);
        found.push(options);
    }
}

/// The largest weight of what is followed.
const MAX_WEIGHT: i32 = 254;
/// The form of a weight.
pub(super) const WEIGHT: &str = "a whole number from -254 to 254 [reverse|noreverse]";

/// Reads `N [reverse|noreverse]`; of several the last one counts.
pub(super) fn read_weight(slot: &mut Slot<WeightOptions>, node: &Node, reader: &mut Reader<'_>) {
    if let Some(weight) = parse_weight(node, reader) {
        reader.store(slot, node, weight);
    }
}

/// The same; of several the first one counts.
pub(super) fn read_first_weight(slot: &mut Slot<WeightOptions>, node: &Node, reader: &mut Reader<'_>) {
    if let Some(weight) = parse_weight(node, reader) {
        reader.store_first(slot, node, weight);
    }
}

fn parse_weight(node: &Node, reader: &mut Reader<'_>) -> Option<WeightOptions> {
    let Factor { weight, is_reversed } = read_factor(node, MAX_WEIGHT, reader)?;
    Some(WeightOptions { weight: i16::try_from(weight).ok()?, is_reversed })
}

/// Reads `N [reverse|noreverse]` with a number of at most `most`, and at least its opposite.
pub(crate) fn read_factor(node: &Node, most: i32, reader: &mut Reader<'_>) -> Option<Factor> {
    let number = node.values.first()?;
    let wanted = format!("a whole number from -{most} to {most}");
    let is_reversed = match node.values.get(1).map(|word| (word, &*word.text)) {
        None => None,
        Some((_, "reverse")) => Some(true),
        Some((_, "noreverse")) => Some(false),
        Some((word, _)) => {
            let likely = nearest(word, ["reverse", "noreverse"].into_iter());
            let hint = likely.map(|l| format!("did you mean `{l}`?"));
            reader.wrong("weight", word, "`reverse` or `noreverse`", Wrong::Malformed(hint));
            return None;
        }
    };
    let wrong = match number.parse::<i32>() {
        Ok(weight) if (-most..=most).contains(&weight) => return Some(Factor { weight, is_reversed }),
        Ok(_) => Wrong::OutOfRange,
        Err(_) if number.parse::<i64>().is_ok() => Wrong::OutOfRange,
        Err(_) => Wrong::Malformed(None),
    };
    reader.wrong("weight", number, &wanted, wrong);
    None
}

/// Where a weight that is too large for its kind was written.
pub(crate) fn too_large(weight: &Slot<WeightOptions>, most: i16) -> Option<Span> {
    weight.as_ref().filter(|w| w.value.weight.abs() > most).map(|w| w.span)
}
