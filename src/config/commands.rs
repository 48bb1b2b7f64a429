//! Every command of a configuration, for the checks of what commands need.

use crate::check::spec::Question;
use crate::script::Command;
use crate::vrrp::settings::{Fifo, NotifyCommands};

use super::types::{Config, UpDown};

impl Config {
    /// Calls `visit` with each command and the words it stands behind, as in `notify_up` of 10.1.0.21:80.
    pub fn visit_commands(&self, visit: &mut dyn FnMut(&dyn Fn() -> String, &Command)) {
        let life = [("startup_script", &self.global.startup), ("shutdown_script", &self.global.shutdown)];
        for (word, script) in life {
            script.iter().for_each(|script| visit(&|| word.to_owned(), &script.command));
        }
        for server in &self.virtual_servers {
            let of = |word: &str| format!("{word} of virtual server {}", server.id);
            both(server.notices.commands.as_deref(), ["quorum_up", "quorum_down"], &of, visit);
            for real in &server.real_servers {
                let of = |word: &str| format!("{word} of real server {}", real.named());
                both(real.commands.as_deref(), ["notify_up", "notify_down"], &of, visit);
                for checker in &real.checkers {
                    if let Question::Misc(question) = &checker.spec.question {
                        visit(&|| of("MISC_CHECK"), &question.command);
                    }
                }
            }
        }
        // `<` and a path: nothing is run.
        let is_run = |command: &Command| command.program() != "<";
        for script in self.vrrp.scripts.values().filter(|script| is_run(&script.command)) {
            visit(&|| format!("vrrp_script {}", script.name), &script.command);
        }
        for instance in &self.vrrp.instances {
            let of = || format!("assert of vrrp_instance {}", instance.name);
            instance.assert.iter().for_each(|assert| visit(&of, &assert.command));
            notify(&instance.notify, &|word| format!("{word} of vrrp_instance {}", instance.name), visit);
        }
        for group in &self.vrrp.groups {
            notify(&group.notify, &|word| format!("{word} of vrrp_sync_group {}", group.name), visit);
        }
        for fifo in self.fifos() {
            let of = || format!("the reader of {}", fifo.path.display());
            fifo.reader.iter().for_each(|reader| visit(&of, reader));
        }
    }

    /// Every FIFO; one for both kinds of lines comes twice.
    pub fn fifos(&self) -> impl Iterator<Item = &Fifo> {
        self.global.fifos.iter().chain(&self.vrrp.notify.fifos)
    }
}

fn both(
    commands: Option<&UpDown>,
    [up, down]: [&str; 2],
    of: &dyn Fn(&str) -> String,
    visit: &mut dyn FnMut(&dyn Fn() -> String, &Command),
) {
    let Some(commands) = commands else { return };
    commands.up.iter().for_each(|command| visit(&|| of(up), command));
    commands.down.iter().for_each(|command| visit(&|| of(down), command));
}

fn notify(
    commands: &NotifyCommands,
    of: &dyn Fn(&str) -> String,
    visit: &mut dyn FnMut(&dyn Fn() -> String, &Command),
) {
    let all = [
        ("notify_master", &commands.master),
        ("notify_backup", &commands.backup),
        ("notify_fault", &commands.fault),
        ("notify_stop", &commands.stop),
        ("notify_deleted", &commands.deleted),
        ("notify", &commands.any),
        ("notify_master_rx_lower_pri", &commands.master_heard_lower_priority),
    ];
    for (word, command) in all {
        command.iter().for_each(|command| visit(&|| of(word), command));
    }
}
