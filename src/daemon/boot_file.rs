//! A JSON file in the run directory that counts only in the boot and the network namespace it was written in.

use std::io;
use std::path::PathBuf;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::{private_file, process};

/// A boot of the machine and a network namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Scope {
    pub(super) boot_id: String,
    pub(super) network_namespace: u64,
}

impl Scope {
    /// This boot, and this process's network namespace.
    ///
    /// # Errors
    /// When /proc is not there.
    pub(super) fn current() -> io::Result<Scope> {
        Ok(Scope { boot_id: process::boot_id()?, network_namespace: process::network_namespace()? })
    }
}

/// See the module.
#[derive(Clone, Debug)]
pub(super) struct BootFile {
    pub(super) path: PathBuf,
    pub(super) scope: Scope,
}

#[derive(Serialize)]
struct Scoped<'a, T> {
    #[serde(flatten)]
    scope: &'a Scope,
    #[serde(flatten)]
    content: &'a T,
}

impl BootFile {
    /// The file's content; None when there is no file, or it was written in another boot or network namespace.
    ///
    /// # Errors
    /// When it cannot be read or makes no sense.
    pub(super) fn read<T: DeserializeOwned>(&self) -> io::Result<Option<T>> {
        let text = match private_file::read(&self.path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let content = serde_json::from_slice(&text)?;
        let is_current = serde_json::from_slice::<Scope>(&text)? == self.scope;
        Ok(is_current.then_some(content))
    }

    /// Replaces it, whole or not at all.
    ///
    /// # Errors
    /// When it cannot be written; the previous file is untouched then.
    pub(super) fn write(&self, mode: u32, content: &impl Serialize) -> io::Result<()> {
        let text = serde_json::to_vec(&Scoped { scope: &self.scope, content })?;
        private_file::replace(&self.path, mode, &text)
    }

    /// Removes it, where it is.
    ///
    /// # Errors
    /// When it stays.
    pub(super) fn remove(&self) -> io::Result<()> {
        private_file::remove(&self.path)
    }
}
