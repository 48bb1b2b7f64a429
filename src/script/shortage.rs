//! Errors that are shortages of this host, and say nothing about the file or the server.

use std::io;

/// Whether the host is short of something, or its file system is ill: of what is followed nothing is known then, and
/// it counts as it did. That a file is not there, or may not be read, is an answer.
pub(crate) fn is_hosts(error: &io::Error) -> bool {
    let known = [
        libc::EMFILE,
        libc::ENFILE,
        libc::ENOMEM,
        libc::EAGAIN,
        libc::EIO,
        libc::ENOBUFS,
        libc::ESTALE,
        libc::ETIMEDOUT,
    ];
    error.raw_os_error().is_some_and(|errno| known.contains(&errno))
}

/// What an operator can do about it.
pub(crate) fn advice(error: &io::Error) -> &'static str {
    match error.raw_os_error() {
        Some(libc::EMFILE) => "raise LimitNOFILE of lvsd's unit",
        Some(libc::ENFILE) => "raise fs.file-max, or find the program that has so many files open",
        Some(libc::ENOMEM | libc::ENOBUFS) => "this host is short of memory",
        Some(libc::EAGAIN) => {
            "this host has too many processes: raise TasksMax of lvsd's unit or kernel.pid_max"
        }
        _ => "see the kernel's log",
    }
}
