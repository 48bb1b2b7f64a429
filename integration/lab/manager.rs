//! A service manager of ours: the socket of sd_notify(3), and what was heard on it.

use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::wait::wait_for;

/// A service manager that only listens.
#[derive(Debug)]
pub(crate) struct Manager {
    socket: UnixDatagram,
    path: PathBuf,
    heard: Vec<String>,
}

impl Manager {
    /// Listens at a path.
    ///
    /// # Errors
    /// When the socket cannot be made.
    pub(crate) fn listen(path: &str) -> Result<Manager, String> {
        let fail = |e| format!("{path}: {e}");
        let socket = UnixDatagram::bind(path).map_err(fail)?;
        socket.set_nonblocking(true).map_err(fail)?;
        Ok(Manager { socket, path: path.into(), heard: Vec::new() })
    }

    /// What NOTIFY_SOCKET must say.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// All messages so far.
    ///
    /// # Errors
    /// When one is not text.
    pub(crate) fn heard(&mut self) -> Result<&[String], String> {
        let mut buffer = [0; 4096];
        while let Ok(length) = self.socket.recv(&mut buffer) {
            let text =
                std::str::from_utf8(buffer.get(..length).unwrap_or_default()).map_err(|e| e.to_string())?;
            self.heard.push(text.to_owned());
        }
        Ok(&self.heard)
    }

    /// Forgets what was heard.
    ///
    /// # Errors
    /// When a message is not text.
    pub(crate) fn forget(&mut self) -> Result<(), String> {
        self.heard()?;
        self.heard.clear();
        Ok(())
    }

    /// Waits for a message that contains these words, and answers it.
    ///
    /// # Errors
    /// At the deadline, with all that was heard instead.
    pub(crate) fn wait_for(&mut self, words: &str, deadline: Duration) -> Result<String, String> {
        wait_for(&format!("the service manager hears {words:?}"), deadline, || {
            let heard = self.heard()?;
            heard.iter().find(|m| m.contains(words)).cloned().ok_or_else(|| format!("{heard:#?}"))
        })
    }
}
