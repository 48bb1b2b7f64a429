//! How a keyword is declared.
//!
//! A keyword of a block is a [`Keyword<T>`], `T` being the block's options. One declaration gives the spelling and
//! the parsing in both languages, the range diagnostics, the suggestion for an unknown word, the line in the listing
//! of keywords and the JSON Schema. [`flag`], [`number`], [`time`], [`text`], [`address`], [`words`], [`block`],
//! [`lines`], [`no_op`] and [`unread`] make the usual forms; `config::options` declares them together with the fields
//! they are stored in. A [`Table`](super::table::Table) holds the keywords of a block, and `reader` reads the block.

use std::net::IpAddr;
use std::time::Duration;

use super::source::Span;
use super::tree::Node;

pub(crate) use super::reader::Reader;
pub(crate) use super::table::{KeywordInfo, Table, nearest};

/// A value and where it was written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Spanned<V> {
    /// The value.
    pub(crate) value: V,
    /// Its statement.
    pub(crate) span: Span,
}

/// An option that may not have been written.
pub(crate) type Slot<V> = Option<Spanned<V>>;

/// The value of a slot, if written.
pub(crate) fn get<V: Clone>(slot: &Slot<V>) -> Option<V> {
    slot.as_ref().map(|s| s.value.clone())
}

/// What lvsd does with a keyword.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Support {
    /// It does what it says.
    Supported,
    /// It does what it says, and there is a better way: the sentence that says which.
    Deprecated(&'static str),
    /// Accepted with a warning: why nothing is lost by ignoring it.
    Ignored(&'static str),
    /// An error, because running without it would be wrong: why, and what replaces it.
    Refused(&'static str),
}

/// The language a text is written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Language {
    /// keepalived.conf: what keepalived goes on with, in spite of itself, is a warning.
    Keepalived,
    /// YAML: the same is an error.
    Yaml,
}

/// How YAML spells a keyword.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Yaml {
    /// By its first name.
    Same,
    /// By these names, the first of which is shown.
    As(&'static [&'static str]),
    /// Not at all: what to write instead.
    Instead(&'static str),
    /// As a member of the list that this option is.
    Member(&'static str),
    /// In another block, which is named first, by the name behind it.
    In(&'static str, &'static str),
    /// Not at all.
    Absent,
    /// By its names, and keepalived.conf does not have it.
    Only,
}

/// Where the value of a keyword is stored.
pub(crate) type Place<T, V> = fn(&mut T) -> &mut V;

/// Reads the statement of a keyword; in YAML its block, too, where the keyword has one.
pub(crate) type Read<T> = fn(&mut T, &Node, &mut Reader<'_>);

/// Options that include others, which other blocks have as well.
pub(crate) trait Includes<O>: 'static {
    /// The included options.
    fn part(&mut self) -> &mut O;
}

impl<O: 'static> Includes<O> for O {
    fn part(&mut self) -> &mut O {
        self
    }
}

/// What a keyword takes, and where it is stored.
pub(crate) enum Kind<T> {
    Flag(Place<T, Slot<bool>>),
    Number {
        min: u32,
        max: u32,
        /// Value of the bare keyword, where it may stand alone.
        bare: Option<u32>,
        slot: Place<T, Slot<u32>>,
    },
    Time {
        min: Duration,
        max: Duration,
        slot: Place<T, Slot<Duration>>,
    },
    Text {
        what: &'static str,
        max: usize,
        slot: Place<T, Slot<String>>,
    },
    Address(Place<T, Slot<IpAddr>>),
    Words {
        what: &'static str,
        min: usize,
        max: usize,
        read: Read<T>,
    },
    /// A block, maybe with words before it.
    Block {
        what: &'static str,
        max: usize,
        read: Read<T>,
    },
    /// Lines of a block; in YAML a list, of words or of mappings by the table named.
    Lines {
        table: Option<&'static str>,
        /// In keepalived.conf one line may stand behind the keyword, without a block.
        takes_line: bool,
        read: Read<T>,
    },
    Unread,
}

/// Nothing, or yes or no.
pub(crate) const fn flag<T>(slot: Place<T, Slot<bool>>, name: &'static str) -> Keyword<T> {
    Keyword::new(name, Kind::Flag(slot))
}

/// Most hosts of `only_on`.
const MAX_HOSTS: usize = 256;

/// A whole number.
pub(crate) const fn number<T>(
    slot: Place<T, Slot<u32>>,
    name: &'static str,
    min: u32,
    max: u32,
) -> Keyword<T> {
    Keyword::new(name, Kind::Number { min, max, bare: None, slot })
}

