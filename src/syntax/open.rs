//! Opens a file of a configuration: its text among the [`Sources`], or one clear sentence why not.

use std::path::Path;

use super::files::{Files, in_words, is_silence};
use super::source::{FileId, Sources};

/// Bytes of a file that are read first.
const BEGINNING: usize = 64 << 10;

/// Why a file's text cannot be had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Unreadable {
    /// The sentence, with the path.
    pub message: String,
    /// A bound of the whole configuration was passed, or a file system does not answer: nothing more can be read.
    pub is_full: bool,
}

/// Reads a file into the sources.
///
/// # Errors
/// When it does not exist, is no text, or is too large.
pub(crate) fn open(files: &dyn Files, path: &Path, sources: &mut Sources) -> Result<FileId, Unreadable> {
    let wrong = |what: &str, is_full| Unreadable { message: format!("{}: {what}", path.display()), is_full };
    let read = |limit| {
        let bytes = files.read(path, limit).map_err(|error| wrong(&in_words(&error), is_silence(&error)))?;
        match memchr::memchr(0, &bytes) {
            Some(_) => Err(wrong("is not a text file (it holds NUL bytes)", false)),
            None => Ok(bytes),
        }
    };
    // That a large file is no text is most often seen in its beginning: then it is not read into memory.
    let beginning = BEGINNING.min(sources.room());
    let mut bytes = read(beginning)?;
    if bytes.len() > beginning {
        bytes = read(sources.room())?;
    }
    // What is not UTF-8 becomes U+FFFD: harmless in a comment, an error in a word.
    let text =
        String::from_utf8(bytes).unwrap_or_else(|e| String::from_utf8_lossy(e.as_bytes()).into_owned());
    sources.add(path, text).map_err(|_| {
        let (bytes, files) = (Sources::MAX_BYTES >> 20, Sources::MAX_FILES);
        wrong(&format!("the configuration is larger than {bytes} MiB or {files} files"), true)
    })
}
