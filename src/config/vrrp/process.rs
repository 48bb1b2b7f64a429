//! `vrrp_track_process`: processes that priorities depend on.

use std::time::Duration;

use crate::syntax::diagnostic::Diagnostic;
use crate::syntax::keyword::{Keyword, Kind, Reader, Slot, Table, get};
use crate::syntax::tree::{Node, Word};
use crate::vrrp::settings::{ArgumentMatch, ProcessSettings};

use super::track::{HasWeight, WeightOptions, weight};
use super::{MICROSECOND, name, number, one_of, yaml_name};

/// `vrrp_track_process` as it was written.
#[derive(Clone, Debug)]
pub(crate) struct ProcessOptions {
    pub name: Word,
    command: Slot<Vec<String>>,
    arguments: Slot<ArgumentMatch>,
    pub weight: Slot<WeightOptions>,
    quorum: Slot<u32>,
    quorum_max: Slot<u32>,
    delay: Slot<Duration>,
    start_delay: Slot<Duration>,
    end_delay: Slot<Duration>,
    is_full_command: Slot<bool>,
}

impl HasWeight for ProcessOptions {
    const FIRST_COUNTS: bool = true;

    fn weight(&mut self) -> &mut Slot<WeightOptions> {
        &mut self.weight
    }
}

/// Most processes that are counted.
const MAX_COUNT: u32 = 65_535;

/// Keywords of `vrrp_track_process`.
pub(crate) const TRACK_PROCESS: Table<ProcessOptions> = Table::of(
    "vrrp_track_process",
    "vrrp_track_process",
    &[&[
        yaml_name(),
        Keyword::new(
            "process",
            Kind::Words { what: "COMMAND [PARAMETER...]", min: 1, max: 64, read: process },
            "The process to look for.",
        ),
        Keyword::new(
            "param_match",
            Kind::Words {
                what: "initial or partial",
                min: 1,
                max: 1,
                read: |o: &mut ProcessOptions, n, r| {
                    let choices = [("initial", ArgumentMatch::Initial), ("partial", ArgumentMatch::Partial)];
                    one_of(&mut o.arguments, n, r, &choices);
                },
            },
            "How its parameters are compared, where not all must be equal.",
        ),
        Keyword::new("weight", weight(), "What is added to the priority; 0 puts the instance in Fault."),
        Keyword::new(
            "quorum",
            number(0, MAX_COUNT, |o: &mut ProcessOptions| &mut o.quorum),
            "How many must run.",
        ),
        Keyword::new(
            "quorum_max",
            number(0, MAX_COUNT, |o: &mut ProcessOptions| &mut o.quorum_max),
            "How many may run; 0 is none.",
        ),
        delay("delay", |o| &mut o.delay, "How long a change must last."),
        delay("fork_delay", |o| &mut o.start_delay, "How long a start must last."),
        delay("terminate_delay", |o| &mut o.end_delay, "How long an end must last."),
        Keyword::new(
            "full_command",
            Kind::Flag(|o: &mut ProcessOptions| &mut o.is_full_command),
            "Compare the whole command line.",
        ),
    ]],
);

const fn delay(
    name: &'static str,
    slot: fn(&mut ProcessOptions) -> &mut Slot<Duration>,
    doc: &'static str,
) -> Keyword<ProcessOptions> {
    Keyword::new(name, Kind::Time { min: MICROSECOND, max: Duration::from_secs(3600), slot }, doc)
}

fn process(options: &mut ProcessOptions, node: &Node, reader: &mut Reader<'_>) {
    let words = node.values.iter().flat_map(|word| word.split_whitespace()).map(str::to_owned);
    let words: Vec<String> = words.collect();
    if words.is_empty() {
        return reader.error(node.span(), "`process` is empty");
    }
    reader.store_first(&mut options.command, node, words);
}

/// Reads `vrrp_track_process NAME`.
pub(crate) fn read(node: &Node, reader: &mut Reader<'_>) -> Option<ProcessOptions> {
    let name = name(node, reader);
    let mut options = ProcessOptions {
        name: name.clone().unwrap_or_else(|| node.keyword.clone()),
        command: None,
        arguments: None,
        weight: None,
        quorum: None,
        quorum_max: None,
        delay: None,
        start_delay: None,
        end_delay: None,
        is_full_command: None,
    };
    reader.block(&TRACK_PROCESS, node.statements(), &mut options);
    if !node.statements().iter().any(|s| &*s.keyword.text == "process") {
        let text = format!("vrrp_track_process {} has no `process`", options.name.text);
        reader.diagnostics.push(Diagnostic::error(node.span(), text).help("write `process COMMAND`"));
    }
    if let (Some(least), Some(most)) = (&options.quorum, &options.quorum_max)
        && least.value > most.value
    {
        let problem =
            Diagnostic::error(most.span, "`quorum_max` is less than `quorum`: it can never be well");
        reader.diagnostics.push(problem.at(least.span, "the quorum is here"));
    }
    name.map(|_| options)
}

impl ProcessOptions {
    /// The process; None where it has no command, which was said.
    pub(crate) fn resolve(&self) -> Option<ProcessSettings> {
        let command = get(&self.command)?;
        let weight = get(&self.weight);
        let quorum_max = get(&self.quorum_max).unwrap_or(u32::MAX);
        let delay = get(&self.delay).unwrap_or_default();
        let plain = if command.len() > 1 { ArgumentMatch::Exact } else { ArgumentMatch::Any };
        Some(ProcessSettings {
            name: self.name.text.to_string(),
            arguments: get(&self.arguments).unwrap_or(plain),
            command,
            weight: weight.map_or(0, |w| w.weight),
            is_reversed: weight.and_then(|w| w.is_reversed).unwrap_or(false),
            quorum: get(&self.quorum).unwrap_or(1.min(quorum_max)),
            quorum_max,
            start_delay: get(&self.start_delay).unwrap_or(delay),
            end_delay: get(&self.end_delay).unwrap_or(delay),
            is_full_command: get(&self.is_full_command).unwrap_or(false),
        })
    }
}
