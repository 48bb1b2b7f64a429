//! This machine, as configurations see it: its files, and its interfaces as the kernel tells them.
//!
//! /sys shows the interfaces of the network namespace it was mounted in, which need not be this process's. Only regular
//! files are read, and all of them within [`LIMIT`]. A command that reads a configuration once may be given a pipe, too,
//! as a descriptor of its own: `/dev/stdin`, or what a shell makes of `<(...)`.

use std::borrow::Cow;
use std::cell::OnceCell;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use crate::net::kernel::Kernel;
use crate::net::namespace;
use crate::syntax::files::{Files, Links, OsFiles, read_at_most};
use crate::syntax::source::Sources;
use crate::syntax::time_limited::TimeLimited;

/// Longest time that file systems may take to answer while a configuration is read. A client of the control socket
/// waits longer.
pub(crate) const LIMIT: Duration = Duration::from_secs(6);
/// Threads of this process that still wait for a file system after the time for it was over.
static LEFT_BEHIND: AtomicUsize = AtomicUsize::new(0);

/// See the module. Interfaces are asked for once.
#[derive(Debug)]
pub(crate) struct LocalHost {
    files: TimeLimited<OsFiles>,
    descriptor: Option<Descriptor>,
    links: OnceCell<Option<Links>>,
    /// What `@ID` is compared with, instead of the host's name.
    id: Option<String>,
}

/// A descriptor this process was given, and what was read from it: a pipe can be read once.
#[derive(Debug)]
struct Descriptor {
    path: PathBuf,
    bytes: OnceCell<Vec<u8>>,
}

impl Descriptor {
    fn of(path: &Path) -> Option<Descriptor> {
        LocalHost::is_descriptor(path).then(|| Descriptor { path: path.to_owned(), bytes: OnceCell::new() })
    }

    /// Takes as long as the writer of the pipe takes: the operator who made the pipe also waits for the command.
    fn read(&self, limit: usize) -> io::Result<Vec<u8>> {
        if self.bytes.get().is_none() {
            let bytes = read_at_most(File::open(&self.path)?, Sources::MAX_BYTES)?;
            let _ = self.bytes.set(bytes);
        }
        let bytes = self.bytes.get().map(Vec::as_slice).unwrap_or_default();
        Ok(bytes.iter().take(limit.saturating_add(1)).copied().collect())
    }
}

impl LocalHost {
    fn with(descriptor: Option<Descriptor>) -> LocalHost {
        let files = TimeLimited::new(OsFiles, LIMIT, &LEFT_BEHIND);
        LocalHost { files, descriptor, links: OnceCell::new(), id: None }
    }

    /// Whether a path is a descriptor of the process that reads it: such a file has no name.
    pub(crate) fn is_descriptor(path: &Path) -> bool {
        let folders = ["/dev/fd", "/proc/self/fd"];
        path == Path::new("/dev/stdin") || folders.iter().any(|f| path.starts_with(f))
    }

    /// For a command that reads the configuration at `path` once.
    pub(crate) fn once(path: &Path) -> LocalHost {
        LocalHost::with(Descriptor::of(path))
    }

    /// One that goes by this name in `@ID`, if there is one.
    pub(crate) fn named(self, id: Option<String>) -> LocalHost {
        LocalHost { id, ..self }
    }
}

impl Default for LocalHost {
    fn default() -> LocalHost {
        LocalHost::with(None)
    }
}

impl Files for LocalHost {
    fn read(&self, path: &Path, limit: usize) -> io::Result<Vec<u8>> {
        match self.descriptor.as_ref().filter(|descriptor| descriptor.path == path) {
            Some(descriptor) => descriptor.read(limit),
            None => self.files.read(path, limit),
        }
    }

    fn host(&self) -> String {
        self.id.clone().unwrap_or_else(|| self.files.host())
    }

    fn exists(&self, path: &Path) -> bool {
        self.files.exists(path)
    }

    fn list(&self, directory: &Path, limit: usize) -> io::Result<Vec<String>> {
        self.files.list(directory, limit)
    }

    fn is_silent(&self) -> bool {
        self.files.is_silent()
    }

    fn enter_namespace(&self, name: &str) -> io::Result<()> {
        namespace::enter(name).map(drop)
    }

    fn links(&self) -> Option<Cow<'_, Links>> {
        self.links.get_or_init(links).as_ref().map(Cow::Borrowed)
    }
}

fn links() -> Option<Links> {
    let host = Kernel::open().and_then(|mut kernel| kernel.host()).ok()?;
    let bytes = |mtu: u32| usize::try_from(mtu).unwrap_or(usize::MAX);
    Some(host.links.values().map(|link| (link.name.clone(), bytes(link.mtu))).collect())
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::fd::AsRawFd;

    use super::*;
    use crate::syntax::files::in_words;

    #[test]
    fn a_pipe_is_read_only_by_a_command_that_was_given_it() {
        let (reader, mut writer) = std::io::pipe().unwrap();
        let path = PathBuf::from(format!("/dev/fd/{}", reader.as_raw_fd()));
        let refused = LocalHost::default().read(&path, 100).map_err(|error| in_words(&error));
        assert_eq!(refused, Err("is a pipe (FIFO), not a regular file".to_owned()));
        writer.write_all(b"global_defs").unwrap();
        drop(writer);
        let here = LocalHost::once(&path);
        assert_eq!(here.read(&path, 5).unwrap(), b"global", "what is read first is not lost");
        assert_eq!(here.read(&path, 100).unwrap(), b"global_defs");
    }

    #[test]
    fn the_interfaces_are_those_of_this_threads_network_namespace() {
        let here = std::thread::spawn(|| {
            // Where that is not permitted the thread stays where it is, which has a loopback, too.
            let flags = rustix::thread::UnshareFlags::NEWNET;
            // SAFETY: the thread is this test's own and shares nothing that depends on its namespaces.
            #[allow(unsafe_code)]
            let is_bare = unsafe { rustix::thread::unshare_unsafe(flags) }.is_ok();
            (is_bare, LocalHost::default().links().map(Cow::into_owned))
        });
        let (is_bare, links) = here.join().unwrap();
        let names: Vec<String> = links.unwrap().into_keys().collect();
        assert!(names.contains(&"lo".to_owned()) && (!is_bare || names.len() == 1), "{names:?}");
    }
}