/// A time.
pub(crate) const fn time<T>(
    slot: Place<T, Slot<Duration>>,
    name: &'static str,
    min: Duration,
    max: Duration,
) -> Keyword<T> {
    Keyword::new(name, Kind::Time { min, max, slot })
}

/// A word of at most so many bytes; `what` names it, e.g. `HOST`.
pub(crate) const fn text<T>(
    slot: Place<T, Slot<String>>,
    name: &'static str,
    what: &'static str,
    max: usize,
) -> Keyword<T> {
    Keyword::new(name, Kind::Text { what, max, slot })
}

/// An IP address.
pub(crate) const fn address<T>(slot: Place<T, Slot<IpAddr>>, name: &'static str) -> Keyword<T> {
    Keyword::new(name, Kind::Address(slot))
}

/// Words with a form of their own: `what` describes it, e.g. `IP [PORT]`.
pub(crate) const fn words<T>(
    read: Read<T>,
    name: &'static str,
    what: &'static str,
    min: usize,
    max: usize,
) -> Keyword<T> {
    Keyword::new(name, Kind::Words { what, min, max, read })
}

/// A word with a form of its own.
pub(crate) const fn word<T>(read: Read<T>, name: &'static str, what: &'static str) -> Keyword<T> {
    words(read, name, what, 1, 1)
}

/// A block. `what` is the form of the words before it, which are counted by its blanks; empty if there are none.
pub(crate) const fn block<T>(read: Read<T>, name: &'static str, what: &'static str) -> Keyword<T> {
    let mut max = if what.is_empty() { 0 } else { 1 };
    let mut rest = what.as_bytes();
    while let [first, more @ ..] = rest {
        max += if *first == b' ' { 1 } else { 0 };
        rest = more;
    }
    Keyword::new(name, Kind::Block { what, max, read })
}

/// Lines of a block; in YAML a list of words, or of mappings by the table named.
pub(crate) const fn lines<T>(read: Read<T>, name: &'static str, table: Option<&'static str>) -> Keyword<T> {
    Keyword::new(name, Kind::Lines { table, takes_line: false, read })
}

/// The same, or one of these lines behind the keyword: what keepalived does not know and is not to take for a block.
pub(crate) const fn lines_or_line<T>(
    read: Read<T>,
    name: &'static str,
    table: Option<&'static str>,
) -> Keyword<T> {
    Keyword::new(name, Kind::Lines { table, takes_line: true, read })
}

/// A keyword that says what lvsd does in any case.
pub(crate) const fn no_op<T>(name: &'static str, what: &'static str, min: usize, max: usize) -> Keyword<T> {
    words(|_, _, _| {}, name, what, min, max)
}

/// `only_on`, which YAML's mappings have: read before their tables are.
pub(crate) const fn only_on<T>() -> Keyword<T> {
    no_op(super::only_on::ONLY_ON, "HOST, or [HOSTS]", 1, MAX_HOSTS)
        .only_yaml()
        .doc("The hosts it is for, by `--config-id` or name up to the first dot; the others skip it.")
}

/// A keyword that is accepted or refused without reading its values; YAML does not have it.
pub(crate) const fn unread<T>(name: &'static str, support: Support) -> Keyword<T> {
    Keyword::new(name, Kind::Unread).but(support).not_yaml()
}

/// One keyword of a block.
pub(crate) struct Keyword<T: 'static> {
    pub(crate) name: &'static str,
    /// Other names that mean the same.
    pub(crate) aliases: &'static [&'static str],
    pub(crate) kind: Kind<T>,
    pub(crate) support: Support,
    pub(crate) yaml: Yaml,
    /// A flag behind which keepalived reads no word: it is on, even if `off` stands there.
    pub(crate) is_bare: bool,
    /// The name of the table of the block that YAML has, instead of the words or beside them.
    pub(crate) yaml_block: Option<&'static str>,
    /// One sentence: what it means.
    pub(crate) doc: &'static str,
    /// The [`mark`] of its name; [`MANY_NAMES`] if it has others.
    pub(super) mark: u32,
}

impl<T> Keyword<T> {
    const fn new(name: &'static str, kind: Kind<T>) -> Keyword<T> {
        let support = Support::Supported;
        Keyword {
            name,
            aliases: &[],
            kind,
            support,
            yaml: Yaml::Same,
            is_bare: false,
            yaml_block: None,
            doc: "",
            mark: mark(name),
        }
    }

