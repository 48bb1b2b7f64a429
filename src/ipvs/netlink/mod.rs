//! The kernel's own IPVS table, over generic netlink.
//!
//! Reads and writes through one socket, blocking, every wait bounded; the actuator calls it from a blocking
//! job. It refuses to know why a change is wanted. After any doubt about what was said (silence, a lost,
//! truncated or senseless answer) the socket is closed and the next request opens another, so an answer to
//! an earlier request can never be taken for this one's.
//!
//! Inside: `wire` the protocol's numbers, `encode` and `decode` its meaning, `connection` the conversation,
//! `module` the loading of ip_vs; bytes and socket are [`crate::netlink`]'s.

mod connection;
mod decode;
mod encode;
mod module;
#[cfg(test)]
mod tests;
mod wire;

use std::collections::BTreeMap;

use rustix::io::Errno;

pub(crate) use self::module::is_loaded;

use self::connection::{Connection, DumpEnd};
use self::encode::Request;
use self::wire::Command;
use super::backend::{Backend, Error, Op, Refusal, Scope, Snapshot};
use super::types::{
    DestinationEntry, DestinationKey, Service, ServiceEntry, ServiceKey, Settings, Stats, SyncRole,
};
use crate::netlink::attribute::Malformed;

/// Most requests in one datagram: measured, more is no faster, and their refusals fit any receive buffer.
const BATCH: usize = 64;
/// How often a dump the kernel calls inconsistent is asked for before it is an error.
const DUMP_ATTEMPTS: usize = 4;
/// What generic netlink answers when a family has gone, or has another number after a reload of its module.
const FAMILY_GONE: i32 = Errno::NOENT.raw_os_error();

/// The kernel's table in the network namespace of the thread that opened the socket.
pub struct NetlinkBackend {
    /// None after a failure, until the next request opens another.
    connection: Option<Connection>,
    /// Number of the next message, going on across connections.
    seq: u32,
}

impl std::fmt::Debug for NetlinkBackend {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NetlinkBackend")
            .field("connected", &self.connection.is_some())
            .field("seq", &self.seq)
            .finish()
    }
}

impl NetlinkBackend {
    /// Connects to IPVS, loading the module `ip_vs` if the kernel has none yet, and asks it one question to
    /// see that it may.
    ///
    /// # Errors
    /// [`Error::NoIpvs`] naming the next step, [`Error::NotPermitted`], or [`Error::Transport`].
    pub fn open() -> Result<NetlinkBackend, Error> {
        let mut this = NetlinkBackend { connection: None, seq: 1 };
        this.converse(|c| ask(c, Command::GetInfo, decode::info).map(drop))?;
        Ok(this)
    }

    /// Runs `talk` on the connection, opening one if there is none, and gives it up after any doubt.
    fn converse<T>(&mut self, talk: impl FnOnce(&mut Connection) -> Result<T, Error>) -> Result<T, Error> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => connect(self.seq)?,
        };
        let outcome = talk(&mut connection);
        self.seq = connection.next_seq();
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
            let mut refusals = Vec::new();
            for (i, slice) in ops.chunks(BATCH).enumerate() {
                apply_batch(c, i.saturating_mul(BATCH), slice, &mut refusals)?;
            }
            // Of a change, ENOENT usually means a destination or a module that is absent.
            if refusals.iter().any(|r| r.errno == FAMILY_GONE) && !c.is_current(wire::FAMILY_NAME)? {
                return Err(left());
            }
            Ok(refusals)
        })
    }
}

/// Opens a connection to IPVS, loading the module if need be.
fn connect(seq: u32) -> Result<Connection, Error> {
    let mut connection = Connection::open(seq)?;
    if connection.find_family(wire::FAMILY_NAME)? {
        return Ok(connection);
    }
    let why = match module::load() {
        Ok(()) if connection.find_family(wire::FAMILY_NAME)? => return Ok(connection),
        Ok(()) => "modprobe says it is loaded, but it is not there".to_owned(),
        Err(why) => why,
    };
    Err(Error::NoIpvs(format!(
        "the module {module} cannot be loaded ({why}); run \"modprobe {module}\" as root, in a container on \
         its host; if it does not exist, install your distribution's modules package for the running kernel",
        module = module::MODULE
    )))
}

