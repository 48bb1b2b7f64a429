//! Blocks of statements of words: what both languages become before any keyword is looked up.
//!
//! [`Builder`] puts words and braces together as keepalived does: a statement ends with its line or at a brace,
//! and `{` belongs to the statement before it, even lines above. It gives each statement of the top level away as
//! soon as nothing can be added to it, and takes its vectors back: a configuration is never a tree as a whole.
//! Nesting is bounded, so that walking or dropping a tree never exhausts the stack.

use super::diagnostic::{Code, Diagnostic, Diagnostics};
use super::slice::Slice;
use super::source::Span;

/// A word and where it came from.
#[derive(Clone, Debug, Default)]
pub(crate) struct Word {
    /// The word, without quotes, expanded.
    pub text: Slice,
    /// Where it stands.
    pub span: Span,
    /// Whether it stood in double quotes.
    pub is_quoted: bool,
}

impl std::ops::Deref for Word {
    type Target = str;

    fn deref(&self) -> &str {
        &self.text
    }
}

impl PartialEq for Word {
    /// The same word, wherever it stands.
    fn eq(&self, other: &Word) -> bool {
        self.text == other.text
    }
}

/// A statement: a keyword, its values, maybe a block.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Node {
    pub keyword: Word,
    /// The words behind it.
    pub values: Vec<Word>,
    /// The statements between its braces, if it has any.
    pub block: Option<Vec<Node>>,
}

impl Node {
    /// The words, keyword to last value.
    pub(crate) fn span(&self) -> Span {
        self.values.last().map_or(self.keyword.span, |last| self.keyword.span.to(last.span))
    }

    /// The statements of its block; none when it has no block.
    pub(crate) fn statements(&self) -> &[Node] {
        self.block.as_deref().unwrap_or_default()
    }
}

/// Deepest nesting of blocks.
pub(crate) const MAX_DEPTH: usize = 32;

/// Longest vector kept to be filled again.
const MAX_SPARE: usize = 256;

/// Puts words and braces together.
#[derive(Debug, Default)]
pub(crate) struct Builder {
    open: Vec<Open>,
    done: Vec<Node>,
    /// The statement of this line so far.
    line: Option<Node>,
    /// Braces open beyond [`MAX_DEPTH`]: what is in them is skipped.
    too_deep: usize,
    /// Vectors of statements that were read, to be filled again.
    spare_words: Vec<Vec<Word>>,
    spare_nodes: Vec<Vec<Node>>,
}

#[derive(Debug)]
struct Open {
    node: Node,
    brace: Span,
    outer: Vec<Node>,
}

impl Open {
    /// Whether its brace stood without a keyword before it.
    fn is_nameless(&self) -> bool {
        self.node.keyword.is_empty() && !self.node.keyword.is_quoted
    }
}

impl Builder {
    /// Adds a word to the statement of this line.
    pub(crate) fn word(&mut self, word: Word) {
        if self.too_deep > 0 {
            return;
        }
        let Some(node) = &mut self.line else {
            self.line = Some(Node { keyword: word, values: Vec::new(), block: None });
            return;
        };
        if node.values.capacity() == 0 {
            node.values = self.spare_words.pop().unwrap_or_default();
        }
        node.values.push(word);
    }

    /// Ends the statement of this line.
    pub(crate) fn end_of_line(&mut self) {
        if let Some(node) = self.line.take() {
            self.done.push(node);
        }
    }

    /// The keyword of this line so far.
    pub(crate) fn keyword(&self) -> Option<&Word> {
        self.line.as_ref().map(|node| &node.keyword)
    }

    /// Drops the statement of this line.
    pub(crate) fn discard(&mut self) {
        self.line = None;
    }

    /// The next statement of the top level that nothing can be added to any more.
    pub(crate) fn next_final(&mut self) -> Option<Node> {
        if !self.open.is_empty() {
            return None;
        }
        // A block may still follow the last one.
        let is_final = match self.done.as_slice() {
            [] => false,
            [only] => only.block.is_some(),
            _ => true,
        };
        is_final.then(|| self.done.remove(0))
    }

