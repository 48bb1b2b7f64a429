//! What instances and groups follow (`track_interface` and the like), and whom they tell.

use crate::config::mail::Alerts;
use crate::syntax::keyword::{Keyword, Kind, Reader, Slot, Stance, Table, Yaml, get, nearest};
use crate::syntax::source::Span;
use crate::syntax::tree::{Node, Word};
use crate::syntax::value::{Wrong, boolean};
use crate::vrrp::settings::{Command, NotifyCommands};

use super::command::{self, CommandOptions, UserOptions, command};
use super::line::lines;

/// The table of YAML's mappings.
pub(crate) const TABLE: &str = "track";

/// What a block follows and whom it tells, as it was written.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tracked {
    pub interfaces: Vec<TrackOptions>,
    pub scripts: Vec<TrackOptions>,
    pub files: Vec<TrackOptions>,
    pub processes: Vec<TrackOptions>,
    /// Whom it tells.
    pub notify: NotifyOptions,
}

/// A line of such a block.
#[derive(Clone, Debug)]
pub(crate) struct TrackOptions {
    /// What is followed.
    pub name: Word,
    pub weight: Slot<WeightOptions>,
    pub is_reversed: Slot<bool>,
}

/// `weight N [reverse|noreverse]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct WeightOptions {
    /// From -254 to 254.
    pub weight: i16,
    /// Whether it counts the other way round, where that is said.
    pub is_reversed: Option<bool>,
}

/// `notify` and the like.
#[derive(Clone, Debug, Default)]
pub(crate) struct NotifyOptions {
    any: Slot<CommandOptions>,
    master: Slot<CommandOptions>,
    backup: Slot<CommandOptions>,
    fault: Slot<CommandOptions>,
    stop: Slot<CommandOptions>,
    deleted: Slot<CommandOptions>,
    tells_deleted: Slot<bool>,
    pub lower_priority: Slot<CommandOptions>,
    tells_priority: Slot<bool>,
    pub mail: Slot<bool>,
}

/// A block that follows and tells.
pub(crate) trait HasTracked: Sized + 'static {
    /// What it follows.
    fn tracked(&mut self) -> &mut Tracked;

    const TRACKING: &'static [Keyword<Self>] = &[
        followed(
            "track_interface",
            |o: &mut Self, n, r| o.tracked().interfaces.extend(read(n, r)),
            "Interfaces that change the priority, or put it in Fault.",
        ),
        followed(
            "track_script",
            |o: &mut Self, n, r| o.tracked().scripts.extend(read(n, r)),
            "Scripts that change the priority, or put it in Fault.",
        ),
        followed(
            "track_file",
            |o: &mut Self, n, r| o.tracked().files.extend(read(n, r)),
            "Files whose numbers change the priority, or put it in Fault.",
        ),
        followed(
            "track_process",
            |o: &mut Self, n, r| o.tracked().processes.extend(read(n, r)),
            "Processes that change the priority, or put it in Fault.",
        ),
        Keyword::unread(
            "track_bfd",
            Stance::Refused(
                "lvsd opens no BFD session, and would never notice what this is to notice: follow an interface or a script",
            ),
            "BFD sessions that change the priority.",
        ),
        Keyword::new(
            "notify",
            command(|o: &mut Self, n, r| command::read(&mut o.tracked().notify.any, n, r)),
            "Script to run at any change of state: INSTANCE or GROUP, name, state and priority are its last arguments.",
        ),
        Keyword::new(
            "notify_master",
            command(|o: &mut Self, n, r| command::read(&mut o.tracked().notify.master, n, r)),
            "Script to run on becoming Master.",
        ),
        Keyword::new(
            "notify_backup",
            command(|o: &mut Self, n, r| command::read(&mut o.tracked().notify.backup, n, r)),
            "Script to run on becoming Backup.",
        ),
        Keyword::new(
            "notify_fault",
            command(|o: &mut Self, n, r| command::read(&mut o.tracked().notify.fault, n, r)),
            "Script to run on a fault.",
        ),
        Keyword::new(
            "notify_stop",
            command(|o: &mut Self, n, r| command::read(&mut o.tracked().notify.stop, n, r)),
            "Script to run at the end.",
        ),
        Keyword::new(
            "notify_deleted",
            Kind::Words { what: "[COMMAND [USER [GROUP]]]", min: 0, max: 3, read: deleted },
            "Script to run when a reload removes it; without one, DELETED is told instead of FAULT.",
        ),
        Keyword::new(
            "notify_priority_changes",
            Kind::Flag(|o: &mut Self| &mut o.tracked().notify.tells_priority),
            "Tell the FIFO about priorities, too.",
        ),
        Keyword::new(
            "smtp_alert",
            Kind::Flag(|o: &mut Self| &mut o.tracked().notify.mail),
            "Send mails about changes of state.",
        ),
    ];
}

