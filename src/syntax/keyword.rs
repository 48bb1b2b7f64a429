//! How a keyword is declared, and how a block is read by such declarations.
//!
//! A block's keywords are a `&[Keyword<T>]`, `T` being the block's options; one declaration gives the parsing,
//! the range diagnostics, the suggestion for an unknown word and the line in the listing of keywords. This
//! module refuses to know any particular keyword and any syntax: it sees words, values and blocks of a tree.

use std::net::IpAddr;
use std::time::Duration;

use super::diagnostic::{Diagnostic, Diagnostics};
use super::source::Span;
use super::tree::{Node, Word};
use super::value::{self, Wrong};

/// A value and where it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spanned<V> {
    /// The value.
    pub value: V,
    /// Its statement.
    pub span: Span,
}

/// An option that may not have been written.
pub type Slot<V> = Option<Spanned<V>>;

/// The value of a slot, if written.
pub fn get<V: Clone>(slot: &Slot<V>) -> Option<V> {
    slot.as_ref().map(|s| s.value.clone())
}

/// What lvsd does with a keyword.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stance {
    /// It does what it says.
    Supported,
    /// It does what it says, and there is a better way: the sentence that says which.
    Deprecated(&'static str),
    /// Accepted with a warning: why nothing is lost by ignoring it.
    Ignored(&'static str),
    /// Accepted with a warning: what does not happen as long as it is not built.
    NotYet(&'static str),
    /// Not built, and running without it would be wrong: an error.
    NotYetError(&'static str),
    /// Never: why.
    Refused(&'static str),
}

/// What a keyword takes, and where it goes.
pub enum Kind<T> {
    /// Nothing, or yes or no.
    Flag(fn(&mut T) -> &mut Slot<bool>),
    /// A whole number.
    Number {
        /// Least.
        min: u32,
        /// Most.
        max: u32,
        /// Value of the bare keyword, where it may stand alone.
        bare: Option<u32>,
        /// Where it goes.
        slot: fn(&mut T) -> &mut Slot<u32>,
    },
    /// A time.
    Time {
        /// Least.
        min: Duration,
        /// Most.
        max: Duration,
        /// Where it goes.
        slot: fn(&mut T) -> &mut Slot<Duration>,
    },
    /// A word of at most so many bytes.
    Text {
        /// What it is, e.g. `NAME`.
        what: &'static str,
        /// Most bytes.
        max: usize,
        /// Where it goes.
        slot: fn(&mut T) -> &mut Slot<String>,
    },
    /// An IP address.
    Address(fn(&mut T) -> &mut Slot<IpAddr>),
    /// Words with a form of their own.
    Words {
        /// Their form, e.g. `IP [PORT]`.
        what: &'static str,
        /// Least number of words.
        min: usize,
        /// Most number of words.
        max: usize,
        /// Reads them.
        read: fn(&mut T, &Node, &mut Reader<'_>),
    },
    /// A block, maybe with words before it.
    Block {
        /// The form of the words before it; empty if there are none.
        what: &'static str,
        /// Most number of words before it.
        max: usize,
        /// Reads the block.
        read: fn(&mut T, &Node, &mut Reader<'_>),
    },
    /// Whatever stands there, unread: for keywords that are ignored or not built.
    Unread,
}

/// One keyword of a block.
pub struct Keyword<T: 'static> {
    /// Its name.
    pub name: &'static str,
    /// Other names that mean the same.
    pub aliases: &'static [&'static str],
    /// What it takes.
    pub kind: Kind<T>,
    /// What lvsd does with it.
    pub stance: Stance,
    /// One sentence: what it means.
    pub doc: &'static str,
}

impl<T> Keyword<T> {
    /// A supported keyword without aliases.
    pub const fn new(name: &'static str, kind: Kind<T>, doc: &'static str) -> Keyword<T> {
        Keyword { name, aliases: &[], kind, stance: Stance::Supported, doc }
    }

    /// A keyword that is accepted, and whose values are not read.
    pub const fn unread(name: &'static str, stance: Stance, doc: &'static str) -> Keyword<T> {
        Keyword { name, aliases: &[], kind: Kind::Unread, stance, doc }
    }

    /// With other names.
    #[must_use]
    pub const fn or(self, aliases: &'static [&'static str]) -> Keyword<T> {
        Keyword { name: self.name, aliases, kind: self.kind, stance: self.stance, doc: self.doc }
    }

    /// With another stance.
    #[must_use]
    pub const fn but(self, stance: Stance) -> Keyword<T> {
        Keyword { name: self.name, aliases: self.aliases, kind: self.kind, stance, doc: self.doc }
    }

    fn is_called(&self, word: &str) -> bool {
        self.name == word || self.aliases.contains(&word)
    }

    /// What it takes, in words; empty when it takes nothing.
    pub fn takes(&self) -> String {
        match &self.kind {
            Kind::Flag(_) => "[on|off]".to_owned(),
            Kind::Number { min, max, bare, .. } => match bare {
                None => format!("a whole number from {min} to {max}"),
                Some(bare) => format!("a whole number from {min} to {max}, or nothing for {bare}"),
            },
            Kind::Time { min, max, .. } => format!("seconds from {} to {}", seconds(*min), seconds(*max)),
            Kind::Text { what, .. } => (*what).to_owned(),
            Kind::Address(_) => "an IP address".to_owned(),
            Kind::Words { what, .. } => (*what).to_owned(),
            Kind::Block { what: "", .. } => "{ ... }".to_owned(),
            Kind::Block { what, .. } => format!("{what} {{ ... }}"),
            Kind::Unread => String::new(),
        }
    }
}

fn seconds(duration: Duration) -> String {
    let micros = duration.as_micros();
    let text = format!("{}.{:06}", micros / 1_000_000, micros % 1_000_000);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// The keywords of a block, maybe shared with other blocks.
pub struct Table<T: 'static> {
    /// The block's name in messages.
    pub block: &'static str,
    /// Its keywords.
    pub keywords: &'static [&'static [Keyword<T>]],
}

impl<T> Table<T> {
    /// All keywords, in the order of declaration.
    pub fn iter(&self) -> impl Iterator<Item = &'static Keyword<T>> + use<T> {
        self.keywords.iter().flat_map(|group| group.iter())
    }

    fn find(&self, word: &str) -> Option<&'static Keyword<T>> {
        self.iter().find(|k| k.is_called(word))
    }

    fn nearest(&self, word: &str) -> Option<&'static str> {
        nearest(word, self.iter().flat_map(|k| std::iter::once(k.name).chain(k.aliases.iter().copied())))
    }

    /// Its lines of the listing.
    pub fn listing(&self) -> Vec<Listed> {
        self.iter()
            .map(|k| Listed {
                block: self.block,
                name: k.name,
                aliases: k.aliases,
                takes: k.takes(),
                stance: k.stance,
                doc: k.doc,
            })
            .collect()
    }
}

