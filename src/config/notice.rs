//! What is notified of changes: commands of virtual servers and real servers, FIFOs, and as whom commands run.

use std::sync::Arc;
use std::time::Duration;

use crate::syntax::diagnostic::Diagnostic;
use crate::syntax::files::Files;
use crate::syntax::keyword::{Reader, Slot, get};
use crate::vrrp::settings::Fifo;

use super::checker::CheckerOptions;
use super::options::options;
use super::types::{LifeScript, UpDown};
use super::virtual_server::VirtualServerOptions;
use super::vrrp::command::{self, CommandOptions, UserOptions, command};

/// A pair of commands as they were written.
#[derive(Clone, Debug, Default)]
pub(crate) struct UpDownOptions {
    /// `quorum_up`, `notify_up`.
    pub(crate) up: Slot<CommandOptions>,
    /// `quorum_down`, `notify_down`.
    pub(crate) down: Slot<CommandOptions>,
}

options! {
    /// Scripts and FIFOs of `global_defs`, as they were written.
    pub(crate) struct NoticeOptions {
        /// Script that runs before anything is begun; how it ends changes nothing.
        _ = command(@startup.script => command::read; "startup_script");
        /// Its time, after which it is ended and the start goes on.
        _ = time(@startup.limit; "startup_script_timeout", SECOND, LIFE_MAX);
        /// Script that runs when a stop has given everything back; not at a hand-over.
        _ = command(@shutdown.script => command::read; "shutdown_script");
        /// Its time, after which it is ended.
        _ = time(@shutdown.limit; "shutdown_script_timeout", SECOND, LIFE_MAX);
        pub(crate) startup: LifeScriptOptions;
        pub(crate) shutdown: LifeScriptOptions;
        /// Report real servers that are up at the start, too.
        pub(crate) tells_first_servers: Slot<bool> = flag("rs_init_notifies"), default false;
        /// FIFO for changes of virtual servers and real servers.
        fifo: Slot<CommandOptions> = words(=> command::read; "lvs_notify_fifo", FIFO, 1, 3);
        /// Script that reads it.
        fifo_script: Slot<CommandOptions> = command(=> command::read; "lvs_notify_fifo_script");
    }
}

/// A script around the daemon's life as it was written.
#[derive(Clone, Debug, Default)]
pub(crate) struct LifeScriptOptions {
    script: Slot<CommandOptions>,
    limit: Slot<Duration>,
}

impl LifeScriptOptions {
    /// The script with its user and time.
    pub(crate) fn resolve(&self, usual: &UserOptions) -> Option<LifeScript> {
        let command = command::resolve(&self.script.as_ref()?.value, usual);
        Some(LifeScript { command, limit: get(&self.limit).unwrap_or(LIFE_LIMIT) })
    }

    fn verify(&self, name: &str, files: &dyn Files, reader: &mut Reader<'_>) {
        match (&self.script, &self.limit) {
            (Some(script), _) => {
                let then = "it is looked for again when it is to run, and without it lvsd goes on";
                command::verify(&script.value, &format!("`{name}`"), then, files, reader);
            }
            (None, Some(limit)) => {
                let problem =
                    Diagnostic::warning(limit.span, format!("the time of a script, and no `{name}`"));
                reader.diagnostics.push(problem.help(format!("write `{name} COMMAND`, or leave it out")));
            }
            (None, None) => {}
        }
    }
}

/// The time of a script around the daemon's life where none is written.
const LIFE_LIMIT: Duration = Duration::from_secs(10);

const SECOND: Duration = Duration::from_secs(1);
/// The longest time of a script around the daemon's life.
const LIFE_MAX: Duration = Duration::from_secs(1000);
pub(super) const FIFO: &str = "PATH [USER [GROUP]]";

/// A pair of commands with the user they run as; None when there are none.
pub(crate) fn up_down(options: &UpDownOptions, usual: &UserOptions) -> Option<Arc<UpDown>> {
    let resolve = |slot: &Slot<CommandOptions>| slot.as_ref().map(|s| command::resolve(&s.value, usual));
    let commands = UpDown { up: resolve(&options.up), down: resolve(&options.down) };
    (commands != UpDown::default()).then(|| Arc::new(commands))
}