const fn followed<T>(
    name: &'static str,
    read: fn(&mut T, &Node, &mut Reader<'_>),
    doc: &'static str,
) -> Keyword<T> {
    Keyword::new(name, Kind::Lines { table: Some(TABLE), read }, doc)
}

/// Options of what is followed.
pub(crate) const TRACK: Table<TrackOptions> = Table::of(
    TABLE,
    TABLE,
    &[&[
        super::yaml_name(),
        Keyword::new("weight", weight(), "What is added to the priority; 0 puts the instance in Fault."),
        Keyword::new(
            "reverse",
            Kind::Flag(|o: &mut TrackOptions| &mut o.is_reversed),
            "It counts the other way round.",
        )
        .yaml(Yaml::Only),
    ]],
);

impl NotifyOptions {
    /// The commands, with the users they run as.
    pub(crate) fn resolve(
        &self,
        usual: &UserOptions,
        tells_priority: bool,
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
            tells_deleted: get(&self.tells_deleted).unwrap_or(false),
            any: command(&self.any),
            master_heard_lower_priority: command(&self.lower_priority),
            tells_priority: get(&self.tells_priority).unwrap_or(tells_priority),
            mail: alerts.of_router(&self.mail),
        }
    }

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

fn deleted<T: HasTracked>(options: &mut T, node: &Node, reader: &mut Reader<'_>) {
    let notify = &mut options.tracked().notify;
    match &node.values[..] {
        [] => reader.store(&mut notify.tells_deleted, node, true),
        [word] if boolean(word).is_some() => {
            reader.store(&mut notify.tells_deleted, node, boolean(word).unwrap_or(true));
        }
        _ => command::read(&mut notify.deleted, node, reader),
    }
}

/// Reads a block of `NAME [weight N [reverse]]` lines.
fn read(node: &Node, reader: &mut Reader<'_>) -> Vec<TrackOptions> {
    let mut found = Vec::new();
    for line in lines(&TRACK, "name", node, reader) {
        let Some(name) = line.first.first().cloned() else { continue };
        let mut options = TrackOptions { name, weight: None, is_reversed: None };
        reader.block(&TRACK, &line.options, &mut options);
        found.push(options);
    }
    found
}

/// `weight N [reverse|noreverse]`.
pub(crate) const fn weight<T: HasWeight>() -> Kind<T> {
    Kind::Words { what: WEIGHT, min: 1, max: 2, read: read_weight::<T> }
}

/// A block with a `weight`.
pub(crate) trait HasWeight: 'static {
    /// Whether of several weights the first one counts.
    const FIRST_COUNTS: bool = false;

    /// Where it goes.
    fn weight(&mut self) -> &mut Slot<WeightOptions>;
}

impl HasWeight for TrackOptions {
    fn weight(&mut self) -> &mut Slot<WeightOptions> {
        &mut self.weight
    }
}

const WEIGHT: &str = "a whole number from -254 to 254 [reverse|noreverse]";

fn read_weight<T: HasWeight>(options: &mut T, node: &Node, reader: &mut Reader<'_>) {
    let Some(number) = node.values.first() else { return };
    let wanted = "a whole number from -254 to 254";
    let is_reversed = match node.values.get(1).map(|word| (word, &*word.text)) {
        None => None,
        Some((_, "reverse")) => Some(true),
        Some((_, "noreverse")) => Some(false),
        Some((word, _)) => {
            let likely = nearest(word, ["reverse", "noreverse"].into_iter());
            let hint = likely.map(|l| format!("did you mean `{l}`?"));
            return reader.wrong("weight", word, "`reverse` or `noreverse`", Wrong::Malformed(hint));
        }
    };
    match number.parse::<i16>() {
        Ok(weight @ -254..=254) => {
            let weight = WeightOptions { weight, is_reversed };
            if T::FIRST_COUNTS {
                reader.store_first(options.weight(), node, weight);
            } else {
                reader.store(options.weight(), node, weight);
            }
        }
        Ok(_) => reader.wrong("weight", number, wanted, Wrong::OutOfRange),
        Err(_) if number.parse::<i64>().is_ok() => reader.wrong("weight", number, wanted, Wrong::OutOfRange),
        Err(_) => reader.wrong("weight", number, wanted, Wrong::Malformed(None)),
    }
}

/// Where a weight that is too large for its kind was written.
pub(crate) fn too_large(weight: &Slot<WeightOptions>, most: i16) -> Option<Span> {
    weight.as_ref().filter(|w| w.value.weight.abs() > most).map(|w| w.span)
}