fn apply_batch(
    c: &mut Connection,
    offset: usize,
    ops: &[Op],
    refusals: &mut Vec<Refusal>,
) -> Result<(), Error> {
    let mut requests = Vec::with_capacity(ops.len());
    // Where each request stands in the caller's slice: those that cannot be written are left out.
    let mut origins = Vec::with_capacity(ops.len());
    let mut refused = Vec::new();
    for (i, op) in ops.iter().enumerate() {
        let index = offset.saturating_add(i);
        match encode::operation(op) {
            Ok(request) => {
                requests.push(request);
                origins.push(index);
            }
            Err(e) => refused.push(Refusal { index, errno: e.errno, text: Some(e.text) }),
        }
    }
    for r in c.batch(requests, |_, _| Ok(()))? {
        if is_permission(r.errno) {
            return Err(Error::NotPermitted("change the IPVS table".into()));
        }
        let index = *origins.get(r.index).ok_or_else(|| Error::Transport("a refusal of nothing".into()))?;
        refused.push(Refusal { index, errno: r.errno, text: r.text });
    }
    refused.sort_by_key(|r| r.index);
    refusals.append(&mut refused);
    Ok(())
}

fn keys(c: &mut Connection) -> Result<Vec<ServiceKey>, Error> {
    let mut keys = dump(
        c,
        "listing services",
        || encode::question(Command::GetService),
        Vec::new,
        |keys, message| {
            keys.extend(decode::service_key(message)?);
            Ok(())
        },
    )?;
    keys.sort_unstable();
    keys.dedup();
    Ok(keys)
}

fn entries(
    c: &mut Connection,
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

fn services(c: &mut Connection, keys: &[ServiceKey]) -> Result<Services, Error> {
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
        let expected = asked.get(index).ok_or(Malformed("a service nobody asked for"))?;
        if let Some((key, service, stats)) = decode::service(message)? {
            if key != *expected {
                return Err(Malformed("another service than the one asked for"));
            }
            all.insert(key, Some((service, stats)));
        }
        Ok(())
    })?;
    match refused.into_iter().find(|r| r.errno != Errno::SRCH.raw_os_error()) {
        Some(r) => Err(refusal("reading a service", r.errno)),
        None => Ok(all),
    }
}

/// The destinations of a service; None when it has gone meanwhile.
fn destinations(
    c: &mut Connection,
    key: &ServiceKey,
) -> Result<Option<BTreeMap<DestinationKey, DestinationEntry>>, Error> {
    let all = dump(
        c,
        "reading a service's destinations",
        || encode::get_destinations(key),
        Vec::new,
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

fn settings(c: &mut Connection) -> Result<Settings, Error> {
    let (version, connection_table_size) = ask(c, Command::GetInfo, decode::info)?;
    let timeouts = ask(c, Command::GetConfig, decode::timeouts)?;
    let mut sync_daemons = dump(
        c,
        "reading the sync daemons",
        || encode::question(Command::GetDaemon),
        Vec::new,
        |all, message| {
            all.extend(decode::sync_daemon(message)?);
            Ok(())
        },
    )?;
    sync_daemons.sort_by_key(|d| d.role != SyncRole::Master);
    Ok(Settings { version, connection_table_size, timeouts, sync_daemons })
}

/// One question with one answer.
fn ask<T>(
    c: &mut Connection,
    command: Command,
    read: impl Fn(&[u8]) -> Result<T, Malformed>,
) -> Result<T, Error> {
    let request = encode::question(command).map_err(|e| Error::Transport(e.text))?;
    let mut answer = None;
    let refused = c.batch(vec![request], |_, message| {
        answer = Some(read(message)?);
        Ok(())
    })?;
    match (refused.first(), answer) {
        (Some(r), _) => Err(refusal("reading the settings", r.errno)),
        (None, Some(answer)) => Ok(answer),
        (None, None) => Err(Error::Transport("an answer without what was asked for".into())),
    }
}

/// A dump into a collection, again from the start when the kernel says that it changed meanwhile.
fn dump<T>(
    c: &mut Connection,
    what: &str,
    request: impl Fn() -> Result<Request, encode::Unencodable>,
    empty: impl Fn() -> T,
    read: impl Fn(&mut T, &[u8]) -> Result<(), Malformed>,
) -> Result<T, Error> {
    for _ in 0..DUMP_ATTEMPTS {
        let request = request().map_err(|e| Error::Transport(e.text))?;
        let mut all = empty();
        match c.dump(request, |message| read(&mut all, message))? {
            DumpEnd::Complete => return Ok(all),
            DumpEnd::Interrupted => {}
            DumpEnd::Refused(errno) => return Err(refusal(what, errno)),
        }
    }
    Err(Error::Transport(format!("{what}: the table changed under {DUMP_ATTEMPTS} attempts")))
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
