//! The user and group a script runs as: names to numbers.
//!
//! Read from /etc/passwd and /etc/group, anew for every run: an account that is made later counts from then on.
//! Directory services are not asked, for a script must run when the network is down.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use super::Command;
use super::process::NotBegun;

/// Most of an accounts file that is read.
const MAX_FILE: u64 = 16 << 20;

/// A user's numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Account {
    pub uid: u32,
    pub gid: u32,
}

/// Where accounts are listed.
#[derive(Clone, Debug)]
pub(super) struct Accounts {
    pub(super) passwd: PathBuf,
    pub(super) group: PathBuf,
}

impl Default for Accounts {
    fn default() -> Accounts {
        Accounts { passwd: PathBuf::from("/etc/passwd"), group: PathBuf::from("/etc/group") }
    }
}

impl Accounts {
    /// The user and group a command runs as; None: the daemon's. Reads files.
    ///
    /// # Errors
    /// In words, when there is no such user or group.
    pub(super) fn of(&self, command: &Command) -> Result<Option<Account>, NotBegun> {
        let Some(user) = &command.user else { return Ok(None) };
        let mut account = self.user(user)?;
        if let Some(group) = &command.group {
            account.gid = self.group(group)?;
        }
        Ok(Some(account))
    }

    fn user(&self, name: &str) -> Result<Account, NotBegun> {
        let found = lookup(&self.passwd, name, |fields| {
            Some(Account { uid: fields.nth(1)?.parse().ok()?, gid: fields.next()?.parse().ok()? })
        })?;
        let by_number = || name.parse().ok().map(|n| Account { uid: n, gid: n });
        found
            .or_else(by_number)
            .ok_or_else(|| format!("there is no user {name} in {}", self.passwd.display()).into())
    }

    fn group(&self, name: &str) -> Result<u32, NotBegun> {
        let found = lookup(&self.group, name, |fields| fields.nth(1)?.parse().ok())?;
        let by_number = || name.parse().ok();
        found
            .or_else(by_number)
            .ok_or_else(|| format!("there is no group {name} in {}", self.group.display()).into())
    }
}

/// What the line of a name says; the fields begin behind the name.
fn lookup<T>(
    path: &Path,
    name: &str,
    read: impl Fn(&mut std::str::Split<'_, char>) -> Option<T>,
) -> Result<Option<T>, NotBegun> {
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(MAX_FILE).read_to_end(&mut bytes))
        .map_err(|error| NotBegun::of(&error, format!("{}: {error}", path.display())))?;
    let text = String::from_utf8_lossy(&bytes);
    let line = text.lines().map(|line| line.split(':')).find_map(|mut fields| {
        let is_it = fields.next() == Some(name);
        is_it.then_some(fields)
    });
    Ok(line.and_then(|mut fields| read(&mut fields)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_runs_as_its_user() {
        let folder = std::env::temp_dir().join(format!("lvsd-accounts-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let accounts = Accounts { passwd: folder.join("passwd"), group: folder.join("group") };
        std::fs::write(&accounts.passwd, "root:x:0:0::/root:/bin/sh\nweb:x:33:34::/:/bin/sh\nodd:x\n")
            .unwrap();
        std::fs::write(&accounts.group, "root:x:0:\nadm:x:4:web\n").unwrap();
        let of = |user: Option<&str>, group: Option<&str>| {
            let words = vec!["/x".to_owned()];
            let command = Command { words, user: user.map(str::to_owned), group: group.map(str::to_owned) };
            accounts.of(&command).map(|found| found.map(|a| (a.uid, a.gid)))
        };
        assert_eq!(of(Some("web"), None), Ok(Some((33, 34))));
        assert_eq!(of(Some("web"), Some("adm")), Ok(Some((33, 4))));
        assert_eq!(of(Some("1000"), None), Ok(Some((1000, 1000))), "by number");
        assert_eq!(of(None, None), Ok(None), "by default the daemon's");
        let unknown = of(Some("nobdy"), None).unwrap_err().why;
        assert!(unknown.starts_with("there is no user nobdy in "), "{unknown}");
        assert!(of(Some("odd"), None).is_err(), "half a line is no account");
        let unknown = of(Some("web"), Some("wheel")).unwrap_err().why;
        assert!(unknown.starts_with("there is no group wheel in "), "{unknown}");
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
