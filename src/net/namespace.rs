//! Network namespaces by name, as `ip netns` keeps them.

use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;

use rustix::process::Pid;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// Where they are found.
const DIRECTORY: &str = "/run/netns";

/// Whether a word can name one.
pub(crate) fn is_name(word: &str) -> bool {
    !word.is_empty() && word.len() <= 255 && !word.contains(['/', '\0']) && ![".", ".."].contains(&word)
}

/// Moves this thread into the namespace of that name; the threads it starts later begin there. False when it is there
/// already, which needs no right.
///
/// # Errors
/// What [`in_words`] explains.
pub(crate) fn enter(name: &str) -> io::Result<bool> {
    if !is_name(name) {
        return Err(ErrorKind::NotFound.into());
    }
    move_to(&format!("{DIRECTORY}/{name}"))
}

/// Moves this thread into the namespace of a process; false when it is there already.
///
/// # Errors
/// When it may not see that process, or not enter.
pub(crate) fn follow(process: Pid) -> io::Result<bool> {
    move_to(&format!("/proc/{process}/ns/net"))
}

fn move_to(path: &str) -> io::Result<bool> {
    let there = File::open(path)?;
    let identity = |file: &File| file.metadata().map(|found| (found.dev(), found.ino()));
    let here = File::open("/proc/thread-self/ns/net")?;
    if identity(&there)? == identity(&here)? {
        return Ok(false);
    }
    move_into_link_name_space(there.as_fd(), Some(LinkNameSpaceType::Network))?;
    Ok(true)
}

/// Why a namespace cannot be entered, and what helps.
pub(crate) fn in_words(name: &str, error: &io::Error) -> (String, String) {
    let path = format!("{DIRECTORY}/{name}");
    match error.kind() {
        ErrorKind::NotFound => (
            format!("there is no network namespace `{name}`"),
            format!("make it before lvsd starts, e.g. by `ip netns add {name}`: it is found as {path}"),
        ),
        ErrorKind::PermissionDenied => (
            format!("this process may not enter network namespace `{name}`"),
            format!(
                "write `NetworkNamespacePath={path}` in the unit of systemd, which needs no right of lvsd's; or give \
                 lvsd CAP_SYS_ADMIN, and in a unit `RestrictNamespaces=net`"
            ),
        ),
        ErrorKind::InvalidInput => {
            (format!("{path} is no network namespace"), format!("make it by `ip netns add {name}`"))
        }
        _ => (format!("network namespace `{name}` cannot be entered: {error}"), format!("see {path}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_own_namespace_is_entered_without_a_right_and_one_that_is_missing_is_named() {
        assert!(!follow(rustix::process::getpid()).unwrap());
        for name in ["lvsd-has-no-such-namespace", "..", "a/b", ""] {
            let error = enter(name).unwrap_err();
            let (problem, help) = in_words(name, &error);
            assert_eq!(problem, format!("there is no network namespace `{name}`"));
            assert!(help.contains("ip netns add"), "{help}");
        }
        assert!(is_name("blue") && !is_name(&"a".repeat(256)));
    }
}
