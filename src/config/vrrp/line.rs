//! Lines: a first word and options behind it (`192.0.2.10/24 dev eth1 no_track`).
//!
//! Each option is a keyword of a table, and the line becomes the statements a block would have; YAML writes the same
//! as a string or as a mapping.

use crate::syntax::diagnostic::{Code, Diagnostic};
use crate::syntax::keyword::{Keyword, Kind, Language, Reader, Support, Table};
use crate::syntax::source::Span;
use crate::syntax::tree::{Node, Word};

/// A line as it was written.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    /// The words before the first option.
    pub first: Vec<Word>,
    pub options: Vec<Node>,
    /// Where it is.
    pub span: Span,
}

/// Lines with a first word, which is `key` in YAML's mappings.
pub(crate) fn lines<T>(table: &Table<T>, key: &str, node: &Node, reader: &mut Reader<'_>) -> Vec<Line> {
    let mut found = Vec::new();
    for line in all(table, node, reader, 1) {
        if !line.first.is_empty() {
            found.push(line);
        } else if let Some(first) = line.options.iter().find(|o| &*o.keyword.text == key) {
            let (first, options) = (first.values.clone(), line.options.clone());
            found.push(Line { first, options, ..line });
        } else {
            let problem = Diagnostic::error(line.span, format!("`{}` needs `{key}`", node.keyword.text));
            reader.diagnostics.push(problem.help(format!("write `{key}: ...` in it")));
        }
    }
    found
}

/// Lines whose words may all be options.
pub(crate) fn whole<T>(table: &Table<T>, node: &Node, reader: &mut Reader<'_>) -> Vec<Line> {
    all(table, node, reader, 0)
}

fn all<T>(table: &Table<T>, node: &Node, reader: &mut Reader<'_>, first: usize) -> Vec<Line> {
    if !reader.is_yaml() && node.block.is_none() {
        return vec![split(table, &node.values, first, node.span(), false)];
    }
    if !reader.is_yaml() {
        let lines = node.statements().iter();
        return lines
            .filter_map(|line| {
                if !has_no_block(line, node, reader) {
                    return None;
                }
                let words: Vec<Word> = std::iter::once(&line.keyword).chain(&line.values).cloned().collect();
                Some(split(table, &words, first, line.span(), false))
            })
            .collect();
    }
    if node.block.is_some() {
        return vec![Line {
            first: Vec::new(),
            options: node.statements().to_vec(),
            span: node.keyword.span,
        }];
    }
    let line = |word: &Word| {
        let parts = word.split_whitespace().map(|part| Word { text: part.into(), ..word.clone() });
        split(table, &parts.collect::<Vec<_>>(), first, word.span, true)
    };
    node.values.iter().map(line).collect()
}

/// A line has no braces: false after saying that it has.
pub(crate) fn has_no_block(line: &Node, of: &Node, reader: &mut Reader<'_>) -> bool {
    if line.block.is_some() {
        let text = format!("`{}` in `{}` has no block", line.keyword.text, of.keyword.text);
        let problem = Diagnostic::error(line.keyword.span, text);
        reader.diagnostics.push(problem.code(Code::Brace).help("look for a missing or surplus brace above"));
    }
    line.block.is_none()
}

/// What stands behind an option of a line.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Behind {
    /// Fewest and most words; those beyond the fewest end at the next option.
    pub(crate) least: usize,
    pub(crate) most: usize,
    /// What follows is within it, up to the next of its kind.
    pub(crate) is_block: bool,
    /// It is refused with whatever belongs to it.
    pub(crate) is_refused: bool,
}

fn split<T>(table: &Table<T>, words: &[Word], first: usize, span: Span, is_yaml: bool) -> Line {
    let behind = |word: &str| {
        let found = table.iter().find(|k| k.names(Language::Keepalived).any(|name| name == word))?;
        let (least, mut most) = count(found);
        if matches!(found.name, "via" | "or") {
            most = least;
        }
        Some(Behind {
            least,
            most,
            is_block: matches!(found.kind, Kind::Block { .. }),
            is_refused: matches!(found.support, Support::Refused(_)),
        })
    };
    split_by(&behind, words, first, span, is_yaml)
}

/// Splits the words of a line; `behind` says of a word whether it is an option.
pub(crate) fn split_by(
    behind: &dyn Fn(&str) -> Option<Behind>,
    words: &[Word],
    first: usize,
    span: Span,
    is_yaml: bool,
) -> Line {
    let option = |word: &Word| behind(word).filter(|_| !word.is_quoted);
    let mut before = Vec::new();
    let mut options = Vec::new();
    let mut words = words.iter().peekable();
    while let Some(word) = words.next() {
        if before.len() < first {
            before.push(word.clone());
            continue;
        }
        let Some(Behind { least, mut most, is_block, is_refused }) = option(word) else {
            // How many words belong to an unknown word is unknown, too. Without a first word it may be the first word.
            if first == 0 && options.is_empty() {
                before.push(word.clone());
                continue;
            }
            push(&mut options, Node { keyword: word.clone(), values: Vec::new(), block: None });
            break;
        };
        if is_block {
            options.push(Node { keyword: word.clone(), values: Vec::new(), block: Some(Vec::new()) });
            continue;
        }
        // `via inet6 ADDRESS` names the family first.
        let has_family = words.peek().is_some_and(|next| matches!(&*next.text, "inet" | "inet6"));
        if matches!(&*word.text, "via" | "or") && has_family {
            most = 2;
        }
        let mut values = Vec::new();
        while values.len() < most
            && let Some(next) = words.next_if(|next| values.len() < least || option(next).is_none())
        {
            values.push(next.clone());
        }
        if is_refused {
            // It is refused with all words that belong to it.
            while words.next_if(|next| option(next).is_none()).is_some() {}
        }
        if most == 0 && is_yaml {
            // As in a mapping, where a key needs a value.
            values.push(Word { text: "true".into(), ..word.clone() });
        }
        push(&mut options, Node { keyword: word.clone(), values, block: None });
    }
    Line { first: before, options, span }
}

fn push(options: &mut Vec<Node>, node: Node) {
    match options.last_mut().and_then(|last| last.block.as_mut()) {
        Some(block) => block.push(node),
        None => options.push(node),
    }
}

/// How many words follow an option. What may stand alone stands alone.
fn count<T>(keyword: &Keyword<T>) -> (usize, usize) {
    match &keyword.kind {
        Kind::Number { bare: None, .. } | Kind::Time { .. } | Kind::Text { .. } | Kind::Address(_) => (1, 1),
        Kind::Words { min, max, .. } if *min > 0 => (*min, *max),
        _ => (0, 0),
    }
}

/// Names, one or several a line.
pub(crate) fn names(found: &mut Vec<Word>, node: &Node, reader: &mut Reader<'_>) {
    let lines = node.statements().iter();
    let lines: Vec<&Node> = lines.filter(|line| has_no_block(line, node, reader)).collect();
    let lines = lines.into_iter();
    let words = lines.flat_map(|line| std::iter::once(&line.keyword).chain(&line.values));
    found.extend(node.values.iter().chain(words).cloned());
}

/// The value of a statement of a block.
pub(crate) fn value_of<'a>(keyword: &str, node: &'a Node) -> Option<&'a Word> {
    node.statements().iter().find(|s| &*s.keyword.text == keyword)?.values.first()
}
