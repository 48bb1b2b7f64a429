//! Files that only their directory's owner may make: opened so that a link is never followed, a pipe never waited for,
//! and no file of another user is believed; replaced whole or not at all.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

/// Largest file that is read, in bytes.
const SIZE_LIMIT: u64 = 64 << 20;
/// A link as the last part of a path is an error, and so is a wait.
const FLAGS: i32 = libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_NOCTTY;

/// Why a file that is there is not used.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refusal {
    /// A pipe, a device, a folder; or one file with two names.
    #[error("is not a regular file of its own: remove it")]
    NotPlain,
    /// Of another user than its directory is.
    #[error("belongs to user {0}, not to the owner of its directory: remove it")]
    Foreign(u32),
}

/// Opens a file for reading.
///
/// # Errors
/// When it is not there, is a link or no regular file, or its owner is not its directory's.
pub(super) fn open(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new().read(true).custom_flags(FLAGS).open(path)?;
    verify(&file.metadata()?, path)?;
    Ok(file)
}

/// Opens a file for reading and writing, and makes it (mode 0644) where there is none.
///
/// # Errors
/// As [`open`].
pub(super) fn open_or_make(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(0o644).custom_flags(FLAGS);
    let file = options.open(path)?;
    verify(&file.metadata()?, path)?;
    Ok(file)
}

/// Reads a whole file.
///
/// # Errors
/// As [`open`], or when it is larger than 64 MiB.
pub(super) fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    open(path)?.take(SIZE_LIMIT + 1).read_to_end(&mut text)?;
    if text.len() as u64 > SIZE_LIMIT {
        return Err(io::Error::other("it is larger than 64 MiB"));
    }
    Ok(text)
}

/// Replaces a file, whole or not at all. All users may have write access to the directory: no file in it is
/// followed or opened.
///
/// # Errors
/// When it cannot be written; the previous file is untouched then.
pub(super) fn replace(path: &Path, mode: u32, text: &[u8]) -> io::Result<()> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let fresh = path.with_file_name(format!(".{name}.new"));
    remove(&fresh)?;
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&fresh)?;
    // No fsync: what must survive is this process's death, not the machine's.
    let written = file.write_all(text).and_then(|()| fs::rename(&fresh, path));
    if written.is_err() {
        let _ = fs::remove_file(&fresh);
    }
    written
}

/// Removes a file, or a link, that may not be there.
///
/// # Errors
/// When it stays.
pub(super) fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Another user may have given a second name to another file of the owner's.
fn verify(found: &Metadata, path: &Path) -> io::Result<()> {
    let owner = fs::metadata(path.parent().unwrap_or(Path::new("/")))?.uid();
    let refusal = match found {
        found if !found.is_file() || found.nlink() > 1 => Refusal::NotPlain,
        found if found.uid() != owner => Refusal::Foreign(found.uid()),
        _ => return Ok(()),
    };
    Err(io::Error::new(io::ErrorKind::InvalidInput, refusal))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, chown, symlink};

    use super::*;

    #[test]
    fn links_pipes_and_files_of_other_users_are_neither_followed_nor_waited_for_nor_read() {
        let folder = std::env::temp_dir().join(format!("lvsd-private-{}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).unwrap();
        let (path, victim) = (folder.join("file"), folder.join("victim"));
        fs::write(&victim, "precious").unwrap();

        symlink(&victim, &path).unwrap();
        assert_eq!(open_or_make(&path).unwrap_err().raw_os_error(), Some(libc::ELOOP));
        assert_eq!(read(&path).unwrap_err().raw_os_error(), Some(libc::ELOOP));
        symlink(&victim, folder.join(".file.new")).unwrap();
        replace(&path, 0o600, b"first").unwrap();
        assert_eq!(read(&path).unwrap(), b"first");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 2, "nothing else is left");

        let refused = |path: &Path| {
            let error = open_or_make(path).and(open(path)).unwrap_err();
            error.into_inner().unwrap().downcast::<Refusal>().unwrap()
        };
        fs::remove_file(&path).unwrap();
        fs::hard_link(&victim, &path).unwrap();
        assert_eq!(*refused(&path), Refusal::NotPlain);
        fs::remove_file(&path).unwrap();
        let mode = rustix::fs::Mode::from_raw_mode(0o600);
        rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, mode, 0).unwrap();
        assert_eq!(*refused(&path), Refusal::NotPlain);
        fs::remove_file(&path).unwrap();
        fs::write(&path, "forged").unwrap();
        // Only root can play the other user.
        if chown(&path, Some(12345), None).is_ok() {
            assert_eq!(*refused(&path), Refusal::Foreign(12345));
        }
        assert_eq!(fs::read_to_string(&victim).unwrap(), "precious");
        assert!(replace(&folder.join("no/such/folder"), 0o600, b"").is_err());
        fs::remove_dir_all(&folder).unwrap();
    }
}