/// Says which commands of virtual servers and real servers are not there.
pub(crate) fn verify(servers: &[VirtualServerOptions], files: &dyn Files, reader: &mut Reader<'_>) {
    let mut look = |pair: &UpDownOptions, names: [&str; 2]| {
        for (written, name) in [&pair.up, &pair.down].into_iter().zip(names) {
            if let Some(written) = written {
                command::verify(&written.value, &format!("`{name}`"), HELP, files, reader);
                if runs_ipvsadm(&written.value.words) {
                    let text = format!(
                        "`{name}` runs ipvsadm: what it changes of a service of this file is put back"
                    );
                    reader.diagnostics.push(Diagnostic::warning(written.value.span, text).help(OWN_WORDS));
                }
            }
        }
    };
    for server in servers {
        look(&server.commands, ["quorum_up", "quorum_down"]);
        server.real_servers.iter().for_each(|real| look(&real.commands, ["notify_up", "notify_down"]));
    }
    for server in servers {
        let checkers =
            server.checkers.iter().chain(server.real_servers.iter().flat_map(|real| &real.checkers));
        for command in checkers.filter_map(CheckerOptions::command) {
            command::verify(command, "MISC_CHECK", CHECK_FAILS, files, reader);
        }
    }
}

/// Whether a command runs ipvsadm, itself or by a shell.
fn runs_ipvsadm(words: &[String]) -> bool {
    let is_apart = |c: char| c.is_whitespace() || [';', '&', '|', '(', ')', '`', '"', '\''].contains(&c);
    let programs = words.iter().flat_map(|word| word.split(is_apart));
    programs.into_iter().any(|program| program.rsplit('/').next() == Some("ipvsadm"))
}

const OWN_WORDS: &str = "`weight` of a real server, `lvsd weight REAL-SERVER N` and `lvsd drain REAL-SERVER` do the \
                         same, and stay; a service that lvsd is to leave alone must not stand in this file";
/// What a command that is not there means for a check.
const CHECK_FAILS: &str =
    "its check fails, and the real server is down; keepalived forgets the check, and the server stays up";
const HELP: &str = "it is looked for again each time it is to run";

impl NoticeOptions {
    /// The FIFOs that hear of virtual servers; `any` hears of virtual routers, too.
    pub(crate) fn fifos(&self, any: Option<Fifo>, usual: &UserOptions) -> Vec<Fifo> {
        let own = self.fifo.as_ref().map(|written| Fifo {
            path: written.value.words.join(" ").into(),
            user: written.value.user.user.clone(),
            group: written.value.user.group.clone(),
            reader: self.fifo_script.as_ref().map(|s| command::resolve(&s.value, usual)),
        });
        any.into_iter().chain(own).collect()
    }

    /// Says what does not go together, and which script is not there.
    pub(crate) fn verify(&self, files: &dyn Files, reader: &mut Reader<'_>) {
        self.startup.verify("startup_script", files, reader);
        self.shutdown.verify("shutdown_script", files, reader);
        if let Some(fifo) = &self.fifo
            && !fifo.value.words.first().is_some_and(|path| path.starts_with('/'))
        {
            let path = fifo.value.words.join(" ");
            reader.error(fifo.span, format!("`{path}` is not the path of a FIFO: it begins with no /"));
        }
        let Some(script) = &self.fifo_script else { return };
        if self.fifo.is_none() {
            let problem = Diagnostic::warning(script.span, "a script that reads the FIFO, and no FIFO");
            reader.diagnostics.push(problem.help("write `lvs_notify_fifo PATH`"));
        }
        command::verify(&script.value, "`lvs_notify_fifo_script`", HELP, files, reader);
    }
}

#[cfg(test)]
mod tests {
    use super::runs_ipvsadm;

    #[test]
    fn ipvsadm_is_found_as_a_program_and_in_the_words_of_a_shell() {
        let runs = |words: &[&str]| runs_ipvsadm(&words.iter().map(ToString::to_string).collect::<Vec<_>>());
        assert!(runs(&["/sbin/ipvsadm", "-e", "-t", "10.0.0.1:80"]));
        assert!(runs(&["sh", "-c", "sleep 1; ipvsadm -e -t 10.0.0.1:80 && true"]));
        assert!(!runs(&["/usr/bin/my-ipvsadm-report", "ipvsadm.log"]));
    }
}
