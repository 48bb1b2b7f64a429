//! This machine, as configurations see it: its files, and its interfaces as the kernel tells them.
//!
//! /sys shows the interfaces of the network namespace it was mounted in, which need not be this process's.

use std::borrow::Cow;
use std::cell::OnceCell;
use std::io;
use std::path::Path;

use crate::net::kernel::Kernel;
use crate::syntax::files::{Files, Links, OsFiles};

/// See the module. Interfaces are asked for once.
#[derive(Debug, Default)]
pub struct Here {
    links: OnceCell<Option<Links>>,
}

impl Files for Here {
    fn read(&self, path: &Path, limit: usize) -> io::Result<Vec<u8>> {
        OsFiles.read(path, limit)
    }

    fn host(&self) -> String {
        OsFiles.host()
    }

    fn exists(&self, path: &Path) -> bool {
        OsFiles.exists(path)
    }

    fn list(&self, directory: &Path) -> Vec<String> {
        OsFiles.list(directory)
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
    use super::*;

    #[test]
    fn the_interfaces_are_those_of_this_threads_network_namespace() {
        let here = std::thread::spawn(|| {
            // Where that is not permitted the thread stays where it is, which has a loopback, too.
            let flags = rustix::thread::UnshareFlags::NEWNET;
            // SAFETY: the thread is this test's own and shares nothing that depends on its namespaces.
            #[allow(unsafe_code)]
            let is_bare = unsafe { rustix::thread::unshare_unsafe(flags) }.is_ok();
            (is_bare, Here::default().links().map(Cow::into_owned))
        });
        let (is_bare, links) = here.join().unwrap();
        let names: Vec<String> = links.unwrap().into_keys().collect();
        assert!(names.contains(&"lo".to_owned()) && (!is_bare || names.len() == 1), "{names:?}");
    }
}
