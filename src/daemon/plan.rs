//! What `lvsd plan` looks at: the kernel, read only, and what is known of health. The rest is the director's business.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use serde::Serialize;

use super::control::{self, Command, DaemonStatus, Reply};
use super::startup::{Exit, Failure, kernel_failure};
use super::{clock, host_watch, state_file, sysctls};
use crate::config::{Config, VirtualServerId};
use crate::director::preview::{Change, HostKnown, KernelCopy, Preview, preview};
use crate::director::state::{KnownDown, State};
use crate::ipvs::backend::{Backend, Error, Scope, Snapshot};
use crate::ipvs::netlink::{NetlinkBackend, is_loaded};
use crate::ipvs::types::ServiceKey;
use crate::net::kernel::Kernel;
use crate::vrrp::io::InstanceLevel;
use crate::vrrp::status::{InstanceStatus, Status as RouterStatus};

/// Services whose destinations one read fetches.
const SLICE: usize = 32;

/// Where health comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum HealthSource {
    /// The running lvsd.
    Daemon {
        /// Its process id.
        pid: u32,
    },
    /// The state file of the last lvsd: which real servers were down. All others are assumed up.
    StateFile,
    /// No state: all real servers are assumed up.
    Assumed,
}

/// What would change, and what that rests on.
#[derive(Debug)]
pub(crate) struct Plan {
    /// Where health comes from.
    pub health: HealthSource,
    /// Why it does not come from a running lvsd.
    pub unanswered: Option<String>,
    /// Whether the orders of operators are known.
    pub are_orders_known: bool,
    /// What would change.
    pub preview: Preview,
    /// Virtual servers that have no quorum now, as far as the running lvsd knows.
    pub without_quorum: BTreeSet<VirtualServerId>,
}

/// What the running lvsd says.
///
/// # Errors
/// In words, why none does.
pub(crate) fn running(socket: &Path) -> Result<DaemonStatus, String> {
    match control::ask(socket, Command::Status) {
        Ok(Reply::Status(status)) => Ok(status.into_status()),
        Ok(_) => Err("it gave an answer to another question: is it of another version?".to_owned()),
        Err(error) => Err(control::unanswered(&error)),
    }
}

/// What a director with this configuration would change in this kernel. Where no lvsd answers, what is known otherwise
/// must do.
///
/// # Errors
/// When the kernel cannot be read.
pub(crate) fn plan(
    mut config: Config,
    run_dir: &Path,
    daemon: Result<DaemonStatus, String>,
) -> Result<Plan, Failure> {
    let now = clock::now();
    let (daemon, unanswered) = match daemon {
        Ok(daemon) => (Some(daemon), None),
        Err(why) => (None, Some(why)),
    };
    let left = state_file::peek(run_dir, now).map_err(|error| {
        let text = format!("state file in {}: {error}", run_dir.display());
        let is_denied = error.kind() == std::io::ErrorKind::PermissionDenied;
        Failure::new(if is_denied { Exit::Permission } else { Exit::Unavailable }, text)
    })?;
    let are_orders_known = daemon.is_some() || left.is_some();
    let (mut state, health) = match (left, &daemon) {
        (Some((state, _)), Some(daemon)) => (state, HealthSource::Daemon { pid: daemon.pid }),
        (None, Some(daemon)) => (State::default(), HealthSource::Daemon { pid: daemon.pid }),
        (Some((state, true)), None) => (state, HealthSource::StateFile),
        (Some((state, false)), None) => (State { down: Vec::new(), ..state }, HealthSource::Assumed),
        (None, None) => (State::default(), HealthSource::Assumed),
    };
    let mut without_quorum = BTreeSet::new();
    if let Some(daemon) = &daemon {
        state.down = down_now(daemon, std::mem::take(&mut state.down));
        let servers = daemon.director.virtual_servers.iter();
        without_quorum = servers.filter(|s| !s.has_quorum).map(|s| s.virtual_server).collect();
        // The table is flushed at a start, not at a reload.
        config.global.flush = false;
    }
    let kernel = if is_loaded() {
        let mut backend = NetlinkBackend::open().map_err(|error| kernel_failure(&error))?;
        copy(&mut backend).map_err(|error| kernel_failure(&error))?
    } else {
        // Asking would load it, and that is a change.
        KernelCopy::just_loaded()
    };
    // The addresses of a host that cannot be read are unknown.
    let around = Kernel::open().and_then(|mut kernel| kernel.host()).map(|host| host_watch::around(&host));
    let instances = match &daemon {
        Some(daemon) => instances(&config, daemon.router.as_ref()),
        None => Vec::new(),
    };
    let cannot_mark = daemon.as_ref().is_some_and(|daemon| daemon.director.cannot_mark);
    let host = HostKnown { local: around.unwrap_or_default(), instances, cannot_mark };
    let config = Arc::new(config);
    let mut preview = preview(&config, state, host, kernel, now);
    let originals = state_file::peek_originals(run_dir).unwrap_or_default();
    // It is lvsd's only while a server leaves, which is under way then.
    let expires = preview.status.expires_templates && originals.contains_key(sysctls::EXPIRES_TEMPLATES);
    preview.changes.extend(setting_changes(&config, &originals, expires));
    Ok(Plan { health, unanswered, are_orders_known, preview, without_quorum })
}

