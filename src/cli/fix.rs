//! `lvsd check --fix`: shows corrections as a unified diff, and writes them.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, IsTerminal, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

use rustix::fs::XattrFlags;
use rustix::io::Errno;
use serde::Serialize;
use similar::TextDiff;

use super::{check, complain, print, print_beside, print_raw, render};
use crate::config::Reading;
use crate::config::fix::{Change, Correction, Fixed, fix};
use crate::config::local_host::LocalHost;
use crate::daemon::startup::Exit;
use crate::text;

/// Longest list of extended attributes, and longest value of one, in bytes: what the kernel allows (XATTR_SIZE_MAX).
const MAX_ATTRIBUTE: usize = 64 << 10;

#[derive(Clone, Copy, Debug)]
pub(super) struct Options {
    pub(super) is_json: bool,
    pub(super) denies_warnings: bool,
    /// The files are replaced.
    pub(super) writes: bool,
}

/// What is printed for programs.
#[derive(Serialize)]
struct Corrected {
    /// Whether the files were replaced.
    is_written: bool,
    corrections: Vec<Listed>,
    /// The report on the corrected configuration, as `lvsd check --json` prints it.
    report: serde_json::Value,
}

/// A correction; its place is in the text that those before it have made.
#[derive(Serialize)]
struct Listed {
    file: String,
    line: usize,
    column: usize,
    problem: String,
    replaced: Vec<Replaced>,
}

#[derive(Serialize)]
struct Replaced {
    old: String,
    new: String,
}

/// The exit status is that of `lvsd check` on the files as they are in the end.
pub(super) fn run(path: &Path, reading: &Reading, options: Options) -> Exit {
    if options.writes && path == Path::new("/dev/stdin") {
        complain("--write needs a file: standard input cannot be replaced");
        return Exit::Usage;
    }
    let fixed = fix(&LocalHost::once(path).named(reading.id.clone()), path, reading, &render::has_secret);
    if options.writes
        && let Err(Failure { exit, text }) = write(&fixed.changes)
    {
        complain(&text);
        return exit;
    }
    let loaded = fixed.after.as_ref().unwrap_or(&fixed.before);
    let report = check::report(path, loaded, options.denies_warnings);
    let exit = match options.writes {
        true => report.exit,
        false => check::report(path, &fixed.before, options.denies_warnings).exit,
    };
    if options.is_json {
        let report = check::json(path, loaded, report.exit, Vec::new(), Vec::new());
        print(&json(&fixed, options.writes, &report));
        return exit;
    }
    let is_terminal = io::stdout().is_terminal();
    for change in &fixed.changes {
        let diff = diff(change);
        // What patch reads is exact. People get neither secrets nor what would steer their terminal.
        match is_terminal {
            true => print(&diff.split_inclusive('\n').map(render::masked).collect::<String>()),
            false => print_raw(&diff),
        }
    }
    print_beside(&report.text);
    exit
}

fn json(fixed: &Fixed, is_written: bool, report: &str) -> String {
    let listed = |c: &Correction| Listed {
        file: c.path.display().to_string(),
        line: c.at.line,
        column: c.at.column,
        problem: c.problem.clone(),
        replaced: c
            .replaced
            .iter()
            .map(|(old, new)| Replaced { old: old.clone(), new: new.clone() })
            .collect(),
    };
    super::json(&Corrected {
        is_written: is_written && !fixed.changes.is_empty(),
        corrections: fixed.corrections.iter().map(listed).collect(),
        report: serde_json::from_str(report).unwrap_or_default(),
    })
}

/// The change of a file as patch reads it.
pub(crate) fn diff(change: &Change) -> String {
    let name = change.path.display().to_string();
    let name = text::line(&name);
    TextDiff::from_lines(&*change.old, &*change.new).unified_diff().header(&name, &name).to_string()
}

#[derive(Debug)]
struct Failure {
    exit: Exit,
    text: String,
}

impl Failure {
    fn of(path: &Path, error: &io::Error, then: &str) -> Failure {
        let exit = match error.kind() {
            ErrorKind::PermissionDenied => Exit::Permission,
            ErrorKind::StorageFull | ErrorKind::ReadOnlyFilesystem | ErrorKind::QuotaExceeded => {
                Exit::TryAgain
            }
            _ => Exit::Output,
        };
        Failure { exit, text: format!("{}: {error}: {then}", path.display()) }
    }
}

/// A file that is ready to take the place of another one; it is removed if it never does.
struct Prepared {
    fresh: PathBuf,
    target: PathBuf,
    is_in_place: bool,
}

impl Drop for Prepared {
    fn drop(&mut self) {
        if !self.is_in_place {
            let _ = fs::remove_file(&self.fresh);
        }
    }
}

/// Replaces files: first all are prepared, then each is moved into its place.
fn write(changes: &[Change]) -> Result<(), Failure> {
    let mut prepared = Vec::new();
    for change in changes {
        prepared
            .push(prepare(change).map_err(|error| Failure::of(&change.path, &error, "nothing was written"))?);
    }
    for (change, prepared) in changes.iter().zip(&mut prepared) {
        // As late as it can be seen: an editor may have saved the file meanwhile.
        let moved = must_be_unchanged(&prepared.target, change)
            .and_then(|()| fs::rename(&prepared.fresh, &prepared.target));
        moved.map_err(|error| Failure::of(&change.path, &error, "this file stays as it is"))?;
        prepared.is_in_place = true;
        if let Some(folder) = prepared.target.parent().and_then(|folder| File::open(folder).ok()) {
            // The rename is done; that it outlives a power failure is the file system's promise or not.
            let _ = folder.sync_all();
        }
    }
    Ok(())
}

