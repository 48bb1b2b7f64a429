//! Names of routing tables, protocols and scopes: the kernel counts, iproute2's files have names for the numbers.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use crate::syntax::diagnostic::Diagnostic;
use crate::syntax::files::Files;
use crate::syntax::keyword::{Reader, nearest};
use crate::syntax::source::Span;

/// Where iproute2 keeps its files; what is found first counts.
const DIRECTORIES: &[&str] = &["/etc/iproute2", "/usr/share/iproute2", "/usr/lib/iproute2"];
/// Longest file read, and most files of a directory.
const MAX_BYTES: usize = 64 << 10;
const MAX_FILES: usize = 64;
/// Entries of that directory that are looked at.
const MAX_ENTRIES: usize = 10_000;

const TABLES: &[(&str, u32)] = &[("unspec", 0), ("default", 253), ("main", 254), ("local", 255)];
const PROTOCOLS: &[(&str, u32)] = &[
    ("unspec", 0),
    ("redirect", 1),
    ("kernel", 2),
    ("boot", 3),
    ("static", 4),
    ("ra", 9),
    ("keepalived", 18),
];
const SCOPES: &[(&str, u32)] =
    &[("global", 0), ("site", 200), ("link", 253), ("host", 254), ("nowhere", 255)];
const IP_PROTOCOLS: &[(&str, u32)] = &[
    ("icmp", 1),
    ("igmp", 2),
    ("tcp", 6),
    ("udp", 17),
    ("gre", 47),
    ("esp", 50),
    ("ah", 51),
    ("ipv6-icmp", 58),
    ("icmpv6", 58),
    ("vrrp", 112),
    ("sctp", 132),
];

/// The names of this host.
pub(crate) struct Names<'a> {
    files: &'a dyn Files,
    /// What was read of them.
    known: RefCell<BTreeMap<&'static str, Rc<BTreeMap<String, u32>>>>,
}

impl<'a> Names<'a> {
    /// Names by the files of a host.
    pub(crate) fn new(files: &'a dyn Files) -> Names<'a> {
        Names { files, known: RefCell::default() }
    }

    /// A routing table. None after saying that there is none.
    pub(crate) fn table(&self, word: &str, span: Span, reader: &mut Reader<'_>) -> Option<u32> {
        self.number("a routing table", word, span, (TABLES, "rt_tables", u32::MAX), reader)
    }

    /// The protocol of a route.
    pub(crate) fn protocol(&self, word: &str, span: Span, reader: &mut Reader<'_>) -> Option<u8> {
        let found = self.number("the protocol of a route", word, span, (PROTOCOLS, "rt_protos", 255), reader);
        found.and_then(|n| u8::try_from(n).ok())
    }

    pub(crate) fn scope(&self, word: &str, span: Span, reader: &mut Reader<'_>) -> Option<u8> {
        let found = self.number("a scope", word, span, (SCOPES, "rt_scopes", 255), reader);
        found.and_then(|n| u8::try_from(n).ok())
    }

    /// An IP protocol.
    pub(crate) fn ip_protocol(&self, word: &str, span: Span, reader: &mut Reader<'_>) -> Option<u8> {
        let found = self.number("an IP protocol", word, span, (IP_PROTOCOLS, "", 255), reader);
        found.and_then(|n| u8::try_from(n).ok())
    }

    fn number(
        &self,
        what: &str,
        word: &str,
        span: Span,
        (known, file, most): (&[(&str, u32)], &'static str, u32),
        reader: &mut Reader<'_>,
    ) -> Option<u32> {
        if let Some(number) = number(word).filter(|n| *n <= most) {
            return Some(number);
        }
        if let Some((_, number)) = known.iter().find(|(name, _)| *name == word) {
            return Some(*number);
        }
        let others =
            Rc::clone(self.known.borrow_mut().entry(file).or_insert_with(|| Rc::new(self.read(file))));
        if let Some(number) = others.get(word).copied().filter(|n| *n <= most) {
            return Some(number);
        }
        let names = known.iter().map(|(name, _)| *name).chain(others.keys().map(|name| &**name));
        let help = match nearest(word, names) {
            Some(likely) => format!("did you mean `{likely}`?"),
            None if file.is_empty() => "write its number".to_owned(),
            None => format!("write its number, or name it in {}/{file}", DIRECTORIES.first().unwrap_or(&"")),
        };
        let problem = Diagnostic::error(span, format!("`{word}` is not the name of {what}")).help(help);
        reader.diagnostics.push(problem);
        None
    }

    /// The names of a file and of the directory beside it, of the same name with `.d`.
    fn read(&self, file: &str) -> BTreeMap<String, u32> {
        let mut names = BTreeMap::new();
        if file.is_empty() {
            return names;
        }
        for directory in DIRECTORIES.iter().map(Path::new) {
            let beside = directory.join(format!("{file}.d"));
            let listed = self.files.list(&beside, MAX_ENTRIES).unwrap_or_default();
            let mut more: Vec<PathBuf> = listed.iter().map(|n| beside.join(n)).collect();
            more.retain(|path| path.extension().is_some_and(|e| e == "conf"));
            more.truncate(MAX_FILES);
            for path in std::iter::once(directory.join(file)).chain(more) {
                let Ok(bytes) = self.files.read(&path, MAX_BYTES) else { continue };
                for line in String::from_utf8_lossy(&bytes).lines() {
                    let mut words = line.split('#').next().unwrap_or_default().split_whitespace();
                    if let (Some(Some(number)), Some(name)) = (words.next().map(number), words.next()) {
                        names.entry(name.to_owned()).or_insert(number);
                    }
                }
            }
        }
        names
    }
}

/// A whole number, decimal or hexadecimal.
pub(crate) fn number(word: &str) -> Option<u32> {
    let is = |digits: &str, radix| !digits.is_empty() && digits.chars().all(|c| c.is_digit(radix));
    match word.strip_prefix("0x").or_else(|| word.strip_prefix("0X")) {
        Some(digits) => is(digits, 16).then(|| u32::from_str_radix(digits, 16).ok()).flatten(),
        None => is(word, 10).then(|| word.parse().ok()).flatten(),
    }
}
