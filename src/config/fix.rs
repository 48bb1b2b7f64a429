//! Corrections of a configuration that can be made without guessing.
//!
//! Diagnostics carry suggestions; those that are certain are applied again and again, until none is left. A correction
//! stays only if the corrected configuration has no more errors than before. `cli::fix` shows and writes the result.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::load::{Loaded, Reading, load_as};
use crate::syntax::diagnostic::{Certainty, Diagnostic, Edit};
use crate::syntax::files::{Files, Overlay};
use crate::syntax::source::{Position, Span};

/// Most times a configuration is read: each correction that is tried costs one.
const MAX_READS: usize = 200;

/// A configuration before and after its corrections.
#[derive(Debug)]
pub(crate) struct Fixed {
    /// As it was read.
    pub before: Loaded,
    /// As it is read with all corrections; None when there is none.
    pub after: Option<Loaded>,
    /// The files that change, as they are and as they would be.
    pub changes: Vec<Change>,
    /// In the order they were made.
    pub corrections: Vec<Correction>,
}

/// A file that changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Change {
    pub path: PathBuf,
    pub old: Arc<str>,
    pub new: Arc<str>,
}

/// A correction, at its place in the text that those before it had made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Correction {
    pub path: PathBuf,
    pub at: Position,
    /// The message of the diagnostic that it resolves.
    pub problem: String,
    /// What stood there, and what stands there now; one for each place.
    pub replaced: Vec<(String, String)>,
}

/// A suggestion that can be tried.
struct Candidate {
    certainty: Certainty,
    correction: Correction,
    edits: Vec<(Span, String)>,
}

/// Corrects what can be corrected without guessing. `is_secret` says of a line that it has a secret: it stays as it
/// is, for a peer with the same mistake has the same secret.
pub(crate) fn fix(
    files: &dyn Files,
    path: &Path,
    reading: &Reading,
    is_secret: &dyn Fn(&str) -> bool,
) -> Fixed {
    let before = load_as(files, path, reading);
    let texts =
        before.sources.files().map(|id| (before.sources.path(id).to_owned(), before.sources.text(id)));
    let originals: BTreeMap<PathBuf, Arc<str>> = texts.collect();
    let mut corrected = Overlay { files, texts: originals.clone() };
    let mut after: Option<Loaded> = None;
    let mut corrections = Vec::new();
    let mut reads = 0;
    while let Some((loaded, texts, made)) =
        next(&corrected, path, reading, after.as_ref().unwrap_or(&before), is_secret, &mut reads)
    {
        corrected.texts = texts;
        corrections.extend(made);
        after = Some(loaded);
    }
    let new = |path: &PathBuf| corrected.texts.get(path).cloned();
    let changes = originals.iter().filter_map(|(path, old)| {
        let new = new(path).filter(|new| new != old)?;
        Some(Change { path: path.clone(), old: Arc::clone(old), new })
    });
    let changes = changes.collect();
    Fixed { before, after, changes, corrections }
}

/// How many problems of a configuration have a correction that may be certain.
pub(crate) fn count(loaded: &Loaded) -> usize {
    loaded.diagnostics.iter().filter(|d| candidate(d, loaded, &|_| false).is_some()).count()
}

type Step = (Loaded, BTreeMap<PathBuf, Arc<str>>, Vec<Correction>);

/// The next corrections that leave the configuration no worse: all at once, else all that are certain, else the first.
fn next(
    before: &Overlay<'_>,
    path: &Path,
    reading: &Reading,
    loaded: &Loaded,
    is_secret: &dyn Fn(&str) -> bool,
    reads: &mut usize,
) -> Option<Step> {
    let all: Vec<Candidate> =
        loaded.diagnostics.iter().filter_map(|d| candidate(d, loaded, is_secret)).collect();
    let certain: Vec<&Candidate> = all.iter().filter(|c| c.certainty == Certainty::Certain).collect();
    let mut sets: Vec<Vec<&Candidate>> = vec![all.iter().collect(), certain];
    sets.extend(all.iter().map(|one| vec![one]));
    sets.retain(|set| !set.is_empty());
    sets.into_iter().find_map(|set| {
        if *reads >= MAX_READS {
            return None;
        }
        *reads += 1;
        let texts = apply(&before.texts, loaded, &set)?;
        let corrected = Overlay { files: before.files, texts };
        let new = load_as(&corrected, path, reading);
        let is_clean = set.iter().all(|c| c.certainty == Certainty::Certain)
            || new.diagnostics.errors() < loaded.diagnostics.errors()
                && new.diagnostics.warnings() <= loaded.diagnostics.warnings();
        let is_accepted = new.diagnostics.errors() <= loaded.diagnostics.errors() && is_clean;
        let made = || set.iter().map(|c| c.correction.clone()).collect();
        is_accepted.then(|| (new, corrected.texts, made()))
    })
}

/// What a diagnostic suggests, if it is certain and its places are as they were read.
fn candidate(problem: &Diagnostic, loaded: &Loaded, is_secret: &dyn Fn(&str) -> bool) -> Option<Candidate> {
    let suggestion = problem.suggestion.as_ref().filter(|s| s.certainty != Certainty::Likely)?;
    let sources = &loaded.sources;
    let resolve = |edit: &Edit| {
        let (span, new) = edit.resolve(sources)?;
        (!is_secret(sources.slice(sources.line(span)))).then(|| (span, new.to_owned()))
    };
    let edits: Vec<(Span, String)> = suggestion.edits.iter().map(resolve).collect::<Option<_>>()?;
    let span = problem.span.or(edits.first().map(|(span, _)| *span))?;
    let replaced = edits.iter().map(|(span, new)| (sources.slice(*span).to_owned(), new.clone())).collect();
    let correction = Correction {
        path: sources.path(span.file).to_owned(),
        at: sources.position(span),
        problem: problem.message.clone(),
        replaced,
    };
    (!edits.is_empty()).then_some(Candidate { certainty: suggestion.certainty, correction, edits })
}

/// The texts with the candidates' edits; None where two of them overlap, or change the same place otherwise.
fn apply(
    texts: &BTreeMap<PathBuf, Arc<str>>,
    loaded: &Loaded,
    candidates: &[&Candidate],
) -> Option<BTreeMap<PathBuf, Arc<str>>> {
    let mut edits: BTreeMap<&Path, Vec<(Span, &str)>> = BTreeMap::new();
    for (span, new) in candidates.iter().flat_map(|c| &c.edits) {
        let of_file = edits.entry(loaded.sources.path(span.file)).or_default();
        // A file that is included twice has each place twice.
        let is_same = |(other, text): &(Span, &str)| {
            (other.start, other.end) == (span.start, span.end) && *text == new.as_str()
        };
        if !of_file.iter().any(is_same) {
            of_file.push((*span, new));
        }
    }
    let mut changed = texts.clone();
    for (path, mut edits) in edits {
        let old = texts.get(path)?;
        edits.sort_by_key(|(span, _)| (span.start, span.end));
        let mut new = String::with_capacity(old.len());
        let mut at = 0;
        for (span, text) in edits {
            new.push_str(old.get(at..span.start as usize)?);
            new.push_str(text);
            at = span.end as usize;
        }
        new.push_str(old.get(at..)?);
        changed.insert(path.to_owned(), new.into());
    }
    Some(changed)
}