/// Writes the new text beside the file that a path or a link leads to, with its mode, owner and attributes.
fn prepare(change: &Change) -> io::Result<Prepared> {
    let target = fs::canonicalize(&change.path)?;
    let found = fs::metadata(&target)?;
    if !found.is_file() {
        return Err(io::Error::other("is not a regular file"));
    }
    if found.nlink() > 1 {
        return Err(io::Error::other("has more than one name (hard links), of which only one would change"));
    }
    must_be_unchanged(&target, change)?;
    let name = target.file_name().unwrap_or_default().to_string_lossy();
    let fresh = target.with_file_name(format!(".{name}.{}.new", std::process::id()));
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&fresh)?;
    let prepared = Prepared { fresh, target, is_in_place: false };
    file.write_all(change.new.as_bytes())?;
    let made = file.metadata()?;
    if (made.uid(), made.gid()) != (found.uid(), found.gid()) {
        fchown(&file, Some(found.uid()), Some(found.gid()))?;
    }
    file.set_permissions(fs::Permissions::from_mode(found.mode() & 0o7777))?;
    copy_attributes(&prepared.target, &file)?;
    file.sync_all()?;
    Ok(prepared)
}

/// The file is what was read, byte for byte.
fn must_be_unchanged(target: &Path, change: &Change) -> io::Result<()> {
    if fs::read(target)? == change.old.as_bytes() {
        return Ok(());
    }
    Err(io::Error::other("changed since it was read, or is not UTF-8"))
}

/// Copies extended attributes: access control lists, security labels.
fn copy_attributes(from: &Path, to: &File) -> io::Result<()> {
    let mut names = vec![0; MAX_ATTRIBUTE];
    let length = match rustix::fs::listxattr(from, names.as_mut_slice()) {
        Ok(length) => length,
        Err(Errno::NOTSUP | Errno::NOSYS) => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    let names = names.get(..length).unwrap_or_default();
    for name in names.split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
        let mut value = vec![0; MAX_ATTRIBUTE];
        let length = rustix::fs::getxattr(from, name, value.as_mut_slice())?;
        let value = value.get(..length).unwrap_or_default();
        if let Err(error) = rustix::fs::fsetxattr(to, name, value, XattrFlags::empty()) {
            // A label that the kernel gave the new file already.
            let mut own = vec![0; MAX_ATTRIBUTE];
            let length = rustix::fs::fgetxattr(to, name, own.as_mut_slice()).map_err(|_| error)?;
            if own.get(..length) != Some(value) {
                return Err(error.into());
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Folder {
            let folder = std::env::temp_dir().join(format!("lvsd-fix-{name}-{}", std::process::id()));
            let _ = fs::remove_dir_all(&folder);
            fs::create_dir_all(&folder).unwrap();
            Folder(folder)
        }

        fn names(&self) -> Vec<String> {
            let mut names: Vec<String> = fs::read_dir(&self.0)
                .unwrap()
                .map(|entry| entry.unwrap().file_name().to_str().unwrap().to_owned())
                .collect();
            names.sort();
            names
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn change(path: PathBuf) -> Change {
        Change { path, old: "old\n".into(), new: "new\n".into() }
    }

    #[test]
    fn a_links_target_is_replaced_with_its_mode_and_attributes() {
        let folder = Folder::new("replaced");
        let (file, link) = (folder.0.join("real.conf"), folder.0.join("link.conf"));
        fs::write(&file, "old\n").unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
        symlink("real.conf", &link).unwrap();
        // Only root can give a file away, and not every file system has attributes.
        let is_given = fchown(File::open(&file).unwrap(), Some(12345), Some(23456)).is_ok();
        let has_attribute = rustix::fs::setxattr(&file, "user.origin", b"site", XattrFlags::empty()).is_ok();
        write(&[change(link.clone())]).unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), "new\n");
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        let found = fs::metadata(&file).unwrap();
        assert_eq!(found.mode() & 0o7777, 0o640);
        assert!(!is_given || (found.uid(), found.gid()) == (12345, 23456));
        let mut value = [0; 8];
        let kept = rustix::fs::getxattr(&file, "user.origin", value.as_mut_slice());
        assert!(!has_attribute || kept == Ok(4) && value.starts_with(b"site"), "{kept:?}");
        assert_eq!(folder.names(), ["link.conf", "real.conf"]);
    }

    #[test]
    fn nothing_is_written_where_one_file_is_not_what_was_read() {
        let folder = Folder::new("unchanged");
        let at = |name: &str| folder.0.join(name);
        fs::write(at("a.conf"), "old\n").unwrap();
        fs::write(at("b.conf"), "edited meanwhile\n").unwrap();
        let failure = write(&[change(at("a.conf")), change(at("b.conf"))]).unwrap_err();
        assert_eq!(failure.exit, Exit::Output);
        assert!(
            failure.text.ends_with("b.conf: changed since it was read, or is not UTF-8: nothing was written")
        );
        assert_eq!(fs::read_to_string(at("a.conf")).unwrap(), "old\n");
        fs::hard_link(at("a.conf"), at("c.conf")).unwrap();
        let failure = write(&[change(at("c.conf"))]).unwrap_err();
        assert!(failure.text.contains("more than one name"), "{}", failure.text);
        assert!(write(&[change(at("none.conf"))]).is_err() && write(&[change("/dev/null".into())]).is_err());
        assert_eq!(folder.names(), ["a.conf", "b.conf", "c.conf"], "nothing else is left");
    }
}
