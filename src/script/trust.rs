//! `enable_script_security`: whether users other than root could change what root is about to run.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStringExt;
use std::path::{Component, Path, PathBuf};

use rustix::fd::OwnedFd;
use rustix::fs::{CWD, FileType, Mode, OFlags, fstat, openat, readlinkat};

const GROUP_WRITES: u32 = 0o020;
const OTHERS_WRITE: u32 = 0o002;
const STICKY: u32 = 0o1000;
/// As many links as the kernel follows.
const MAX_LINKS: usize = 40;

/// Goes the way the kernel goes to a program, step by step, and looks at every folder, link and file on it: also at
/// those that a link only leads through, for a user who may change one of these chooses what runs. So what the path
/// leads to when it is executed is what was looked at, unless root changes it: a path, unlike a descriptor, tells a
/// script by which name it was called.
///
/// # Errors
/// In words, naming the first part that another user may write.
pub(super) fn verify(program: &Path) -> Result<(), String> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let open = |folder: &OwnedFd, name: &OsStr, at: &Path| {
        openat(folder, name, flags, Mode::empty()).map_err(|error| format!("{}: {error}", at.display()))
    };
    let root = || openat(CWD, "/", flags, Mode::empty()).map_err(|error| format!("/: {error}"));
    let mut todo = steps(program);
    let mut links = 0;
    let (mut at, mut folder) = (PathBuf::from("/"), root()?);
    look(&folder, &at)?;
    while let Some(step) = todo.pop_front() {
        if step == "/" {
            (at, folder) = (PathBuf::from("/"), root()?);
            continue;
        }
        let next =
            if step == ".." { at.parent().unwrap_or(Path::new("/")).to_owned() } else { at.join(&step) };
        let found = open(&folder, &step, &next)?;
        let kind = look(&found, &next)?;
        if kind != FileType::Symlink {
            (at, folder) = (next, found);
            continue;
        }
        links += 1;
        if links > MAX_LINKS {
            return Err(format!("{}: too many symbolic links", program.display()));
        }
        let target = readlinkat(&found, "", Vec::new()).map_err(|e| format!("{}: {e}", next.display()))?;
        let target = PathBuf::from(OsString::from_vec(target.into_bytes()));
        let mut through = steps(&target);
        if target.is_relative() {
            through.pop_front();
        }
        through.append(&mut todo);
        todo = through;
    }
    Ok(())
}

/// The steps of a path; one that is relative begins at the root, where scripts run.
fn steps(path: &Path) -> VecDeque<OsString> {
    let step = |component| match component {
        Component::ParentDir => Some(OsString::from("..")),
        Component::Normal(name) => Some(name.to_owned()),
        Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
    };
    std::iter::once(OsString::from("/")).chain(path.components().filter_map(step)).collect()
}

/// Whether only root may change it; what it is.
fn look(part: &OwnedFd, at: &Path) -> Result<FileType, String> {
    let found = fstat(part).map_err(|error| format!("{}: {error}", at.display()))?;
    let kind = FileType::from_raw_mode(found.st_mode);
    // The mode of a symbolic link is always 0777 and means nothing.
    let may_write = |who: u32| kind != FileType::Symlink && found.st_mode & who != 0;
    // In a sticky folder others cannot replace what is root's, and that is looked at, too.
    let is_sticky = kind == FileType::Directory && found.st_mode & STICKY != 0;
    let is_open = may_write(OTHERS_WRITE) || (may_write(GROUP_WRITES) && found.st_gid != 0);
    if found.st_uid == 0 && (is_sticky || !is_open) {
        return Ok(kind);
    }
    let at = at.display();
    Err(format!(
        "enable_script_security: {at} can be changed by others than root, and the script would run as root"
    ))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, chown, symlink};

    use super::*;

    struct Folder(PathBuf);

    impl Folder {
        /// None where this test is not root's: it cannot play both.
        fn new(name: &str) -> Option<Folder> {
            let path = std::env::temp_dir().join(format!("lvsd-trust-{name}-{}", std::process::id()));
            let _ = fs::remove_dir_all(&path);
            fs::create_dir_all(path.join("own")).unwrap();
            mode(&path, 0o755);
            mode(&path.join("own"), 0o755);
            let script = path.join("own/script");
            fs::write(&script, "#!/bin/sh\n").unwrap();
            mode(&script, 0o755);
            rustix::process::geteuid().is_root().then_some(Folder(path))
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn mode(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn scripts_writable_by_others_do_not_run_as_root() {
        let Some(Folder(folder)) = &Folder::new("write") else { return };
        assert_eq!(verify(Path::new("/bin/sh")), Ok(()));
        let script = folder.join("own/script");
        assert_eq!(verify(&script), Ok(()), "a sticky /tmp above is no harm");
        mode(&script, 0o757);
        assert!(verify(&script).unwrap_err().contains("script can be changed by others"));
        mode(&script, 0o755);
        mode(folder, 0o777);
        assert!(verify(&script).is_err(), "a user who may write the folder can replace the script");
        mode(folder, 0o755);
        chown(&script, Some(12345), None).unwrap();
        assert!(verify(&script).is_err(), "its owner may change it");
    }

    #[test]
    fn a_link_that_others_may_turn_does_not_lead_to_what_runs_as_root() {
        let Some(Folder(folder)) = &Folder::new("link") else { return };
        let script = folder.join("own/script");
        let theirs = folder.join("theirs");
        fs::create_dir(&theirs).unwrap();
        symlink(&script, theirs.join("script")).unwrap();
        symlink(&theirs, folder.join("way")).unwrap();
        symlink("theirs/../own/script", folder.join("detour")).unwrap();
        symlink("own/script", folder.join("good")).unwrap();
        for name in ["theirs/script", "way/script", "detour", "good", "own/../good"] {
            assert_eq!(verify(&folder.join(name)), Ok(()), "{name}: all of it is root's so far");
        }
        chown(&theirs, Some(12345), None).unwrap();
        for name in ["theirs/script", "way/script", "detour"] {
            let why = verify(&folder.join(name)).unwrap_err();
            assert!(why.contains("theirs can be changed by others"), "{name}: {why}");
        }
        assert_eq!(verify(&folder.join("good")), Ok(()));
        // In a folder like /tmp others have links of their own.
        mode(&theirs, 0o1777);
        chown(&theirs, Some(0), None).unwrap();
        assert_eq!(verify(&theirs.join("script")), Ok(()));
        std::os::unix::fs::lchown(theirs.join("script"), Some(12345), None).unwrap();
        assert!(verify(&theirs.join("script")).unwrap_err().contains("theirs/script can be changed"));
        symlink("loop", folder.join("loop")).unwrap();
        assert!(verify(&folder.join("loop")).unwrap_err().contains("too many symbolic links"));
    }
}
