//! Where configuration files come from: the only input the readers have, so that tests can use memory.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// Interfaces and the largest packet of each, in bytes.
pub(crate) type Links = BTreeMap<String, usize>;

/// Files to read.
pub trait Files {
    /// The file's bytes, at most `limit` of them: one byte more means the file is longer.
    ///
    /// # Errors
    /// When it does not exist, is no regular file, or cannot be read.
    fn read(&self, path: &Path, limit: usize) -> io::Result<Vec<u8>>;

    /// What a condition `@ID` is compared with: the name of this host up to the first dot, unless the operator names
    /// another.
    fn host(&self) -> String;

    /// A variable of the environment: what `${_ENV NAME}` stands for.
    fn variable(&self, name: &str) -> Option<String> {
        std::env::var_os(name).map(|value| value.to_string_lossy().into_owned())
    }

    /// The path from the root: what `${_PWD}` stands for.
    fn absolute(&self, path: &Path) -> PathBuf {
        let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
    }

    /// Whether there is anything at a path; so, too, when that cannot be told.
    fn exists(&self, path: &Path) -> bool;

    /// The names of a directory's entries, sorted, at most `limit` of them: one more means there are more.
    ///
    /// # Errors
    /// When it cannot be listed.
    fn list(&self, directory: &Path, limit: usize) -> io::Result<Vec<String>>;

    /// Whether a file system did not answer, so that something was not read that may be the next time.
    fn is_silent(&self) -> bool {
        false
    }

    /// Moves this thread into a network namespace: what is asked of the host from now on is asked there.
    ///
    /// # Errors
    /// When there is none of that name, or this process may not enter it.
    fn enter_namespace(&self, _name: &str) -> io::Result<()> {
        Ok(())
    }

    /// The interfaces of this host; None where they are not known.
    fn links(&self) -> Option<Cow<'_, Links>> {
        None
    }
}

/// The files of this machine.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct OsFiles;

impl Files for OsFiles {
    fn read(&self, path: &Path, limit: usize) -> io::Result<Vec<u8>> {
        // Only looked at before it is opened: opening a device may do something already.
        must_be_regular(&std::fs::metadata(path)?)?;
        // It may be another one by now: a FIFO is opened without waiting for its writer.
        let file =
            OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY).open(path)?;
        must_be_regular(&file.metadata()?)?;
        read_at_most(file, limit)
    }

    fn host(&self) -> String {
        let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
        name.split('.').next().unwrap_or_default().to_owned()
    }

    fn exists(&self, path: &Path) -> bool {
        path.try_exists().unwrap_or(true)
    }

    fn list(&self, directory: &Path, limit: usize) -> io::Result<Vec<String>> {
        let here = if directory.as_os_str().is_empty() { Path::new(".") } else { directory };
        let names = std::fs::read_dir(here)?.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        let mut names: Vec<String> = names.take(limit.saturating_add(1)).collect();
        names.sort();
        Ok(names)
    }
}

/// Texts instead of what files say, and the other files there are.
pub(crate) struct Overlay<'a> {
    /// The other files.
    pub(crate) files: &'a dyn Files,
    /// By path; there need not be such files.
    pub(crate) texts: BTreeMap<PathBuf, Arc<str>>,
}

impl Files for Overlay<'_> {
    fn read(&self, path: &Path, limit: usize) -> io::Result<Vec<u8>> {
        match self.texts.get(path) {
            Some(text) => Ok(text.bytes().take(limit.saturating_add(1)).collect()),
            None => self.files.read(path, limit),
        }
    }

    fn host(&self) -> String {
        self.files.host()
    }

    fn variable(&self, name: &str) -> Option<String> {
        self.files.variable(name)
    }

    fn absolute(&self, path: &Path) -> PathBuf {
        self.files.absolute(path)
    }

    fn exists(&self, path: &Path) -> bool {
        self.texts.contains_key(path) || self.files.exists(path)
    }

    fn list(&self, directory: &Path, limit: usize) -> io::Result<Vec<String>> {
        self.files.list(directory, limit)
    }

    fn is_silent(&self) -> bool {
        self.files.is_silent()
    }

    fn enter_namespace(&self, name: &str) -> io::Result<()> {
        self.files.enter_namespace(name)
    }

    fn links(&self) -> Option<Cow<'_, Links>> {
        self.files.links()
    }
}

