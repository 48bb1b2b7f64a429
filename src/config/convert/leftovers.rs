//! What has no place of its own in the other language: statements that are left out, and comments whose statement went.

use super::{Kind, Left};
use crate::syntax::comments::Attached;
use crate::syntax::draft::Comments;
use crate::syntax::tree::Node;

pub(super) struct Leftovers {
    /// Comments that were not yet taken, by statement.
    pub(super) attached: Attached,
    pub(super) left: Vec<Left>,
    /// Comments of what was left out, for the next statement.
    pub(super) pending: Vec<String>,
}

impl Leftovers {
    /// Before the first statement; also returns the comments the file begins with, which are about all of it.
    pub(super) fn new(mut attached: Attached, nodes: &[Node]) -> (Leftovers, Vec<String>) {
        let first = nodes.first().map(|node| attached.take(node.keyword.span));
        let Comments { before, behind, end } = first.unwrap_or_default();
        let pending = behind.into_iter().chain(end).collect();
        (Leftovers { attached, left: Vec::new(), pending }, before)
    }

    /// The comments of a statement, and those that waited for it.
    pub(super) fn comments(&mut self, node: &Node) -> Comments {
        let mut comments = self.attached.take(node.keyword.span);
        comments.before.splice(0..0, std::mem::take(&mut self.pending));
        comments
    }

    /// Leaves a statement out; its comments stay.
    pub(super) fn leave(&mut self, node: &Node, kind: Kind, why: &str) {
        let what = format!("`{}`", &*node.keyword);
        self.left.push(Left { span: Some(node.keyword.span), kind, what, why: why.to_owned() });
        self.keep_comments(node);
    }

    /// The comments of a statement, and of all within it, wait for the next one.
    pub(super) fn keep_comments(&mut self, node: &Node) {
        let comments = self.attached.take(node.keyword.span);
        self.pending.extend(comments.before.into_iter().chain(comments.behind));
        node.statements().iter().for_each(|inner| self.keep_comments(inner));
        self.pending.extend(comments.end);
    }

    /// A block begins: comments that wait outside of it wait on. They are returned for [`Leftovers::close`].
    pub(super) fn open(&mut self) -> Vec<String> {
        std::mem::take(&mut self.pending)
    }

    /// The block ends: what waits in it stands at its end.
    pub(super) fn close(&mut self, outer: Vec<String>, comments: &mut Comments) {
        comments.end.splice(0..0, std::mem::replace(&mut self.pending, outer));
    }

    /// The file ends: what waits stands at its end. Also returns what was left out.
    pub(super) fn end(self) -> (Vec<String>, Vec<Left>) {
        let mut end = self.pending;
        end.extend(self.attached.end);
        (end, self.left)
    }
}
