//! The kernel's own IPVS table, over generic netlink.
//!
//! Reads and writes through one socket, blocking, every wait bounded; the actuator calls it from a blocking job. After
//! any error (silence, a lost, truncated or senseless answer) the socket is closed and the next request opens another.
//!
//! Inside: `wire` the protocol's numbers, `encode` and `decode` its meaning, `module` the loading of ip_vs; bytes,
//! socket and conversation are [`crate::netlink`]'s.

mod decode;
mod encode;
#[cfg(any(test, feature = "internals"))]
pub(crate) mod fuzz;
mod module;
#[cfg(test)]
mod tests;
mod wire;

use std::collections::BTreeMap;

use rustix::io::Errno;

pub(crate) use self::module::is_loaded;

use self::wire::Command;
use super::backend::{Backend, Error, Op, Refusal, Scope, Snapshot};
use super::types::{
    DestinationEntry, DestinationKey, Service, ServiceEntry, ServiceKey, Settings, Stats, SyncRole,
};
use crate::netlink::attribute::Malformed;
use crate::netlink::conversation::{BATCH, DUMP_ATTEMPTS, DumpEnd};
use crate::netlink::generic::{Generic, NoFamily};
use crate::netlink::request::Request;

/// What generic netlink answers when a family has gone, or has another number after a reload of its module.
const FAMILY_GONE: i32 = Errno::NOENT.raw_os_error();

/// The kernel's table in the network namespace of the thread that opened the socket.
pub struct NetlinkBackend {
    /// None after a failure, until the next request opens another.
    connection: Option<Generic>,
}

impl std::fmt::Debug for NetlinkBackend {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NetlinkBackend").field("connected", &self.connection.is_some()).finish()
    }
}

impl NetlinkBackend {
    /// Connects to IPVS, loading the module `ip_vs` if the kernel has none yet, and asks it one question to
    /// see that it may.
    ///
    /// # Errors
    /// [`Error::NoIpvs`] naming the next step, [`Error::NotPermitted`], or [`Error::Transport`].
    pub fn open() -> Result<NetlinkBackend, Error> {
        let mut this = NetlinkBackend { connection: None };
        this.converse(|c| ask(c, Command::GetInfo, decode::info).map(drop))?;
        Ok(this)
    }

    /// Runs `talk` on the connection, opening one if there is none, and closes it after any error but a refusal.
    fn converse<T>(&mut self, talk: impl FnOnce(&mut Generic) -> Result<T, Error>) -> Result<T, Error> {
        let mut connection = self.connection.take().map_or_else(connect, Ok)?;
        let outcome = talk(&mut connection);
        if matches!(outcome, Ok(_) | Err(Error::NotPermitted(_))) {
            self.connection = Some(connection);
        }
        outcome
    }
}

impl Backend for NetlinkBackend {
    fn snapshot(&mut self, scope: &Scope) -> Result<Snapshot, Error> {
        self.converse(|c| match scope {
            Scope::Keys => keys(c).map(Snapshot::Keys),
            Scope::Entries(keys) => entries(c, keys).map(Snapshot::Entries),
            Scope::Settings => settings(c).map(Snapshot::Settings),
        })
    }

    fn apply(&mut self, ops: &[Op]) -> Result<Vec<Refusal>, Error> {
        if ops.is_empty() {
            return Ok(Vec::new());
        }
        self.converse(|c| {
            let refusals = change(c, ops)?;
            // Of a change, ENOENT usually means a destination or a module that is absent.
            if refusals.iter().any(|r| r.errno == FAMILY_GONE)
                && !c.is_current(wire::FAMILY_NAME).map_err(no_family)?
            {
                return Err(left());
            }
            Ok(refusals)
        })
    }
}

/// Opens a connection to IPVS, loading the module if need be.
fn connect() -> Result<Generic, Error> {
    let open = || match Generic::open(wire::FAMILY_NAME) {
        Err(NoFamily::Absent) => Ok(None),
        other => other.map(Some).map_err(no_family),
    };
    if let Some(connection) = open()? {
        return Ok(connection);
    }
    let why = match module::load() {
        Ok(()) => match open()? {
            Some(connection) => return Ok(connection),
            None => "modprobe says it is loaded, but it is not there".to_owned(),
        },
        Err(why) => why,
    };
    Err(Error::NoIpvs(format!(
        "the module {module} cannot be loaded ({why}); run \"modprobe {module}\" as root, in a container on \
         its host; if it does not exist, install your distribution's modules package for the running kernel",
        module = module::MODULE
    )))
}

fn no_family(error: NoFamily) -> Error {
    match error {
        NoFamily::Absent => left(),
        NoFamily::Refused(errno) => {
            Error::Kernel { what: format!("looking up {}", wire::FAMILY_NAME), errno }
        }
        NoFamily::Transport(text) => Error::Transport(text),
    }
}

fn change(c: &mut Generic, ops: &[Op]) -> Result<Vec<Refusal>, Error> {
    let mut requests = Vec::with_capacity(ops.len());
    // The operation of each request: those that cannot be written are left out.
    let mut origins = Vec::with_capacity(ops.len());
    let mut refused = Vec::new();
    for (index, op) in ops.iter().enumerate() {
        match encode::operation(op) {
            Ok(request) => {
                requests.push(request);
                origins.push(index);
            }
            Err(e) => refused.push(Refusal { index, errno: e.errno, text: Some(e.text) }),
        }
    }
    for r in c.batch(requests, |_, _| Ok(())).map_err(Error::Transport)? {
        if is_permission(r.errno) {
            return Err(Error::NotPermitted("change the IPVS table".into()));
        }
        let index = *origins.get(r.index).ok_or_else(|| Error::Transport("a refusal of nothing".into()))?;
        refused.push(Refusal { index, errno: r.errno, text: r.text });
    }
    refused.sort_by_key(|r| r.index);
    Ok(refused)
}