/// Reads at most `limit` bytes, and one more where there are more.
///
/// # Errors
/// When it cannot be read.
pub(crate) fn read_at_most(file: File, limit: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let most = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
    file.take(most).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Any other kind of file may never end, block for ever, or do something when it is read. /dev/null is an empty file.
fn must_be_regular(found: &Metadata) -> io::Result<()> {
    let kind = found.file_type();
    let is_null = kind.is_char_device() && found.rdev() == libc::makedev(1, 3);
    if kind.is_file() || is_null {
        return Ok(());
    }
    if kind.is_dir() {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    Err(Refusal::NotRegular(match kind {
        kind if kind.is_fifo() => "a pipe (FIFO)",
        kind if kind.is_socket() => "a socket",
        _ => "a device",
    })
    .into())
}

/// Why a file is not read, although the system refused nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It is something else.
    #[error("is {0}, not a regular file")]
    NotRegular(&'static str),
    /// Reading does not end.
    #[error("cannot be read: its file system has not answered within {limit} seconds", limit = .0.as_secs())]
    NoAnswer(Duration),
    /// Reading that one did not end, and its time was everybody's.
    #[error("is not read: {} took all the time there is for reading a configuration", .0.display())]
    OutOfTime(PathBuf),
    /// Too many earlier ones have not ended.
    #[error("is not read: {0} earlier reads of configuration files still wait for their file systems")]
    TooManyWaiting(usize),
}

impl Refusal {
    /// The refusal that an error is.
    pub fn of(error: &io::Error) -> Option<&Refusal> {
        error.get_ref()?.downcast_ref()
    }

    /// Whether a file system does not answer: it may another time.
    pub fn is_silence(&self) -> bool {
        !matches!(self, Refusal::NotRegular(_))
    }
}

impl From<Refusal> for io::Error {
    fn from(refusal: Refusal) -> io::Error {
        let kind = if refusal.is_silence() { io::ErrorKind::TimedOut } else { io::ErrorKind::InvalidInput };
        io::Error::new(kind, refusal)
    }
}

/// Whether an error is that a file system does not answer.
pub(crate) fn is_silence(error: &io::Error) -> bool {
    Refusal::of(error).is_some_and(Refusal::is_silence)
}

/// Why a file cannot be had, in the operator's words.
pub(crate) fn in_words(error: &io::Error) -> String {
    if let Some(refusal) = Refusal::of(error) {
        return refusal.to_string();
    }
    match error.kind() {
        io::ErrorKind::NotFound => "there is no such file".to_owned(),
        io::ErrorKind::IsADirectory => "is a directory, not a file".to_owned(),
        io::ErrorKind::PermissionDenied => "not permitted to read it".to_owned(),
        _ => format!("cannot be read: {error}"),
    }
}

/// Most paths one pattern may stand for.
pub(crate) const MAX_MATCHES: usize = 10_000;

/// Whether a path is a pattern: `*`, `?`, `[...]` or `{a,b}` in it.
pub(crate) fn is_pattern(path: &str) -> bool {
    path.contains(['*', '?', '[', '{'])
}

/// Most entries of directories that the patterns of a configuration may have looked at.
pub(crate) const MAX_ENTRIES: usize = 300_000;

/// Why it is not known what a pattern stands for.
#[derive(Debug)]
pub(crate) enum Unmatched {
    /// For more than [`MAX_MATCHES`] paths.
    Matches,
    /// More than [`MAX_ENTRIES`] entries would have to be looked at.
    Entries,
    /// This directory is on a file system that does not answer.
    Silence(PathBuf, io::Error),
}

/// The files a pattern without braces stands for, sorted. A path without wildcards stands for itself, whether it
/// exists or not. `entries` are those that may still be looked at.
///
/// # Errors
/// [`Unmatched`]; a directory that may not be listed has no entries.
pub(crate) fn glob(files: &dyn Files, pattern: &str, entries: &mut usize) -> Result<Vec<PathBuf>, Unmatched> {
    let mut list = |directory: &Path| match files.list(directory, *entries) {
        Ok(names) => {
            *entries = entries.checked_sub(names.len()).ok_or(Unmatched::Entries)?;
            Ok(names)
        }
        Err(error) if is_silence(&error) => Err(Unmatched::Silence(directory.to_owned(), error)),
        Err(_) => Ok(Vec::new()),
    };
    let mut paths = vec![PathBuf::new()];
    let mut seen_wildcard = false;
    for part in Path::new(pattern) {
        let part = part.to_string_lossy();
        let is_wildcard = part.contains(['*', '?', '[']);
        if !is_wildcard && !seen_wildcard {
            paths.iter_mut().for_each(|p| p.push(&*part));
            continue;
        }
        seen_wildcard = true;
        let mut next = Vec::new();
        for directory in &paths {
            let names = list(directory)?;
            // As in a shell: a leading dot must be asked for. Behind a wildcard only what exists is meant.
            let shown = names.iter().filter(|n| !n.starts_with('.') || part.starts_with('.'));
            let meant = shown.filter(|n| if is_wildcard { matches(&part, n) } else { **n == *part });
            next.extend(meant.map(|n| directory.join(n)));
            if next.len() > MAX_MATCHES {
                return Err(Unmatched::Matches);
            }
        }
        paths = next;
    }
    Ok(paths)
}

/// The patterns a pattern with braces stands for: `a{b,c}` is `ab` and `ac`. Bounded; unbalanced braces stay.
pub(crate) fn alternatives(pattern: &str) -> Vec<String> {
    let mut done = Vec::new();
    let mut todo = vec![pattern.to_owned()];
    while let Some(text) = todo.pop() {
        let brace = text.find('{').and_then(|open| Some((open, closing(&text, open)?)));
        let Some((open, close)) = brace.filter(|_| todo.len() + done.len() < 1000) else {
            done.push(text);
            continue;
        };
        let (head, tail) = (text.get(..open).unwrap_or(""), text.get(close + 1..).unwrap_or(""));
        let choices = split_choices(text.get(open + 1..close).unwrap_or(""));
        todo.extend(choices.iter().rev().map(|choice| format!("{head}{choice}{tail}")));
    }
    done
}

fn closing(text: &str, open: usize) -> Option<usize> {
    let mut depth = 0usize;
    for (at, c) in text.char_indices().skip_while(|(at, _)| *at < open) {
        match c {
            '{' => depth += 1,
            '}' if depth == 1 => return Some(at),
            '}' => depth -= 1,
            _ => {}
        }
    }
    None
}

fn split_choices(text: &str) -> Vec<&str> {
    let mut depth = 0usize;
    text.split(|c| {
        match c {
            '{' => depth += 1,
            '}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        c == ',' && depth == 0
    })
    .collect()
}

/// Whether a name matches a pattern of `*`, `?`, `[a-z]`, `[!a-z]`; in time proportional to their product.
fn matches(pattern: &str, name: &str) -> bool {
    let pattern: Vec<char> = pattern.chars().collect();
    let name: Vec<char> = name.chars().collect();
    let (mut p, mut n) = (0, 0);
    // Where to resume after the last star: the pattern behind it, and the next character it may swallow.
    let mut star: Option<(usize, usize)> = None;
    while n < name.len() {
        let step = match pattern.get(p) {
            Some('*') => {
                star = Some((p + 1, n));
                p += 1;
                continue;
            }
            Some(_) => one(&pattern, p, name.get(n).copied().unwrap_or('\0')),
            None => None,
        };
        match (step, star) {
            (Some(next), _) => (p, n) = (next, n + 1),
            (None, Some((behind, at))) => {
                (p, n) = (behind, at + 1);
                star = Some((behind, at + 1));
            }
            (None, None) => return false,
        }
    }
    pattern.get(p..).unwrap_or(&[]).iter().all(|c| *c == '*')
}

/// The pattern's position behind the element at `p`, if that element matches `c`.
fn one(pattern: &[char], p: usize, c: char) -> Option<usize> {
    match pattern.get(p)? {
        '?' => Some(p + 1),
        '[' => {
            let close = p + 2 + pattern.get(p + 2..)?.iter().position(|c| *c == ']')?;
            let set = pattern.get(p + 1..close)?;
            let (negated, set) = match set.split_first() {
                Some(('!' | '^', rest)) => (true, rest),
                _ => (false, set),
            };
            (in_set(set, c) != negated).then_some(close + 1)
        }
        literal => (*literal == c).then_some(p + 1),
    }
}

fn in_set(mut set: &[char], c: char) -> bool {
    loop {
        match set {
            [low, '-', high, rest @ ..] => {
                if (*low..=*high).contains(&c) {
                    return true;
                }
                set = rest;
            }
            [one, rest @ ..] => {
                if *one == c {
                    return true;
                }
                set = rest;
            }
            [] => return false,
        }
    }
}

/// Files in memory, and interfaces: `/links/NAME` is one, its text the largest packet (empty: 1500).
#[cfg(any(test, feature = "internals"))]
#[derive(Clone, Debug, Default)]
pub(crate) struct MemoryFiles(pub BTreeMap<PathBuf, Vec<u8>>);

#[cfg(any(test, feature = "internals"))]
impl MemoryFiles {
    /// Files by path and text.
    pub(crate) fn new(files: &[(&str, &str)]) -> MemoryFiles {
        MemoryFiles(files.iter().map(|(p, t)| (PathBuf::from(p), t.as_bytes().to_vec())).collect())
    }
}

#[cfg(any(test, feature = "internals"))]
impl Files for MemoryFiles {
    fn read(&self, path: &Path, limit: usize) -> io::Result<Vec<u8>> {
        if self.0.keys().any(|p| p.parent() == Some(path)) {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        let bytes = self.0.get(path).ok_or(io::Error::from(io::ErrorKind::NotFound))?;
        Ok(bytes.iter().copied().take(limit.saturating_add(1)).collect())
    }

    fn host(&self) -> String {
        "here".to_owned()
    }

    fn variable(&self, name: &str) -> Option<String> {
        (name == "SITE").then(|| "north $5".to_owned())
    }

    fn exists(&self, path: &Path) -> bool {
        self.0.keys().any(|p| p.starts_with(path))
    }

    fn list(&self, directory: &Path, limit: usize) -> io::Result<Vec<String>> {
        let under = self.0.keys().filter_map(|p| p.strip_prefix(directory).ok()?.iter().next());
        let names: std::collections::BTreeSet<_> = under.map(|n| n.to_string_lossy().into_owned()).collect();
        Ok(names.into_iter().take(limit.saturating_add(1)).collect())
    }

    fn links(&self) -> Option<Cow<'_, Links>> {
        let known = self.0.iter().filter_map(|(path, text)| {
            let name = path.strip_prefix("/links").ok()?.to_string_lossy().into_owned();
            let mtu = String::from_utf8_lossy(text).trim().parse().unwrap_or(1500);
            Some((name, mtu))
        });
        Some(known.collect::<Links>()).filter(|all| !all.is_empty()).map(Cow::Owned)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_names_files_in_order() {
        let files = MemoryFiles::new(&[
            ("/etc/conf.d/b.conf", ""),
            ("/etc/conf.d/a.conf", ""),
            ("/etc/conf.d/.hidden.conf", ""),
            ("/etc/conf.d/a.conf.bak", ""),
            ("/etc/x1/y.conf", ""),
        ]);
        assert_eq!(names(&files, "/etc/conf.d/*.conf"), ["/etc/conf.d/a.conf", "/etc/conf.d/b.conf"]);
        assert_eq!(
            names(&files, "/etc/{x1,conf.d}/[a-y].conf"),
            ["/etc/x1/y.conf", "/etc/conf.d/a.conf", "/etc/conf.d/b.conf"]
        );
        assert_eq!(names(&files, "/etc/x?/[!a-x].*"), ["/etc/x1/y.conf"]);
        assert_eq!(names(&files, "/etc/*/y.conf"), ["/etc/x1/y.conf"]);
        assert_eq!(names(&files, "/etc/none.conf"), ["/etc/none.conf"]);
        assert_eq!(names(&files, "/etc/none*.conf"), [""; 0]);
    }

    #[test]
    fn a_hostile_pattern_ends_soon() {
        assert!(!matches(&"*a".repeat(50), &"a".repeat(49)));
        assert!(alternatives(&"{a,b}".repeat(40)).len() <= 1001);
        assert_eq!(alternatives("a{b"), ["a{b"]);
        assert!(!matches("[", "x"));
    }

    #[test]
    fn a_pattern_that_stands_for_too_much_is_refused_and_looks_no_further() {
        let folder = |n: usize| (0..n).map(|i| (PathBuf::from(format!("/d{}/f{i}", i % 100)), Vec::new()));
        let mut entries = MAX_ENTRIES;
        let many = MemoryFiles(folder(MAX_MATCHES + 1).collect());
        assert!(matches!(glob(&many, "/*/*", &mut entries), Err(Unmatched::Matches)));
        let mut entries = 500;
        assert!(matches!(glob(&many, "/*/no", &mut entries), Err(Unmatched::Entries)));
        let all = MemoryFiles(folder(MAX_MATCHES).collect());
        let mut entries = MAX_MATCHES + 100;
        assert_eq!(glob(&all, "/*/*", &mut entries).unwrap().len(), MAX_MATCHES);
        assert_eq!(entries, 0);
    }

    #[test]
    fn only_regular_files_are_read_and_none_is_waited_for() {
        let folder = std::env::temp_dir().join(format!("lvsd-files-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).unwrap();
        let at = |name: &str| folder.join(name);
        let mode = rustix::fs::Mode::from_raw_mode(0o600);
        rustix::fs::mknodat(rustix::fs::CWD, at("fifo"), rustix::fs::FileType::Fifo, mode, 0).unwrap();
        std::fs::write(at("file"), "text").unwrap();
        std::os::unix::fs::symlink("file", at("link")).unwrap();
        std::os::unix::fs::symlink("fifo", at("pipe")).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(at("socket")).unwrap();
        let why = |path: &Path| OsFiles.read(path, 100).map_err(|error| in_words(&error));
        assert_eq!(why(&at("link")), Ok(b"text".to_vec()));
        for name in ["fifo", "pipe"] {
            assert_eq!(why(&at(name)), Err("is a pipe (FIFO), not a regular file".to_owned()));
        }
        assert_eq!(why(&at("socket")), Err("is a socket, not a regular file".to_owned()));
        assert_eq!(why(Path::new("/dev/zero")), Err("is a device, not a regular file".to_owned()));
        assert_eq!(why(&folder), Err("is a directory, not a file".to_owned()));
        assert_eq!(why(Path::new("/dev/null")), Ok(Vec::new()));
        std::fs::remove_dir_all(&folder).unwrap();
    }

    fn names(files: &MemoryFiles, pattern: &str) -> Vec<String> {
        let mut entries = MAX_ENTRIES;
        let found =
            alternatives(pattern).into_iter().flat_map(|one| glob(files, &one, &mut entries).unwrap());
        found.map(|p| p.display().to_string()).collect()
    }
}
