//! The commands of `assert` in the world: how long they take, how they end, and where they moved the addresses.

use std::time::Duration;

use super::World;
use super::happening::Happening;
use crate::script::{Ended, Ending};
use crate::time::Instant;
use crate::vrrp::io::{Assert, Input};

/// From the order to end until a command is killed.
const GRACE: Duration = Duration::from_secs(2);
const A_MOMENT: Duration = Duration::from_millis(10);

/// How a run behaves.
#[derive(Clone, Copy, Debug)]
pub(in crate::vrrp::sim) enum Behaviour {
    /// It moves the addresses to its host, and takes so long.
    Succeeds(Duration),
    Fails(Duration),
    /// Until it is ended; then it ends at once.
    Hangs,
    /// The same, and it has to be killed.
    HangsAndIgnoresTerm,
}

/// A run that has begun.
#[derive(Clone, Debug)]
pub(in crate::vrrp::sim) struct Begun {
    pub at: Instant,
    /// When it ended, and whether well.
    pub ended: Option<(Instant, bool)>,
    pub number: u64,
    pub environment: Vec<(String, String)>,
}

impl Begun {
    pub(in crate::vrrp::sim) fn variable(&self, name: &str) -> &str {
        self.environment.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value)
    }
}

impl World {
    pub(super) fn begin_command(&mut self, node: usize, assert: &Assert) {
        let name = assert.environment.iter().find(|(name, _)| name == "LVSD_NAME").map(|(_, v)| v.clone());
        let name = name.unwrap_or_default();
        let this = &mut self.nodes[node];
        if this.asserting.values().any(|(other, _)| *other == name) {
            self.broken.push(format!("two commands of {name} at once on {node}"));
        }
        let behaviour = match this.commands.len() {
            0 => Behaviour::Succeeds(A_MOMENT),
            1 => this.commands[0],
            _ => this.commands.pop_front().expect("not empty"),
        };
        this.asserting.insert(assert.number, (name, behaviour));
        let (at, number, environment) = (self.now, assert.number, assert.environment.clone());
        this.asserts.push(Begun { at, ended: None, number, environment });
        let incarnation = this.incarnation;
        let (after, ending) = match behaviour {
            Behaviour::Succeeds(after) => (after, Ending::Exited(0)),
            Behaviour::Fails(after) => (after, Ending::Exited(1)),
            Behaviour::Hangs => (Duration::MAX, Ending::TimedOut),
            Behaviour::HangsAndIgnoresTerm => (Duration::MAX, Ending::TimedOut),
        };
        let (after, ending) =
            if after < assert.limit { (after, ending) } else { (assert.limit, Ending::TimedOut) };
        self.trace(node, &format!("runs command {number}"));
        self.schedule(after, Happening::CommandEnds { node, incarnation, number, ending });
    }

    pub(super) fn end_command(&mut self, node: usize, number: u64) {
        let Some((_, behaviour)) = self.nodes[node].asserting.get(&number) else { return };
        let after = match behaviour {
            Behaviour::HangsAndIgnoresTerm => GRACE,
            _ => A_MOMENT,
        };
        let incarnation = self.nodes[node].incarnation;
        let ending = Ending::TimedOut;
        self.schedule(after, Happening::CommandEnds { node, incarnation, number, ending });
    }

    pub(super) fn command_ended(&mut self, node: usize, incarnation: u32, number: u64, ending: Ending) {
        let this = &mut self.nodes[node];
        if incarnation != this.incarnation || this.asserting.remove(&number).is_none() {
            return;
        }
        let is_success = ending.is_success();
        if let Some(begun) = this.asserts.iter_mut().rev().find(|begun| begun.number == number) {
            begun.ended = Some((self.now, is_success));
        }
        if is_success {
            self.cloud = Some(node);
        }
        self.trace(node, &format!("command {number} {ending}"));
        let output = if is_success { String::new() } else { "calling\nthe API says 503\n".to_owned() };
        self.handle(node, Input::Asserted { number, ended: Ended { ending, output } });
    }
}
