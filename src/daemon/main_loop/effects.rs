//! Inputs go to the director, and what it wants is performed.

use tracing::{info, warn};

use super::super::{clock, sysctls};
use super::Shell;
use crate::director::io::{Effect, Input};
use crate::director::state::State;

impl Shell {
    /// Gives the director an input and performs what it wants; Some when the director is finished.
    pub(super) fn direct(&mut self, input: Input) -> Option<bool> {
        let mut effects = Vec::new();
        let is_act = matches!(input, Input::Reload(_) | Input::Override { .. });
        // At the start this says which addresses checks must not leave from, before the first of them does.
        self.director.handle(clock::now(), input, &mut effects);
        if let Some(host) = self.watch_host(clock::now()) {
            self.director.handle(clock::now(), Input::Host(host), &mut effects);
        }
        let mut finished = self.perform(effects);
        while let Some(is_saved) = self.was_saved.take() {
            let mut effects = Vec::new();
            self.director.handle(clock::now(), Input::Saved(is_saved), &mut effects);
            finished = finished.or(self.perform(effects));
        }
        if is_act {
            // An operator who asks for the status next sees what became of it.
            self.snapshots.forget();
        }
        self.answer_override();
        finished
    }

    /// Performs effects in order; Some when the director is finished.
    pub(super) fn perform(&mut self, effects: Vec<Effect>) -> Option<bool> {
        let mut finished = None;
        for effect in effects {
            match effect {
                Effect::StartProbe { run, spec, path, sources } => {
                    self.prober.begin(run, spec, path, sources.as_ref());
                }
                Effect::CancelProbe(run) => self.prober.cancel(run),
                Effect::SaveState(state) => self.save(state),
                Effect::Kernel(request) => self.actuator.begin(request),
                Effect::Mark(fwmark_rules) => self.host_watcher.set_rules(fwmark_rules),
                Effect::ExpireTemplates(is_wanted) => {
                    self.expires_templates = is_wanted;
                    self.sysctls.want(sysctls::wanted(&self.config, is_wanted));
                }
                Effect::Router(level) => {
                    self.level = Some(level);
                    self.send_level();
                }
                Effect::TrackCheck { name, is_up } => self.send_track_check(name, is_up),
                Effect::Event(event) => self.events.dispatch(&event),
                Effect::Notify(notification) => self.events.notify(*notification),
                Effect::Finished { is_clean } => finished = Some(is_clean),
            }
        }
        finished
    }

    /// Writes the state; said once while it fails.
    pub(super) fn save(&mut self, state: State) {
        match self.run_dir.save(state, clock::now()) {
            Ok(()) => {
                if self.unsaved.take().is_some() {
                    info!("the state file can be written again");
                    self.was_saved = Some(true);
                }
            }
            Err(error) => {
                let error = error.to_string();
                if self.unsaved.as_ref() != Some(&error) {
                    warn!(
                        "cannot write the state file: {error}: orders, and which servers are down, would not survive a restart; \
                         it is tried again"
                    );
                }
                self.unsaved = Some(error);
                self.was_saved = Some(false);
            }
        }
    }
}