fn keys(c: &mut Generic) -> Result<Vec<ServiceKey>, Error> {
    let mut keys = dump(c, "listing services", encode::question(Command::GetService), |keys, message| {
        keys.extend(decode::service_key(message)?);
        Ok(())
    })?;
    keys.sort_unstable();
    keys.dedup();
    Ok(keys)
}

fn entries(
    c: &mut Generic,
    keys: &[ServiceKey],
) -> Result<BTreeMap<ServiceKey, Option<ServiceEntry>>, Error> {
    let mut all = BTreeMap::new();
    for slice in keys.chunks(BATCH) {
        for (key, service) in services(c, slice)? {
            let entry = match service {
                None => None,
                Some((service, stats)) => {
                    destinations(c, &key)?.map(|destinations| ServiceEntry { service, stats, destinations })
                }
            };
            all.insert(key, entry);
        }
    }
    Ok(all)
}

/// What the kernel says of services by key, None where there is no such service.
type Services = BTreeMap<ServiceKey, Option<(Service, Stats)>>;

fn services(c: &mut Generic, keys: &[ServiceKey]) -> Result<Services, Error> {
    let mut all: Services = BTreeMap::new();
    let mut requests = Vec::with_capacity(keys.len());
    let mut asked = Vec::with_capacity(keys.len());
    for key in keys {
        all.insert(*key, None);
        // A key the wire cannot carry names no service.
        if let Ok(request) = encode::get_service(key) {
            requests.push(request);
            asked.push(*key);
        }
    }
    let refused = c.batch(requests, |index, message| {
        let expected = asked.get(index).ok_or(Malformed("a service that was not asked for"))?;
        if let Some((key, service, stats)) = decode::service(message)? {
            if key != *expected {
                return Err(Malformed("another service than the one asked for"));
            }
            all.insert(key, Some((service, stats)));
        }
        Ok(())
    });
    match refused.map_err(Error::Transport)?.into_iter().find(|r| r.errno != Errno::SRCH.raw_os_error()) {
        Some(r) => Err(refusal("reading a service", r.errno)),
        None => Ok(all),
    }
}

/// The destinations of a service; None when it has gone meanwhile.
fn destinations(
    c: &mut Generic,
    key: &ServiceKey,
) -> Result<Option<BTreeMap<DestinationKey, DestinationEntry>>, Error> {
    let all = dump(
        c,
        "reading a service's destinations",
        encode::get_destinations(key).map_err(|e| Error::Transport(e.text))?,
        |all, message| {
            all.extend(decode::destination(message, key.family())?);
            Ok(())
        },
    )?;
    // The dump of a service that is no more is empty and no error.
    if all.is_empty() && services(c, &[*key])?.values().all(Option::is_none) {
        return Ok(None);
    }
    Ok(Some(all.into_iter().collect()))
}

fn settings(c: &mut Generic) -> Result<Settings, Error> {
    let (version, connection_table_size) = ask(c, Command::GetInfo, decode::info)?;
    let timeouts = ask(c, Command::GetConfig, decode::timeouts)?;
    let mut sync_daemons =
        dump(c, "reading the sync daemons", encode::question(Command::GetDaemon), |all, message| {
            all.extend(decode::sync_daemon(message)?);
            Ok(())
        })?;
    sync_daemons.sort_by_key(|d| d.role != SyncRole::Master);
    Ok(Settings { version, connection_table_size, timeouts, sync_daemons })
}

/// One question with one answer.
fn ask<T>(
    c: &mut Generic,
    command: Command,
    read: impl Fn(&[u8]) -> Result<T, Malformed>,
) -> Result<T, Error> {
    let mut answer = None;
    let refused = c.batch(vec![encode::question(command)], |_, message| {
        answer = Some(read(message)?);
        Ok(())
    });
    let refused = refused.map_err(Error::Transport)?;
    match (refused.first(), answer) {
        (Some(r), _) => Err(refusal("reading the settings", r.errno)),
        (None, Some(answer)) => Ok(answer),
        (None, None) => Err(Error::Transport("an answer without what was asked for".into())),
    }
}

/// A dump into a list.
fn dump<T>(
    c: &mut Generic,
    what: &str,
    request: Request,
    read: impl Fn(&mut Vec<T>, &[u8]) -> Result<(), Malformed>,
) -> Result<Vec<T>, Error> {
    match c.dump(request, Vec::new, read).map_err(Error::Transport)? {
        (all, DumpEnd::Complete) => Ok(all),
        (_, DumpEnd::Refused(errno)) => Err(refusal(what, errno)),
        (_, DumpEnd::Interrupted) => {
            Err(Error::Transport(format!("{what}: the table changed under {DUMP_ATTEMPTS} attempts")))
        }
    }
}

fn refusal(what: &str, errno: i32) -> Error {
    if is_permission(errno) {
        return Error::NotPermitted("read the IPVS table".into());
    }
    if errno == FAMILY_GONE {
        return left();
    }
    Error::Kernel { what: what.to_owned(), errno }
}

fn left() -> Error {
    Error::Transport("IPVS left the kernel: its module was unloaded".into())
}

fn is_permission(errno: i32) -> bool {
    errno == Errno::PERM.raw_os_error()
}
