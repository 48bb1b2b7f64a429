//! Lines of a FIFO for which its pipe has no room yet: bounded; lost lines are counted.

use std::collections::VecDeque;

/// Lines kept beside what the pipe holds (64 KiB by itself).
pub(crate) const MAX_LINES: usize = 4096;

/// Lines to be written, the oldest first. When there are too many the oldest goes: a reader that reads again after a
/// long time needs to know how things are now.
#[derive(Debug, Default)]
pub(crate) struct Backlog {
    lines: VecDeque<Vec<u8>>,
    lost: u64,
    unreported: u64,
}

impl Backlog {
    /// Adds a line; true when the first one since [`Backlog::regained`] is lost by that.
    pub(crate) fn push(&mut self, line: Vec<u8>) -> bool {
        let is_full = self.lines.len() >= MAX_LINES;
        if is_full {
            self.lines.pop_front();
            self.lost += 1;
            self.unreported += 1;
        }
        self.lines.push_back(line);
        is_full && self.unreported == 1
    }

    /// The line to be written next.
    pub(crate) fn front(&self) -> Option<&[u8]> {
        self.lines.front().map(Vec::as_slice)
    }

    /// It has been written.
    pub(crate) fn pop(&mut self) {
        self.lines.pop_front();
    }

    /// How many lines were lost, once all lines that waited are written.
    pub(crate) fn regained(&mut self) -> Option<u64> {
        let is_over = self.unreported > 0 && self.lines.is_empty();
        is_over.then(|| std::mem::take(&mut self.unreported))
    }

    /// Lines lost since the start.
    #[cfg(test)]
    pub(crate) fn lost(&self) -> u64 {
        self.lost
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_lines_stay_and_losses_are_counted_and_reported_once() {
        let mut backlog = Backlog::default();
        for n in 0..MAX_LINES {
            assert!(!backlog.push(vec![u8::try_from(n % 256).unwrap()]));
        }
        assert!(backlog.push(b"a".to_vec()), "the first loss is told");
        assert!(!backlog.push(b"b".to_vec()));
        assert_eq!((backlog.lost(), backlog.front()), (2, Some(&[2][..])), "the two oldest are gone");
        assert_eq!(backlog.regained(), None, "not while there are lines to be written");
        while backlog.front().is_some() {
            backlog.pop();
        }
        assert_eq!((backlog.regained(), backlog.regained()), (Some(2), None));
        assert_eq!(backlog.lost(), 2);
    }
}