/// How the running lvsd's instances are: those that the configuration has go on as they are.
fn instances(config: &Config, router: Option<&RouterStatus>) -> Vec<InstanceLevel> {
    let running = router.into_iter().flat_map(|router| &router.instances);
    let level = |status: &InstanceStatus| {
        let settings = config.vrrp.instances.iter().find(|settings| settings.name == status.name)?;
        let addresses = settings.addresses.iter().chain(&settings.excluded);
        let addresses = addresses.map(|address| address.wanted.prefix).collect();
        Some(InstanceLevel { name: status.name.clone(), vrid: settings.vrid, state: status.state, addresses })
    };
    running.filter_map(level).collect()
}

/// Settings that are not as wanted, and those a predecessor changed that are wanted no more.
fn setting_changes(config: &Config, originals: &sysctls::Values, expires_templates: bool) -> Vec<Change> {
    let wanted = sysctls::wanted(config, expires_templates);
    let dropped = originals.iter().filter(|(name, _)| !wanted.contains_key(*name));
    let change = |(name, after): (&String, &String)| {
        let before = sysctls::read(name).ok();
        let (name, after) = (name.clone(), after.clone());
        (before.as_ref() != Some(&after)).then_some(Change::Setting { name, before, after })
    };
    wanted.iter().chain(dropped).filter_map(change).collect()
}

/// The servers that are not up by the daemon's status, with the verdict of each checker where the state file has it.
fn down_now(daemon: &DaemonStatus, known: Vec<KnownDown>) -> Vec<KnownDown> {
    let mut down = Vec::new();
    for server in &daemon.director.virtual_servers {
        for real in server.real_servers.iter().filter(|real| !real.is_up) {
            let (virtual_server, real_server) = (server.virtual_server, real.real_server);
            let is_it = |k: &&KnownDown| k.virtual_server == virtual_server && k.real_server == real_server;
            let before = down.len();
            down.extend(known.iter().filter(is_it).cloned());
            if down.len() == before {
                // No checker of this name: the verdict goes to all of them.
                let (checker, reason) = (String::new(), real.reason.clone());
                down.push(KnownDown { virtual_server, real_server, checker, target: real_server, reason });
            }
        }
    }
    down
}

/// A copy of a kernel's table and settings.
fn copy(backend: &mut dyn Backend) -> Result<KernelCopy, Error> {
    let mut kernel = KernelCopy::just_loaded();
    if let Snapshot::Settings(settings) = backend.snapshot(&Scope::Settings)? {
        kernel.settings = settings;
    }
    let Snapshot::Keys(keys) = backend.snapshot(&Scope::Keys)? else { return Ok(kernel) };
    for slice in keys.chunks(SLICE) {
        let keys: Vec<ServiceKey> = slice.to_vec();
        if let Snapshot::Entries(entries) = backend.snapshot(&Scope::Entries(keys))? {
            let present = entries.into_iter().filter_map(|(key, entry)| Some((key, entry?)));
            kernel.table.extend(present);
        }
    }
    Ok(kernel)
}
