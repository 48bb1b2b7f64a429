//! A JSON file in the run directory that counts only in the boot and the network namespace it was written in.

use std::io;
use std::path::PathBuf;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::{private_file, process};

/// A boot of the machine and a network namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Scope {
    pub(crate) boot_id: String,
    pub(crate) network_namespace: u64,
}

impl Scope {
    /// This boot, and this process's network namespace.
    ///
    /// # Errors
    /// When /proc is not there.
    pub(crate) fn current() -> io::Result<Scope> {
        Ok(Scope { boot_id: process::boot_id()?, network_namespace: process::network_namespace()? })
    }
}

/// See the module.
#[derive(Clone, Debug)]
pub(crate) struct BootFile {
    pub(crate) path: PathBuf,
    pub(crate) scope: Scope,
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
    pub(crate) fn read<T: DeserializeOwned>(&self) -> io::Result<Option<T>> {
        let text = match private_file::read(&self.path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let content = serde_json::from_slice(&text)?;
        let is_current = serde_json::from_slice::<Scope>(&text)? == self.scope;
        Ok(is_current.then_some(content))
    }

    /// The boot and network namespace that the file was written in; None when there is no file.
    ///
    /// # Errors
    /// When it cannot be read or makes no sense.
    pub(crate) fn written_in(&self) -> io::Result<Option<Scope>> {
        match private_file::read(&self.path) {
            Ok(text) => Ok(Some(serde_json::from_slice(&text)?)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Replaces it, whole or not at all.
    ///
    /// # Errors
    /// When it cannot be written; the previous file is untouched then.
    pub(crate) fn write(&self, mode: u32, content: &impl Serialize) -> io::Result<()> {
        let text = serde_json::to_vec(&Scoped { scope: &self.scope, content })?;
        private_file::replace(&self.path, mode, &text)
    }

    /// Removes it, where it is.
    ///
    /// # Errors
    /// When it stays.
    pub(crate) fn remove(&self) -> io::Result<()> {
        private_file::remove(&self.path)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn content_counts_in_its_own_boot_and_namespace_only() {
        let folder = std::env::temp_dir().join(format!("lvsd-boot-file-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let file = |boot_id: &str, network_namespace| BootFile {
            path: folder.join("record.json"),
            scope: Scope { boot_id: boot_id.to_owned(), network_namespace },
        };
        #[derive(Debug, PartialEq, Serialize, Deserialize)]
        struct Content {
            number: u32,
        }
        let read = |file: BootFile| file.read::<Content>().unwrap();
        assert_eq!(
            (read(file("a", 1)), file("a", 1).written_in().unwrap()),
            (None, None),
            "there is no file"
        );
        file("a", 1).write(0o644, &Content { number: 7 }).unwrap();
        assert_eq!(read(file("a", 1)), Some(Content { number: 7 }));
        assert_eq!((read(file("b", 1)), read(file("a", 2))), (None, None));
        assert_eq!(file("b", 2).written_in().unwrap(), Some(file("a", 1).scope));
        fs::write(folder.join("record.json"), "{").unwrap();
        assert!(file("a", 1).written_in().is_err());
        fs::remove_dir_all(&folder).unwrap();
    }
}