    /// Takes a statement back that was read, for the vectors it consists of.
    pub(crate) fn recycle(&mut self, mut node: Node) {
        self.empty(&mut node);
    }

    /// Takes the vectors of a statement that will be dropped.
    fn empty(&mut self, node: &mut Node) {
        // What was unusually large is given back to the system.
        if (1..=MAX_SPARE).contains(&node.values.capacity()) {
            let mut values = std::mem::take(&mut node.values);
            values.clear();
            self.spare_words.push(values);
        }
        let Some(mut block) = node.block.take().filter(|block| block.capacity() > 0) else { return };
        block.iter_mut().for_each(|inner| self.empty(inner));
        if block.capacity() <= MAX_SPARE {
            block.clear();
            self.spare_nodes.push(block);
        }
    }

    /// Opens a block for the statement before the brace.
    pub(crate) fn open(&mut self, brace: Span, diagnostics: &mut Diagnostics) {
        if self.too_deep > 0 || self.open.len() >= MAX_DEPTH {
            if self.too_deep == 0 {
                self.line = None;
                diagnostics.push(
                    Diagnostic::error(brace, format!("blocks nest deeper than {MAX_DEPTH}"))
                        .code(Code::Brace),
                );
            }
            self.too_deep += 1;
            return;
        }
        let mut node = self.line.take();
        if node.is_none() && self.done.last().is_some_and(|n| n.block.is_none()) {
            node = self.done.pop();
        }
        let node = node.unwrap_or_else(|| {
            // Within a block without keyword nothing is read, so one more of them is nothing new.
            if !self.open.last().is_some_and(|outer| outer.is_nameless()) {
                diagnostics.push(
                    Diagnostic::error(brace, "`{` without a keyword before it")
                        .code(Code::Surplus)
                        .help("write the keyword whose block this is before the brace, or remove the brace"),
                );
            }
            Node {
                keyword: Word { text: "".into(), span: brace, is_quoted: false },
                values: Vec::new(),
                block: None,
            }
        });
        let inner = self.spare_nodes.pop().unwrap_or_default();
        self.open.push(Open { node, brace, outer: std::mem::replace(&mut self.done, inner) });
    }

    /// Closes the innermost block.
    pub(crate) fn close(&mut self, brace: Span, diagnostics: &mut Diagnostics) {
        if self.too_deep > 0 {
            self.too_deep -= 1;
            return;
        }
        self.end_of_line();
        let Some(innermost) = self.open.pop() else {
            diagnostics.push(
                Diagnostic::error(brace, "`}` closes nothing")
                    .code(Code::Closing)
                    .help("remove it, or write the missing `{` above"),
            );
            return;
        };
        self.finish_block(innermost);
    }

    fn finish_block(&mut self, open: Open) {
        let is_nameless = open.is_nameless();
        let block = std::mem::replace(&mut self.done, open.outer);
        // A brace without keyword was complained about; its statements would be complained about again.
        if !is_nameless {
            self.done.push(Node { block: Some(block), ..open.node });
        }
    }

    /// The statements left at the end of the last file.
    pub(crate) fn finish(mut self, diagnostics: &mut Diagnostics) -> Vec<Node> {
        self.end_of_line();
        if let Some(innermost) = self.open.last() {
            let whose = |open: &Open| match open.is_nameless() {
                true => "this block".to_owned(),
                false => format!("the block of `{}`", open.node.keyword.text),
            };
            let count = self.open.len();
            let mut problem =
                Diagnostic::error(innermost.brace, format!("{} is never closed", whose(innermost))).help(
                    if count == 1 {
                        "write the missing `}`".to_owned()
                    } else {
                        format!("write the {count} missing `}}`")
                    },
                );
            for outer in self.open.iter().rev().skip(1) {
                problem = problem.at(outer.brace, format!("neither is {}", whose(outer)));
            }
            diagnostics.push(problem.code(Code::Open));
        }
        while let Some(innermost) = self.open.pop() {
            self.finish_block(innermost);
        }
        self.done
    }
}