    /// With its meaning; the blank before the text of a doc comment is left out.
    #[must_use]
    pub(crate) const fn doc(mut self, doc: &'static str) -> Keyword<T> {
        self.doc = match doc.as_bytes() {
            [] => self.doc,
            [b' ', ..] => doc.split_at(1).1,
            _ => doc,
        };
        self
    }

    /// With other names.
    #[must_use]
    pub(crate) const fn or(mut self, aliases: &'static [&'static str]) -> Keyword<T> {
        self.aliases = aliases;
        self.mark = MANY_NAMES;
        self
    }

    /// A number that may be left out: the value of the bare keyword.
    #[must_use]
    pub(crate) const fn or_alone(mut self, value: u32) -> Keyword<T> {
        if let Kind::Number { bare, .. } = &mut self.kind {
            *bare = Some(value);
        }
        self
    }

    /// A flag behind which keepalived reads no word.
    #[must_use]
    pub(crate) const fn bare(self) -> Keyword<T> {
        self.bare_if(true)
    }

    /// As [`Keyword::bare`], in the blocks where it is so.
    #[must_use]
    pub(crate) const fn bare_if(mut self, is_bare: bool) -> Keyword<T> {
        self.is_bare = is_bare;
        self
    }

    /// With another support.
    #[must_use]
    pub(crate) const fn but(mut self, support: Support) -> Keyword<T> {
        self.support = support;
        self
    }

    const fn spelled(mut self, yaml: Yaml) -> Keyword<T> {
        self.yaml = yaml;
        self
    }

    /// YAML spells it in this way; the first name is shown.
    #[must_use]
    pub(crate) const fn yaml(self, names: &'static [&'static str]) -> Keyword<T> {
        self.spelled(Yaml::As(names))
    }

    /// YAML alone has it.
    #[must_use]
    pub(crate) const fn only_yaml(self) -> Keyword<T> {
        self.spelled(Yaml::Only)
    }

    /// YAML does not have it: what to write there instead.
    #[must_use]
    pub(crate) const fn yaml_instead(self, instead: &'static str) -> Keyword<T> {
        self.spelled(Yaml::Instead(instead))
    }

    /// YAML has it as a member of a list.
    #[must_use]
    pub(crate) const fn yaml_member(self, list: &'static str) -> Keyword<T> {
        self.spelled(Yaml::Member(list))
    }

    /// YAML has it in another block, by another name.
    #[must_use]
    pub(crate) const fn yaml_in(self, block: &'static str, name: &'static str) -> Keyword<T> {
        self.spelled(Yaml::In(block, name))
    }

    /// With this name alone.
    #[must_use]
    pub(crate) const fn renamed(mut self, name: &'static str) -> Keyword<T> {
        self.name = name;
        self.aliases = &[];
        self.mark = mark(name);
        self
    }

    /// YAML does not have it.
    #[must_use]
    pub(crate) const fn not_yaml(self) -> Keyword<T> {
        self.spelled(Yaml::Absent)
    }

    /// YAML writes it as a block of the table named, too.
    #[must_use]
    pub(crate) const fn yaml_block(mut self, table: &'static str) -> Keyword<T> {
        self.yaml_block = Some(table);
        self
    }

    /// Its names in a language, the first of which is shown.
    pub(crate) fn names(&self, language: Language) -> impl Iterator<Item = &'static str> + use<T> {
        let (own, others): (Option<&str>, &[&str]) = match (language, self.yaml) {
            (Language::Keepalived, Yaml::Only)
            | (Language::Yaml, Yaml::Instead(_) | Yaml::Member(_) | Yaml::In(..) | Yaml::Absent) => {
                (None, &[])
            }
            (Language::Yaml, Yaml::Same) => (Some(self.name), &[]),
            (Language::Yaml, Yaml::As(names)) => (None, names),
            (Language::Keepalived, _) | (Language::Yaml, Yaml::Only) => (Some(self.name), self.aliases),
        };
        own.into_iter().chain(others.iter().copied())
    }

    /// Whether a word is one of its names in a language; as [`Keyword::names`], and quicker.
    pub(super) fn is_named(&self, word: &str, language: Language) -> bool {
        match (language, self.yaml) {
            (Language::Keepalived, Yaml::Only)
            | (Language::Yaml, Yaml::Instead(_) | Yaml::Member(_) | Yaml::In(..) | Yaml::Absent) => false,
            (Language::Yaml, Yaml::Same) => self.name == word,
            (Language::Yaml, Yaml::As(names)) => names.contains(&word),
            (Language::Keepalived, _) | (Language::Yaml, Yaml::Only) => {
                self.name == word || self.aliases.contains(&word)
            }
        }
    }

    /// What it takes, in words; empty when it takes nothing.
    pub(crate) fn takes(&self) -> String {
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
            Kind::Lines { takes_line: true, .. } => "a line, or { ... }".to_owned(),
            Kind::Block { what: "", .. } | Kind::Lines { .. } => "{ ... }".to_owned(),
            Kind::Block { what, .. } => format!("{what} {{ ... }}"),
            Kind::Unread => String::new(),
        }
    }
}

