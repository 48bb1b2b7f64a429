//! Other directors that run in the same network namespace, and what identifies this boot and namespace.

use std::fmt;
use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::guardian;

/// Another program that programs IPVS in this network namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Rival {
    pub name: &'static str,
    /// Its process id.
    pub pid: u32,
    /// Whether it was seen to be in this network namespace; false when it may not be looked at.
    pub is_certain: bool,
}

impl fmt::Display for Rival {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (pid {})", self.name, self.pid)
    }
}

/// Live keepalived and lvsd processes in this process's network namespace, the oldest pid first.
///
/// Reads /proc. A process of another user that cannot be looked at is passed over; one that root may not look at,
/// because it has capabilities this process was denied, is likely to be here.
pub(crate) fn rivals() -> Vec<Rival> {
    let Ok(own) = fs::read_link("/proc/self/ns/net") else { return Vec::new() };
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let is_root = rustix::process::geteuid().is_root();
    let mut rivals: Vec<Rival> = entries
        .flatten()
        .filter_map(|entry| {
            let pid: u32 = entry.file_name().to_str()?.parse().ok()?;
            // This one's guardian may not have its own name yet.
            if pid == std::process::id() || parent(&entry.path()) == Some(std::process::id()) {
                return None;
            }
            let name = rival_name(&entry.path())?;
            match fs::read_link(entry.path().join("ns/net")) {
                Ok(found) => (found == own).then_some(Rival { name, pid, is_certain: true }),
                Err(error) => (error.kind() == ErrorKind::PermissionDenied && is_root).then_some(Rival {
                    name,
                    pid,
                    is_certain: false,
                }),
            }
        })
        .collect();
    rivals.sort_by_key(|r| r.pid);
    rivals
}

/// keepalived by program or process name; lvsd only where it was started to run.
fn rival_name(process: &Path) -> Option<&'static str> {
    let comm = fs::read_to_string(process.join("comm")).ok()?;
    if comm.trim_end() == guardian::NAME {
        return None;
    }
    let program = fs::read_link(process.join("exe")).ok();
    let program = program.as_deref().and_then(Path::file_name).and_then(|n| n.to_str()).unwrap_or("");
    let is = |name: &str| comm.trim_end() == name || program == name;
    if is("keepalived") {
        return Some("keepalived");
    }
    if is("lvsd") {
        let line = fs::read(process.join("cmdline")).ok()?;
        return is_run(&line).then_some("lvsd");
    }
    None
}

/// Programs that are known to change IPVS tables, by process names.
const MEDDLERS: [&str; 9] = [
    "kube-proxy",
    "kube-router",
    "keepalived",
    "ldirectord",
    "ipvsadm",
    "surealived",
    "dockerd",
    "cilium-agent",
    "pacemakerd",
];

/// Live programs that are known to change IPVS tables, in words; of any network namespace.
pub(crate) fn meddlers() -> Vec<String> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let mut found: Vec<String> = entries
        .flatten()
        .filter_map(|entry| {
            let pid: u32 = entry.file_name().to_str()?.parse().ok()?;
            let comm = fs::read_to_string(entry.path().join("comm")).ok()?;
            let name = MEDDLERS.iter().find(|name| **name == comm.trim_end())?;
            Some(format!("{name} (pid {pid})"))
        })
        .collect();
    found.sort();
    found
}

/// Whether this process may do what a capability allows; `number` is the kernel's (linux/capability.h).
pub(crate) fn has_capability(number: u8) -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    effective_capabilities(&status).is_none_or(|bits| bits >> number & 1 == 1)
}

/// The effective capabilities of a process by its `/proc/PID/status`: a bit each (proc(5), CapEff).
pub(crate) fn effective_capabilities(status: &str) -> Option<u64> {
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"))?;
    u64::from_str_radix(effective.trim(), 16).ok()
}

fn parent(process: &Path) -> Option<u32> {
    let text = fs::read_to_string(process.join("stat")).ok()?;
    // The name before it may hold blanks and parentheses itself.
    text.rsplit_once(')')?.1.split_ascii_whitespace().nth(1)?.parse().ok()
}

/// Whether a command line is that of `lvsd run`, and not of a short-lived command with `run` among its words.
fn is_run(command_line: &[u8]) -> bool {
    command_line.split(|b| *b == 0).nth(1) == Some(b"run")
}

/// What identifies this boot of the machine (random, new at every boot).
///
/// # Errors
/// When /proc is not there.
pub(crate) fn boot_id() -> std::io::Result<String> {
    Ok(fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim().to_owned())
}

/// What identifies this process's network namespace during this boot.
///
/// # Errors
/// When /proc is not there.
pub(crate) fn network_namespace() -> std::io::Result<u64> {
    Ok(fs::metadata("/proc/self/ns/net")?.ino())
}

/// Lets this process open as many files as it may: every probe under way holds one.
pub(crate) fn raise_file_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        tracing::warn!("cannot raise the limit of open files above {:?}: {error}", limit.current);
    }
}

/// How many files this process may have open.
pub(crate) fn file_limit() -> usize {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    limit.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_test_binary_is_no_rival_of_itself() {
        assert!(rivals().iter().all(|r| r.pid != std::process::id()));
    }

    #[test]
    fn a_process_knows_its_parent() {
        let own = parent(Path::new("/proc/self")).unwrap();
        assert_eq!(i32::try_from(own).ok(), rustix::process::getppid().map(|id| id.as_raw_pid()));
    }

    #[test]
    fn only_lvsd_run_directs() {
        assert!(is_run(b"/usr/local/sbin/lvsd\0run\0-c\0x.conf\0"));
        assert!(!is_run(b"lvsd\0status\0--run-dir\0run\0"));
        assert!(!is_run(b""), "a zombie");
    }

    #[test]
    fn the_boot_id_is_stable_within_a_boot() {
        assert_eq!(boot_id().unwrap(), boot_id().unwrap());
        assert_eq!(boot_id().unwrap().len(), 36);
    }
}
