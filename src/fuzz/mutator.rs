//! Inputs made of kept ones: bytes and bits changed, pieces removed, repeated, exchanged, and words put in. The same
//! seed gives the same inputs.

use std::ops::Range;

use fastrand::Rng;

/// Longest input that is made, in bytes.
pub(super) const MAX_BYTES: usize = 16 << 10;

/// Makes inputs.
pub(crate) struct Mutator {
    random: Rng,
    seeds: Vec<Vec<u8>>,
    words: Vec<Vec<u8>>,
}

impl Mutator {
    /// `seeds` must not be empty; `words` are put in or take the place of others.
    pub(crate) fn new(seed: u64, seeds: Vec<Vec<u8>>, words: Vec<Vec<u8>>) -> Mutator {
        assert!(!seeds.is_empty() && !words.is_empty());
        Mutator { random: Rng::with_seed(seed), seeds, words }
    }

    /// The next input: one of the seeds after up to six changes.
    pub(crate) fn next(&mut self) -> Vec<u8> {
        let mut text = self.seeds[self.random.usize(..self.seeds.len())].clone();
        for _ in 0..=self.random.usize(..6) {
            self.change(&mut text);
            text.truncate(MAX_BYTES);
        }
        text
    }

    fn change(&mut self, text: &mut Vec<u8>) {
        let at = self.random.usize(..=text.len());
        let piece = self.piece(text);
        match self.random.usize(..10) {
            0 => text.iter_mut().skip(at).take(1).for_each(|byte| *byte ^= 1 << self.random.u8(..8)),
            1 => text.insert(at, self.random.u8(..)),
            2 => drop(text.drain(piece)),
            3 => {
                let copy = text[piece].to_vec();
                drop(text.splice(at..at, copy));
            }
            4 => {
                let copy = text[piece].repeat(1 + self.random.usize(..40));
                drop(text.splice(at..at, copy.into_iter().take(MAX_BYTES)));
            }
            5 => {
                let other = self.seeds[self.random.usize(..self.seeds.len())].clone();
                let part = self.piece(&other);
                drop(text.splice(at..at, other[part].to_vec()));
            }
            6 | 7 => drop(text.splice(at..at, self.word())),
            _ => {
                let word = word_at(text, at);
                drop(text.splice(word, self.word()));
            }
        }
    }

    fn word(&mut self) -> Vec<u8> {
        self.words[self.random.usize(..self.words.len())].clone()
    }

    /// A part of a text: mostly short, sometimes whole lines.
    fn piece(&mut self, text: &[u8]) -> Range<usize> {
        let start = self.random.usize(..=text.len());
        if self.random.bool() {
            return start..(start + self.random.usize(..24)).min(text.len());
        }
        let end_of_line =
            |from: usize| text[from..].iter().position(|b| *b == b'\n').map_or(text.len(), |i| from + i + 1);
        let start = end_of_line(start);
        start..(0..self.random.usize(..6)).fold(start, |end, _| end_of_line(end))
    }
}

/// The word around a place.
fn word_at(text: &[u8], at: usize) -> Range<usize> {
    let is_word = |byte: &u8| !byte.is_ascii_whitespace();
    let start = text[..at].iter().rposition(|b| !is_word(b)).map_or(0, |i| i + 1);
    let end = text[at..].iter().position(|b| !is_word(b)).map_or(text.len(), |i| at + i);
    start..end
}