impl<T> Keyword<T> {
    /// As [`Keyword::takes`], in YAML's words.
    pub(super) fn takes_in_yaml(&self) -> String {
        match &self.kind {
            Kind::Flag(_) => "true or false".to_owned(),
            Kind::Number { min, max, .. } => format!("a whole number from {min} to {max}"),
            Kind::Time { min, max, .. } => {
                format!("a time from {}s to {}s, e.g. 500ms, 5s or 2m", seconds(*min), seconds(*max))
            }
            Kind::Lines { .. } => "a list".to_owned(),
            _ => self.takes(),
        }
    }

    pub(super) fn shape(&self) -> Shape {
        if let Some(table) = self.yaml_block {
            return Shape::Block { table, or_words: !matches!(self.kind, Kind::Block { .. }) };
        }
        match &self.kind {
            Kind::Flag(_) => Shape::Flag,
            Kind::Number { min, max, .. } => Shape::Number { min: *min, max: *max },
            Kind::Time { .. } => Shape::Time,
            Kind::Text { .. } | Kind::Address(_) => Shape::Words { min: 1, max: 1 },
            Kind::Words { min, max, .. } => Shape::Words { min: *min, max: *max },
            Kind::Lines { table: Some(table), .. } => Shape::Block { table, or_words: true },
            Kind::Lines { table: None, .. } => Shape::Words { min: 1, max: usize::MAX },
            Kind::Block { .. } | Kind::Unread => Shape::Any,
        }
    }
}

impl<T> Keyword<T> {
    pub(super) fn form(&self) -> Form {
        match &self.kind {
            Kind::Flag(_) => Form::Flag { is_bare: self.is_bare },
            Kind::Number { min, max, bare, .. } => Form::Number { min: *min, max: *max, bare: *bare },
            Kind::Time { min, max, .. } => Form::Time { min: *min, max: *max },
            Kind::Text { .. } => Form::Text,
            Kind::Address(_) => Form::Address,
            Kind::Words { min, max, .. } => Form::Words { min: *min, max: *max },
            Kind::Block { max, .. } => Form::Block { max: *max },
            Kind::Lines { .. } => Form::Lines,
            Kind::Unread => Form::Unread,
        }
    }

    pub(super) fn inner(&self) -> Option<&'static str> {
        match &self.kind {
            Kind::Lines { table, .. } => *table,
            _ => self.yaml_block,
        }
    }
}

/// The form of a keyword's statement, as [`Kind`] has it, without where its value is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    Flag {
        /// No word behind it is read.
        is_bare: bool,
    },
    Number {
        min: u32,
        max: u32,
        /// Value of the bare keyword, where it may stand alone.
        bare: Option<u32>,
    },
    Time {
        min: Duration,
        max: Duration,
    },
    Text,
    Address,
    Words {
        min: usize,
        max: usize,
    },
    Block {
        /// Most words before the brace.
        max: usize,
    },
    Lines,
    Unread,
}

/// No word's [`mark`].
pub(super) const MANY_NAMES: u32 = 0;

/// What tells most words apart, in one number.
pub(super) const fn mark(word: &str) -> u32 {
    let [first, second, last] = match word.as_bytes() {
        [] => [0; 3],
        [only] => [*only, 0, 0],
        [first, last] => [*first, 0, *last],
        [first, second, .., last] => [*first, *second, *last],
    };
    u32::from_le_bytes([(word.len() & 0xff) as u8, first, second, last])
}

pub(super) fn seconds(duration: Duration) -> String {
    let micros = duration.as_micros();
    let text = format!("{}.{:06}", micros / 1_000_000, micros % 1_000_000);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// What a keyword takes in YAML, for programs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// Yes or no.
    Flag,
    /// A whole number in a range.
    Number {
        min: u32,
        max: u32,
    },
    /// Seconds, or a number with a unit.
    Time,
    /// At least and at most so many scalars.
    Words {
        min: usize,
        max: usize,
    },
    /// A mapping by the table of this name, or a list of such; and a scalar or list of them, where words do, too.
    Block {
        /// The name of the table.
        table: &'static str,
        /// Whether words do, too.
        or_words: bool,
    },
    Any,
}
