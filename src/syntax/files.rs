//! Where configuration files come from: the only input the readers have, so that tests can use memory.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// Interfaces and the largest packet of each, in bytes.
pub type Links = BTreeMap<String, usize>;

/// Files to read.
pub trait Files {
    /// The file's bytes, at most `limit` of them: one byte more means the file is longer.
    ///
    /// # Errors
    /// When it does not exist, is a directory, or cannot be read.
    fn read(&self, path: &Path, limit: usize) -> io::Result<Vec<u8>>;

    /// The name of this host up to the first dot: what a condition `@ID` is compared with.
    fn host(&self) -> String;

    /// A variable of the environment: what `${_ENV NAME}` stands for.
    fn variable(&self, name: &str) -> Option<String> {
        std::env::var_os(name).map(|value| value.to_string_lossy().into_owned())
    }

    /// Whether there is anything at a path; so, too, when that cannot be told.
    fn exists(&self, path: &Path) -> bool;

    /// The names of a directory's entries, sorted; empty when it cannot be listed.
    fn list(&self, directory: &Path) -> Vec<String>;

    /// The interfaces of this host; None where they are not known.
    fn links(&self) -> Option<Cow<'_, Links>> {
        None
    }
}

/// The files of this machine.
#[derive(Clone, Copy, Debug, Default)]
pub struct OsFiles;

impl Files for OsFiles {
    fn read(&self, path: &Path, limit: usize) -> io::Result<Vec<u8>> {
        let file = std::fs::File::open(path)?;
        if file.metadata()?.is_dir() {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        let mut bytes = Vec::new();
        let most = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
        file.take(most).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    fn host(&self) -> String {
        let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
        name.split('.').next().unwrap_or_default().to_owned()
    }

    fn exists(&self, path: &Path) -> bool {
        path.try_exists().unwrap_or(true)
    }

    fn list(&self, directory: &Path) -> Vec<String> {
        let here = if directory.as_os_str().is_empty() { Path::new(".") } else { directory };
        let mut names: Vec<String> = std::fs::read_dir(here)
            .into_iter()
            .flatten()
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .collect();
        names.sort();
        names
    }
}

/// Why a file cannot be had, in the operator's words.
pub fn in_words(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "there is no such file".to_owned(),
        io::ErrorKind::IsADirectory => "is a directory, not a file".to_owned(),
        io::ErrorKind::PermissionDenied => "not permitted to read it".to_owned(),
        _ => format!("cannot be read: {error}"),
    }
}

/// Most paths one pattern may stand for.
pub const MAX_MATCHES: usize = 10_000;

/// Whether a path is a pattern: `*`, `?`, `[...]` or `{a,b}` in it.
pub fn is_pattern(path: &str) -> bool {
    path.contains(['*', '?', '[', '{'])
}

/// The files a pattern without braces stands for, sorted. A path without wildcards stands for itself, whether it
/// exists or not. At most [`MAX_MATCHES`].
pub fn glob(files: &dyn Files, pattern: &str) -> Vec<PathBuf> {
    let mut paths = vec![PathBuf::new()];
    let mut seen_wildcard = false;
    for part in Path::new(pattern) {
        let part = part.to_string_lossy();
        if !part.contains(['*', '?', '[']) {
            // Behind a wildcard only what exists is meant.
            paths.retain(|p| !seen_wildcard || files.list(p).iter().any(|n| *n == *part));
            paths.iter_mut().for_each(|p| p.push(&*part));
            continue;
        }
        seen_wildcard = true;
        let mut next = Vec::new();
        for directory in &paths {
            let names = files.list(directory);
            // As in a shell: a leading dot must be asked for.
            let shown = names.iter().filter(|n| !n.starts_with('.') || part.starts_with('.'));
            next.extend(shown.filter(|n| matches(&part, n)).map(|n| directory.join(n)));
            next.truncate(MAX_MATCHES);
        }
        paths = next;
    }
    paths
}

/// The patterns a pattern with braces stands for: `a{b,c}` is `ab` and `ac`. Bounded; unbalanced braces stay.
pub fn alternatives(pattern: &str) -> Vec<String> {
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
#[cfg(test)]
#[derive(Clone, Debug, Default)]
pub struct MemoryFiles(pub BTreeMap<PathBuf, Vec<u8>>);

#[cfg(test)]
impl MemoryFiles {
    /// Files by path and text.
    pub fn new(files: &[(&str, &str)]) -> MemoryFiles {
        MemoryFiles(files.iter().map(|(p, t)| (PathBuf::from(p), t.as_bytes().to_vec())).collect())
    }
}

#[cfg(test)]
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

    fn list(&self, directory: &Path) -> Vec<String> {
        let under = self.0.keys().filter_map(|p| p.strip_prefix(directory).ok()?.iter().next());
        let names: std::collections::BTreeSet<_> = under.map(|n| n.to_string_lossy().into_owned()).collect();
        names.into_iter().collect()
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

    fn names(files: &MemoryFiles, pattern: &str) -> Vec<String> {
        let found = alternatives(pattern).into_iter().flat_map(|one| glob(files, &one));
        found.map(|p| p.display().to_string()).collect()
    }
}
