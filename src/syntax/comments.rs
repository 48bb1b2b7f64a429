//! The comments of a configuration, and the statements that they are about.
//!
//! A comment in the line of a statement is about the first statement of that line, any other about the next statement of
//! its block; what stands before a closing brace ends that block.

use std::collections::BTreeMap;

use granit_parser::{Event, Parser};

use super::draft::Comments;
use super::keyword::Language;
use super::source::{FileId, Sources, Span};
use super::tree::{MAX_DEPTH, Node};

/// The comments of statements, by where their keywords begin.
#[derive(Debug, Default)]
pub(crate) struct Attached {
    found: BTreeMap<(FileId, u32), Comments>,
    /// The lines at the end of the text.
    pub(crate) end: Vec<String>,
}

impl Attached {
    /// The comments of the statement that begins with this word; each is given away once.
    pub(crate) fn take(&mut self, keyword: Span) -> Comments {
        self.found.remove(&(keyword.file, keyword.start)).unwrap_or_default()
    }

    fn of(&mut self, place: &Place) -> &mut Comments {
        self.found.entry((place.file, place.at)).or_default()
    }
}

/// A statement.
struct Place {
    file: FileId,
    at: u32,
    /// The statement in whose block it stands.
    outer: Option<usize>,
}

/// What stands between statements.
enum Mark {
    Comment {
        text: String,
        /// Nothing stands before it in its line.
        is_alone: bool,
    },
    Open,
    Close,
}

/// Finds the comments of all files.
pub(crate) fn attach(nodes: &[Node], sources: &Sources, language: Language) -> Attached {
    let mut places = Vec::new();
    collect(nodes, None, &mut places);
    let mut attached = Attached::default();
    for file in sources.files() {
        let text = sources.text(file);
        let marks = match language {
            Language::Keepalived => marks(&text),
            Language::Yaml => yaml_marks(&text),
        };
        let mut here: Vec<usize> = (0..places.len()).collect();
        here.retain(|at| places.get(*at).is_some_and(|place| place.file == file));
        here.sort_by_key(|at| places.get(*at).map_or(0, |place| place.at));
        of_file(&text, &marks, &here, &places, &mut attached);
    }
    attached
}

fn collect(nodes: &[Node], outer: Option<usize>, places: &mut Vec<Place>) {
    for node in nodes {
        let Span { file, start, .. } = node.keyword.span;
        places.push(Place { file, at: start, outer });
        let own = places.len() - 1;
        collect(node.statements(), Some(own), places);
    }
}

fn of_file(text: &str, marks: &[(u32, Mark)], here: &[usize], places: &[Place], into: &mut Attached) {
    let place = |at: Option<usize>| at.and_then(|at| here.get(at)).and_then(|own| places.get(*own));
    for (number, (at, mark)) in marks.iter().enumerate() {
        let Mark::Comment { text: comment, is_alone } = mark else { continue };
        let after = here.partition_point(|own| places.get(*own).is_some_and(|place| place.at < *at));
        let (previous, next) = (after.checked_sub(1), Some(after));
        let line = text.get(..*at as usize).and_then(|t| t.rfind('\n')).map_or(0, |end| end + 1);
        if !is_alone {
            let begins_here = |place: &&Place| place.at as usize >= line && place.at < *at;
            let first = here.iter().filter_map(|own| places.get(*own)).find(begins_here);
            if let Some(first) = first {
                let own = into.of(first);
                match &mut own.behind {
                    Some(behind) => behind.push_str(&format!(" {comment}")),
                    None => own.behind = Some(comment.clone()),
                }
                continue;
            }
        }
        let depth = |from: u32, to: u32| {
            let between = marks.iter().filter(|(at, _)| (from..to).contains(at));
            let (mut depth, mut lowest) = (0_i32, 0_i32);
            for (_, mark) in between {
                depth += match mark {
                    Mark::Open => 1,
                    Mark::Close => -1,
                    Mark::Comment { .. } => 0,
                };
                lowest = lowest.min(depth);
            }
            (depth, lowest)
        };
        let until = place(next).map_or(u32::MAX, |next| next.at);
        let ends_before_next = depth(*at, until).1 < 0;
        // Behind a closing brace, in its line.
        let closes = !is_alone && number > 0;
        match (place(next), previous.and_then(|at| here.get(at)).copied()) {
            (Some(next), _) if !ends_before_next && !closes => into.of(next).before.push(comment.clone()),
            (_, Some(previous)) => {
                let from = places.get(previous).map_or(0, |place| place.at);
                let rises = depth(from, *at).0 + i32::from(closes);
                let mut block = Some(previous);
                // What is in the block of the statement before stays there; else it is in one around that.
                if rises <= 0 {
                    block = block.and_then(|at| places.get(at)?.outer);
                }
                for _ in rises..0 {
                    block = block.and_then(|at| places.get(at)?.outer);
                }
                match block.and_then(|at| places.get(at)) {
                    Some(block) => into.of(block).end.push(comment.clone()),
                    None => match place(next) {
                        Some(next) => into.of(next).before.push(comment.clone()),
                        None => into.end.push(comment.clone()),
                    },
                }
            }
            (Some(next), None) => into.of(next).before.push(comment.clone()),
            (None, None) => into.end.push(comment.clone()),
        }
    }
}

