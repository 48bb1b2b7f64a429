//! The texts a configuration is read from, and places in them.
//!
//! Every word keeps the [`Span`] it came from. A word that came out of a definition (`$NAME`) points at its use;
//! [`Sources::definition_of`] then says where the definition stands. Sizes are bounded: a configuration is at
//! most [`Sources::MAX_BYTES`] in all its files.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

/// One of the files of a configuration, in the order they were opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct FileId(u32);

/// A piece of a file: bytes `start..end`. The default is the beginning of the first file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span {
    pub file: FileId,
    pub start: u32,
    /// Byte behind the last.
    pub end: u32,
}

impl Span {
    /// From the beginning of this span to the end of `other`; this span alone when they are in different files.
    #[must_use]
    pub fn to(self, other: Span) -> Span {
        if self.file == other.file { Span { end: other.end.max(self.end), ..self } } else { self }
    }
}

/// A line and a column, both counted from 1; the column in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
}

/// A configuration that would be larger than [`Sources::MAX_BYTES`], or of too many files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLarge;

#[derive(Clone, Debug)]
struct Source {
    path: PathBuf,
    text: Arc<str>,
    /// Made when a place is to be told: most files have nothing wrong in them.
    lines: OnceLock<Lines>,
}

#[derive(Clone, Debug)]
struct Lines {
    /// Offset of every line's first byte.
    starts: Vec<u32>,
    /// Then columns need no counting, however long a line is.
    is_ascii: bool,
}

impl Source {
    fn lines(&self) -> &Lines {
        self.lines.get_or_init(|| {
            let mut starts = vec![0];
            starts.extend(self.text.bytes().zip(1u32..).filter(|(b, _)| *b == b'\n').map(|(_, next)| next));
            Lines { starts, is_ascii: self.text.is_ascii() }
        })
    }
}

/// Every file read, and every use of a definition.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    files: Vec<Source>,
    bytes: usize,
    /// Where definitions are used: start of the use -> its end and the definition's place.
    uses: BTreeMap<(FileId, u32), (u32, Span)>,
}

impl Sources {
    /// Most bytes all files together may have.
    pub const MAX_BYTES: usize = 64 << 20;
    /// Most files a configuration may open; the same file included twice counts twice.
    pub const MAX_FILES: usize = 10_000;

    /// Adds a file.
    ///
    /// # Errors
    /// [`TooLarge`] when a bound would be passed.
    pub fn add(&mut self, path: &Path, text: String) -> Result<FileId, TooLarge> {
        let bytes = self.bytes.saturating_add(text.len());
        if bytes > Self::MAX_BYTES || self.files.len() >= Self::MAX_FILES {
            return Err(TooLarge);
        }
        let id = u32::try_from(self.files.len()).map(FileId).map_err(|_| TooLarge)?;
        self.bytes = bytes;
        let lines = OnceLock::new();
        self.files.push(Source { path: path.to_owned(), text: text.into(), lines });
        Ok(id)
    }

    /// Bytes that may still be added.
    pub fn room(&self) -> usize {
        Self::MAX_BYTES.saturating_sub(self.bytes)
    }

    /// The text of a file; empty for a file of other sources.
    pub fn text(&self, file: FileId) -> Arc<str> {
        self.source(file).map_or_else(|| Arc::from(""), |s| Arc::clone(&s.text))
    }

    /// Every file, in the order they were opened.
    pub fn files(&self) -> impl Iterator<Item = FileId> {
        (0u32..).zip(&self.files).map(|(id, _)| FileId(id))
    }

    /// The path of a file, as it was opened.
    pub fn path(&self, file: FileId) -> &Path {
        self.source(file).map_or(Path::new(""), |s| &s.path)
    }

    /// The text of a span.
    pub fn slice(&self, span: Span) -> &str {
        self.source(span.file)
            .and_then(|s| s.text.get(span.start as usize..span.end as usize))
            .unwrap_or_default()
    }

    /// Where a span begins.
    pub fn position(&self, span: Span) -> Position {
        let Some(source) = self.source(span.file) else { return Position { line: 1, column: 1 } };
        let Lines { starts, is_ascii } = source.lines();
        let line = starts.partition_point(|start| *start <= span.start);
        let begin = line.checked_sub(1).and_then(|i| starts.get(i)).copied().unwrap_or(0);
        let before = source.text.get(begin as usize..span.start as usize).unwrap_or_default();
        let column = if *is_ascii { before.len() } else { before.chars().count() };
        Position { line, column: column + 1 }
    }

    /// The whole line a span begins in, without its end of line.
    pub fn line(&self, span: Span) -> Span {
        let Some(source) = self.source(span.file) else { return span };
        let starts = &source.lines().starts;
        let line = starts.partition_point(|start| *start <= span.start);
        let start = line.checked_sub(1).and_then(|i| starts.get(i)).copied().unwrap_or(0);
        let next = starts.get(line).map_or(source.text.len(), |next| *next as usize);
        let text = source.text.get(start as usize..next).unwrap_or_default();
        let text = text.strip_suffix('\n').unwrap_or(text).trim_end_matches('\r');
        Span { file: span.file, start, end: start.saturating_add(u32::try_from(text.len()).unwrap_or(0)) }
    }

    /// `path:line:column` of a span.
    pub fn describe(&self, span: Span) -> String {
        let at = self.position(span);
        format!("{}:{}:{}", self.path(span.file).display(), at.line, at.column)
    }

    /// Remembers that `definition` is used at `at`.
    pub fn record_use(&mut self, at: Span, definition: Span) {
        self.uses.insert((at.file, at.start), (at.end, definition));
    }

    /// The first definition used within a span, and the place of that use.
    pub fn definition_of(&self, span: Span) -> Option<(Span, Span)> {
        let ((file, start), (end, definition)) =
            self.uses.range((span.file, span.start)..(span.file, span.end.max(span.start + 1))).next()?;
        Some((Span { file: *file, start: *start, end: *end }, *definition))
    }

    fn source(&self, file: FileId) -> Option<&Source> {
        self.files.get(file.0 as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_and_columns_count_from_one_and_columns_count_characters() {
        let mut sources = Sources::default();
        let file = sources.add(Path::new("a.conf"), "ab\r\n é x\n\n".to_owned()).unwrap();
        let x = Span { file, start: 8, end: 9 };
        assert_eq!(sources.slice(x), "x");
        assert_eq!(sources.position(x), Position { line: 2, column: 4 });
        assert_eq!(sources.slice(sources.line(x)), " é x");
        assert_eq!(sources.slice(sources.line(Span { file, start: 0, end: 1 })), "ab");
        assert_eq!(sources.describe(x), "a.conf:2:4");
    }

    #[test]
    fn a_configuration_beyond_its_bound_is_refused() {
        let mut sources = Sources::default();
        let half = "x".repeat(Sources::MAX_BYTES / 2 + 1);
        assert!(sources.add(Path::new("a"), half.clone()).is_ok());
        assert_eq!(sources.add(Path::new("b"), half), Err(TooLarge));
    }
}
