//! What priorities depend on: scripts, processes, files, BFD sessions.

use std::time::Duration;

use crate::syntax::keyword::{Form, Kind, Reader, Slot, Table};
use crate::syntax::tree::{Node, Word};

use super::track::weight;
use super::{COUNT, DAY, kept, name, number, word};

/// `vrrp_script` as it was written.
#[derive(Clone, Debug)]
pub struct ScriptOptions {
    /// Its name.
    pub name: Word,
    /// Its command.
    pub command: Slot<String>,
}

/// Keywords of `vrrp_script`.
pub const SCRIPT: Table<ScriptOptions> = Table {
    block: "vrrp_script",
    yaml: "vrrp_script",
    keywords: &[&[
        kept(
            "script",
            Kind::Words { what: "COMMAND, in quotes when of several words", min: 1, max: 3, read: command },
            "The command to run.",
        ),
        word("interval", TIME, "Time between runs."),
        word("timeout", TIME, "Longest time a run may take."),
        kept("weight", weight(), "What is added to the priority; 0 puts the instance in Fault."),
        word("rise", COUNT, "Successes in a row before it counts as up."),
        word("fall", COUNT, "Failures in a row before it counts as down."),
        word("user", USER, "Whom it runs as."),
        word("init_fail", Form::Flag, "Down until its first success."),
    ]],
};

/// Keywords of `vrrp_track_process`.
pub const TRACK_PROCESS: Table<()> = Table {
    block: "vrrp_track_process",
    yaml: "vrrp_track_process",
    keywords: &[&[
        word(
            "process",
            Form::Words { what: "COMMAND [PARAMETER...]", min: 1, max: 64 },
            "The process to look for.",
        ),
        word("param_match", Form::OneOf(&["initial", "partial"]), "How its parameters are compared."),
        kept("weight", weight(), "What is added to the priority; 0 puts the instance in Fault."),
        word("quorum", COUNT, "How many must run."),
        word("quorum_max", COUNT, "How many may run."),
        word("delay", PROCESS_DELAY, "How long a change must last."),
        word("fork_delay", PROCESS_DELAY, "How long a start must last."),
        word("terminate_delay", PROCESS_DELAY, "How long an end must last."),
        word("full_command", Form::Flag, "Compare the whole command line."),
    ]],
};

/// Keywords of `track_file`.
pub const TRACK_FILE: Table<()> = Table {
    block: "track_file",
    yaml: "track_file",
    keywords: &[&[
        word("file", Form::Words { what: "PATH", min: 1, max: 1 }, "The file whose number counts."),
        kept("weight", weight(), "What its number is multiplied with."),
        word(
            "init_file",
            Form::Words { what: "[VALUE] [overwrite]", min: 0, max: 2 },
            "Write it at the start.",
        ),
    ]],
};

/// Keywords of `bfd_instance`.
pub const BFD_INSTANCE: Table<()> = Table {
    block: "bfd_instance",
    yaml: "bfd_instance",
    keywords: &[&[
        word("neighbor_ip", Form::Address, "Whom the session is with."),
        word("source_ip", Form::Address, "Source address."),
        word("min_rx", COUNT, "Least time between packets received, in milliseconds."),
        word("min_tx", COUNT, "Least time between packets sent, in milliseconds."),
        word("idle_tx", COUNT, "Time between packets sent while down, in milliseconds."),
        word("multiplier", number(1, 255), "Packets missed before it is down."),
        word("passive", Form::Flag, "Do not open the session."),
        word("ttl", number(1, 255), "TTL of the packets sent."),
        word("hoplimit", number(1, 255), "Hop limit of the packets sent."),
        word("max_hops", number(0, 255), "Hops a packet may have taken."),
        kept("weight", weight(), "What is added to the priority."),
        word("vrrp", Form::Flag, "For virtual routers only."),
        word("checker", Form::Flag, "For checkers only."),
    ]],
};

const TIME: Form = Form::Time { min: Duration::from_millis(1), max: DAY };
const PROCESS_DELAY: Form = Form::Time { min: Duration::from_micros(1), max: Duration::from_secs(3600) };
const USER: Form = Form::Words { what: "USER [GROUP]", min: 1, max: 2 };

/// Reads `vrrp_script NAME`.
pub fn read(node: &Node, reader: &mut Reader<'_>) -> Option<ScriptOptions> {
    let name = name(node, reader);
    let stand_in = name.clone().unwrap_or_else(|| node.keyword.clone());
    let mut options = ScriptOptions { name: stand_in, command: None };
    reader.block(&SCRIPT, node.statements(), &mut options);
    if !node.statements().iter().any(|s| &*s.keyword.text == "script") {
        let text = format!("vrrp_script {} has no `script`", options.name.text);
        let problem = reader.lapsed(node.span(), text, ": keepalived leaves it out");
        reader.diagnostics.push(problem.help("write `script \"/PATH ARGUMENTS\"`"));
    }
    name.map(|_| options)
}

fn command(options: &mut ScriptOptions, node: &Node, reader: &mut Reader<'_>) {
    let Some(word) = node.values.first() else { return };
    reader.store(&mut options.command, node, word.text.to_string());
}