/// A comment with `#`, without what a text may not have.
fn cleaned(text: &str) -> String {
    let text: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    format!("#{}", text.trim_end())
}

/// The comments and braces of keepalived.conf.
fn marks(text: &str) -> Vec<(u32, Mark)> {
    let mut found = Vec::new();
    let mut start = 0;
    for line in text.split_inclusive('\n') {
        let mut is_quoted = false;
        let mut bytes = line.bytes().enumerate();
        while let Some((at, byte)) = bytes.next() {
            let offset = u32::try_from(start + at).unwrap_or(u32::MAX);
            match byte {
                b'"' => is_quoted = !is_quoted,
                _ if is_quoted => {}
                b'\\' if line.get(at + 1..).is_some_and(|rest| rest.starts_with(['#', '!'])) => {
                    bytes.next();
                }
                b'{' => found.push((offset, Mark::Open)),
                b'}' => found.push((offset, Mark::Close)),
                b'#' | b'!' => {
                    let before = line.get(..at).unwrap_or_default();
                    let is_alone = before.trim_matches(|c: char| c <= ' ' || c == '\u{feff}').is_empty();
                    let text = cleaned(line.get(at + 1..).unwrap_or_default());
                    found.push((offset, Mark::Comment { text, is_alone }));
                    break;
                }
                _ => {}
            }
        }
        start += line.len();
    }
    found
}

/// The comments of YAML.
fn yaml_marks(text: &str) -> Vec<(u32, Mark)> {
    let skipped = if text.starts_with('\u{feff}') { '\u{feff}'.len_utf8() } else { 0 };
    let options = granit_parser::options! {
        flow_nesting_limit: 2 * MAX_DEPTH,
        block_nesting_limit: 2 * MAX_DEPTH,
        emit_unresolved_aliases: true,
        disallow_directives: true,
        max_buffered_comment_events: usize::MAX,
    };
    let body = text.get(skipped..).unwrap_or_default();
    // What is wrong with the text was said when it was read.
    let events = Parser::new_from_str_with_options(body, options).map_while(Result::ok);
    let comment = |(event, span): (Event<'_>, granit_parser::Span)| {
        let Event::Comment(comment, _) = event else { return None };
        let at = span.byte_range()?.start + skipped;
        let line = text.get(..at)?.rsplit('\n').next().unwrap_or_default();
        let is_alone = line.trim().trim_start_matches('\u{feff}').is_empty();
        Some((u32::try_from(at).ok()?, Mark::Comment { text: cleaned(&comment), is_alone }))
    };
    events.filter_map(comment).collect()
}