/// A keyword in the listing of all keywords.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// The block it belongs to.
    pub block: &'static str,
    /// Its name.
    pub name: &'static str,
    /// Other names that mean the same.
    pub aliases: &'static [&'static str],
    /// What it takes, in words.
    pub takes: String,
    /// What lvsd does with it.
    pub stance: Stance,
    /// What it means.
    pub doc: &'static str,
}

/// The word most like `word`, if one is alike enough to be what was meant.
pub fn nearest<'a>(word: &str, words: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    // Longer words than any keyword would only cost time.
    if word.len() > 64 {
        return None;
    }
    let limit = 1 + word.chars().count() / 4;
    let lower = word.to_ascii_lowercase();
    words
        .map(|candidate| (strsim::damerau_levenshtein(&lower, &candidate.to_ascii_lowercase()), candidate))
        .filter(|(distance, candidate)| *distance <= limit && *distance < candidate.chars().count())
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Reads blocks, and collects what is wrong with them.
pub struct Reader<'a> {
    /// What is wrong.
    pub diagnostics: &'a mut Diagnostics,
    /// In which block a word is a keyword, for words that stand in the wrong one.
    pub belongs: &'a dyn Fn(&str) -> Option<&'static str>,
}

impl Reader<'_> {
    /// Reads the statements of a block into its options.
    pub fn block<T>(&mut self, table: &Table<T>, nodes: &[Node], into: &mut T) {
        for node in nodes {
            match table.find(&node.keyword) {
                Some(keyword) => self.statement(keyword, node, into),
                None => self.unknown(table, node),
            }
        }
    }

    /// Adds an error.
    pub fn error(&mut self, span: Span, message: impl Into<String>) {
        self.diagnostics.push(Diagnostic::error(span, message));
    }

    /// Adds a warning.
    pub fn warning(&mut self, span: Span, message: impl Into<String>) {
        self.diagnostics.push(Diagnostic::warning(span, message));
    }

    /// Stores an option; the last one written counts.
    pub fn store<V>(&mut self, slot: &mut Slot<V>, node: &Node, value: V) {
        if let Some(first) = slot.replace(Spanned { value, span: node.span() }) {
            self.diagnostics.push(
                Diagnostic::warning(
                    node.keyword.span,
                    format!("`{}` is given twice: the last one counts", &*node.keyword),
                )
                .at(first.span, "the first one is here"),
            );
        }
    }

    /// Says that a word is not the value wanted. A value out of range is a warning, as keepalived goes on with
    /// its default; anything else has no meaning.
    pub fn wrong(&mut self, keyword: &str, word: &Word, wanted: &str, wrong: Wrong) {
        let (text, span) = (&*word.text, word.span);
        self.diagnostics.push(match wrong {
            Wrong::OutOfRange => Diagnostic::warning(
                span,
                format!("`{keyword}` is out of range, and ignored: `{text}` is not {wanted}"),
            ),
            Wrong::Malformed(hint) => Diagnostic {
                help: hint,
                ..Diagnostic::error(span, format!("`{keyword}`: `{text}` is not {wanted}"))
            },
        });
    }

    fn unknown<T>(&mut self, table: &Table<T>, node: &Node) {
        let word = &node.keyword;
        let glued = node.values.first().map(|second| format!("{}{}", word.text, second.text));
        let likely = match glued.filter(|g| table.find(g).is_some()) {
            Some(glued) => Some((word.span.to(node.values.first().map_or(word.span, |w| w.span)), glued)),
            None => table.nearest(word).map(|n| (word.span, n.to_owned())),
        };
        let elsewhere = (self.belongs)(word);
        let message = format!("`{}` is not a keyword of {}", word.text, table.block);
        self.diagnostics.push(match (likely, elsewhere) {
            // Alike to one that belongs here, or a block where no such block can be: more than a leftover.
            (_, Some(block)) if node.block.is_none() => {
                Diagnostic::warning(word.span, format!("{message}, and ignored here"))
                    .help(format!("it belongs in {block}"))
            }
            (_, Some(block)) => Diagnostic::error(word.span, message)
                .help(format!("it belongs in {block}: look for a missing or surplus brace above")),
            (Some((span, likely)), None) => {
                Diagnostic::error(span, message).help(format!("did you mean `{likely}`?"))
            }
            (None, None) => Diagnostic::error(word.span, message)
                .help("remove it, or make it a comment with `#`: what it means is not known"),
        });
    }

    fn statement<T>(&mut self, keyword: &Keyword<T>, node: &Node, into: &mut T) {
        let (name, at) = (&*node.keyword.text, node.keyword.span);
        // A block is told by its name, too: `vrrp_instance VI_1`.
        let (named, whole) = match (&node.block, node.values.first()) {
            (Some(_), Some(first)) => (format!("{name} {}", first.text), at.to(first.span)),
            _ => (name.to_owned(), at),
        };
        match keyword.stance {
            Stance::Supported => {}
            Stance::Deprecated(instead) => self
                .diagnostics
                .push(Diagnostic::warning(at, format!("`{name}` is deprecated")).help(instead)),
            Stance::Ignored(why) => return self.warning(whole, format!("`{named}` is ignored: {why}")),
            Stance::NotYet(what) => {
                return self.warning(at, format!("`{name}` is not yet supported: {what}"));
            }
            Stance::NotYetError(what) => {
                return self.error(at, format!("`{name}` is not yet supported: {what}"));
            }
            Stance::Refused(why) => return self.error(whole, format!("`{named}` is refused: {why}")),
        }
        if !self.has_form(keyword, node) {
            return;
        }
        match &keyword.kind {
            Kind::Flag(slot) => {
                let Some(word) = node.values.first() else { return self.store(slot(into), node, true) };
                match value::boolean(word) {
                    Some(value) => self.store(slot(into), node, value),
                    None => self.wrong(name, word, "`on` or `off`", Wrong::Malformed(None)),
                }
            }
            Kind::Number { min, max, bare, slot } => match (node.values.first(), bare) {
                (Some(word), _) => match value::number(word, *min, *max) {
                    Ok(value) => self.store(slot(into), node, value),
                    Err(wrong) => self.wrong(name, word, &keyword.takes(), wrong),
                },
                (None, Some(bare)) => self.store(slot(into), node, *bare),
                (None, None) => {}
            },
            Kind::Time { min, max, slot } => {
                let Some(word) = node.values.first() else { return };
                match value::time(word) {
                    Ok(time) if time.duration < *min || time.duration > *max => {
                        self.wrong(name, word, &keyword.takes(), Wrong::OutOfRange);
                    }
                    Ok(time) => {
                        self.explain_time(word, time);
                        self.store(slot(into), node, time.duration);
                    }
                    Err(wrong) => self.wrong(name, word, &keyword.takes(), wrong),
                }
            }
            Kind::Text { what, max, slot } => {
                let Some(word) = node.values.first() else { return };
                if word.is_empty() || word.len() > *max {
                    let wanted = format!("{what} of 1 to {max} bytes");
                    return self.wrong(name, word, &wanted, Wrong::Malformed(None));
                }
                self.store(slot(into), node, word.text.to_string());
            }
            Kind::Address(slot) => {
                let Some(word) = node.values.first() else { return };
                match value::address(word) {
                    Ok(value) => self.store(slot(into), node, value),
                    Err(wrong) => self.wrong(name, word, "an IP address", wrong),
                }
            }
            Kind::Words { read, .. } | Kind::Block { read, .. } => read(into, node, self),
            Kind::Unread => {}
        }
    }

    fn explain_time(&mut self, word: &Word, time: value::Time) {
        if time.has_unit {
            let text = format!("`{}` is {} seconds", word.text, seconds(time.duration));
            self.diagnostics.push(Diagnostic::warning(word.span, text).help(format!(
                "write `{}`: keepalived knows no units and misreads it",
                seconds(time.duration)
            )));
        }
        if time.is_rounded {
            let text = format!(
                "`{}` is rounded to {} seconds: six decimals count",
                word.text,
                seconds(time.duration)
            );
            self.warning(word.span, text);
        }
    }

    /// Whether a statement has the words and the block its keyword wants; complains otherwise.
    fn has_form<T>(&mut self, keyword: &Keyword<T>, node: &Node) -> bool {
        let (min, max, wants_block) = match &keyword.kind {
            Kind::Flag(_) => (0, 1, false),
            Kind::Number { bare, .. } => (usize::from(bare.is_none()), 1, false),
            Kind::Time { .. } | Kind::Text { .. } | Kind::Address(_) => (1, 1, false),
            Kind::Words { min, max, .. } => (*min, *max, false),
            Kind::Block { max, .. } => (0, *max, true),
            Kind::Unread => return true,
        };
        let (name, at) = (&*node.keyword.text, node.keyword.span);
        if node.values.len() < min {
            let problem = Diagnostic::error(at, format!("`{name}` needs a value"))
                .help(format!("write `{name}` and {}", keyword.takes()));
            self.diagnostics.push(problem);
            return false;
        }
        if wants_block && node.block.is_none() {
            let problem = Diagnostic::error(at, format!("`{name}` needs a block"))
                .help(format!("write `{name} {}`", keyword.takes()));
            self.diagnostics.push(problem);
            return false;
        }
        if let (Some(first), Some(last)) = (node.values.get(max), node.values.last()) {
            let one = node.values.len() == max + 1;
            let what =
                if one { "a surplus word, which is ignored" } else { "surplus words, which are ignored" };
            let problem = Diagnostic::warning(
                first.span.to(last.span),
                format!("behind `{name}` there {} {what}", if one { "is" } else { "are" }),
            )
            .help("one statement a line; a comment begins with `#`");
            self.diagnostics.push(problem);
        }
        if !wants_block && node.block.is_some() {
            let problem = Diagnostic::error(at, format!("`{name}` has no block"))
                .help("remove the braces and what is in them");
            self.diagnostics.push(problem);
            return false;
        }
        true
    }
}
