//! `vrrp_track_process`: processes that priorities depend on.

use std::time::Duration;

use crate::config::options::options;
use crate::syntax::diagnostic::{Code, Diagnostic};
use crate::syntax::keyword::{Reader, Slot, Table, get};
use crate::syntax::tree::{Node, Word};
use crate::vrrp::settings::{ArgumentMatch, ProcessSettings};

use super::damping::{self, DampingOptions};
use super::track::{self, WEIGHT, WeightOptions};
use super::{MICROSECOND, name, one_of, yaml_name};

options! {
    /// `vrrp_track_process` as it was written.
    pub(crate) struct ProcessOptions {
        pub(crate) name: Word;
        _ = yaml_name();
        _ = only_on();
        /// The process to look for.
        command: Slot<Vec<String>> = words(=> process; "process", "COMMAND [PARAMETER...]", 1, 64);
        /// How its parameters are compared, where not all must be equal.
        arguments: Slot<ArgumentMatch> = word(=> one_of[MATCHES]; "param_match", "initial or partial");
        /// What is added to the priority; 0 puts the instance in Fault.
        pub(crate) weight: Slot<WeightOptions> = words(=> track::read_first_weight; "weight", WEIGHT, 1, 2);
        /// How many must run.
        quorum: Slot<u32> = number("quorum", 0, MAX_COUNT);
        /// How many may run; 0 is none.
        quorum_max: Slot<u32> = number("quorum_max", 0, MAX_COUNT);
        /// How long a change must last.
        delay: Slot<Duration> = time("delay", MICROSECOND, HOUR);
        /// How long a start must last.
        start_delay: Slot<Duration> = time("fork_delay", MICROSECOND, HOUR);
        /// How long an end must last.
        end_delay: Slot<Duration> = time("terminate_delay", MICROSECOND, HOUR);
        /// When it fails more than LIMIT times in about HALF_LIFE, it must be well for ever longer before it counts.
        pub(crate) damping: DampingOptions = words(=> damping::read; "damping", damping::WANTED, 2, 2).yaml_block(damping::TABLE);
        /// Compare the whole command line.
        is_full_command: Slot<bool> = flag("full_command").bare();
    }
}

const MATCHES: &[(&str, ArgumentMatch)] =
    &[("initial", ArgumentMatch::Initial), ("partial", ArgumentMatch::Partial)];
/// Most processes that are counted.
const MAX_COUNT: u32 = 65_535;
const HOUR: Duration = Duration::from_secs(3600);

/// Keywords of `vrrp_track_process`.
pub(crate) const TRACK_PROCESS: Table<ProcessOptions> =
    Table::of("vrrp_track_process", "vrrp_track_process", &[ProcessOptions::keywords()]);

fn process(slot: &mut Slot<Vec<String>>, node: &Node, reader: &mut Reader<'_>) {
    let words = node.values.iter().flat_map(|word| word.split_whitespace()).map(str::to_owned);
    let words: Vec<String> = words.collect();
    if words.is_empty() {
        return reader.error(node.span(), "`process` is empty");
    }
    reader.store_first(slot, node, words);
}

/// Reads `vrrp_track_process NAME`.
pub(crate) fn read(processes: &mut Vec<ProcessOptions>, node: &Node, reader: &mut Reader<'_>) {
    let name = name(node, reader);
    let stand_in = name.clone().unwrap_or_else(|| node.keyword.clone());
    let mut options = ProcessOptions { name: stand_in, ..ProcessOptions::default() };
    let unknown = reader.unknown;
    reader.block(&TRACK_PROCESS, node.statements(), &mut options);
    if reader.unknown == unknown && !node.statements().iter().any(|s| &*s.keyword.text == "process") {
        let text = format!("vrrp_track_process {} has no `process`", options.name.text);
        reader
            .diagnostics
            .push(Diagnostic::error(node.span(), text).code(Code::Missing).help("write `process COMMAND`"));
    }
    if let (Some(least), Some(most)) = (&options.quorum, &options.quorum_max)
        && least.value > most.value
    {
        let problem =
            Diagnostic::error(most.span, "`quorum_max` is less than `quorum`: it can never be well");
        reader.diagnostics.push(problem.at(least.span, "the quorum is here"));
    }
    processes.extend(name.map(|_| options));
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
