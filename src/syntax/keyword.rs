//! How a keyword is declared.
//!
//! A block's keywords are a `&[Keyword<T>]`, `T` being the block's options; one declaration gives the spelling
//! and the parsing in both languages, the range diagnostics, the suggestion for an unknown word, the line in the
//! listing of keywords and the JSON Schema. This module refuses to know any particular keyword; `reader` reads
//! blocks by such declarations.

use std::net::IpAddr;
use std::time::Duration;

use super::source::Span;
use super::tree::Node;

pub(crate) use super::reader::Reader;

/// A value and where it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Spanned<V> {
    pub value: V,
    pub span: Span,
}

/// An option that may not have been written.
pub(crate) type Slot<V> = Option<Spanned<V>>;

/// The value of a slot, if written.
pub(crate) fn get<V: Clone>(slot: &Slot<V>) -> Option<V> {
    slot.as_ref().map(|s| s.value.clone())
}

/// What lvsd does with a keyword.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stance {
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
    /// Not at all.
    Absent,
    /// By its names, and keepalived.conf does not have it.
    Only,
}

/// What reads the block that YAML may have instead of words.
pub(crate) type ReadBlock<T> = fn(&mut T, &Node, &mut Reader<'_>);

/// What a keyword takes, and where it goes.
pub(crate) enum Kind<T> {
    /// Nothing, or yes or no.
    Flag(fn(&mut T) -> &mut Slot<bool>),
    /// A whole number.
    Number {
        min: u32,
        max: u32,
        /// Value of the bare keyword, where it may stand alone.
        bare: Option<u32>,
        /// Where it goes.
        slot: fn(&mut T) -> &mut Slot<u32>,
    },
    Time {
        min: Duration,
        max: Duration,
        /// Where it goes.
        slot: fn(&mut T) -> &mut Slot<Duration>,
    },
    /// A word of at most so many bytes.
    Text {
        /// What it is, e.g. `NAME`.
        what: &'static str,
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
    /// Lines of a block; in YAML a list, of words or of mappings by the table named.
    Lines {
        /// The table of YAML's mappings, where there are such.
        table: Option<&'static str>,
        read: fn(&mut T, &Node, &mut Reader<'_>),
    },
    /// A value that is looked at and not kept: for keywords that are not built.
    Form(Form),
    /// Whatever stands there, unread: for keywords that are ignored or not built.
    Unread,
}

/// The form of a value that is not kept.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Form {
    /// Nothing, or yes or no.
    Flag,
    /// A whole number.
    Number {
        min: u32,
        max: u32,
        /// Whether the keyword may stand alone.
        is_optional: bool,
    },
    /// One of these words.
    OneOf(&'static [&'static str]),
    /// So many words, of this form.
    Words {
        /// Their form, e.g. `IP [PORT]`.
        what: &'static str,
        /// Least number of words.
        min: usize,
        /// Most number of words.
        max: usize,
    },
}

impl Form {
    fn takes(self) -> String {
        match self {
            Form::Flag => "[on|off]".to_owned(),
            Form::Number { min, max, is_optional: false } => format!("a whole number from {min} to {max}"),
            Form::Number { min, max, is_optional: true } => {
                format!("a whole number from {min} to {max}, or nothing")
            }
            Form::OneOf([words @ .., last]) if !words.is_empty() => format!("{} or {last}", words.join(", ")),
            Form::OneOf(words) => words.concat(),
            Form::Words { what, .. } => what.to_owned(),
        }
    }

    /// Least and most number of words.
    pub(super) fn count(self) -> (usize, usize) {
        match self {
            Form::Flag | Form::Number { is_optional: true, .. } => (0, 1),
            Form::Number { .. } | Form::OneOf(_) => (1, 1),
            Form::Words { min, max, .. } => (min, max),
        }
    }
}

/// One keyword of a block.
pub(crate) struct Keyword<T: 'static> {
    pub name: &'static str,
    /// Other names that mean the same.
    pub aliases: &'static [&'static str],
    /// What it takes.
    pub kind: Kind<T>,
    /// What lvsd does with it.
    pub stance: Stance,
    /// How YAML spells it.
    pub yaml: Yaml,
    /// The block YAML may write instead of words: the name of its table, and what reads it.
    pub yaml_block: Option<(&'static str, ReadBlock<T>)>,
    /// One sentence: what it means.
    pub doc: &'static str,
    /// The [`mark`] of its name; [`MANY_NAMES`] if it has others.
    mark: u32,
}

impl<T> Keyword<T> {
    /// A supported keyword without aliases.
    pub(crate) const fn new(name: &'static str, kind: Kind<T>, doc: &'static str) -> Keyword<T> {
        let (aliases, stance, yaml, yaml_block): (&[&str], _, _, _) =
            (&[], Stance::Supported, Yaml::Same, None);
        Keyword { name, aliases, kind, stance, yaml, yaml_block, doc, mark: mark(name) }
    }

    /// A keyword that is accepted, and whose values are not read.
    pub(crate) const fn unread(name: &'static str, stance: Stance, doc: &'static str) -> Keyword<T> {
        Keyword::new(name, Kind::Unread, doc).but(stance).yaml(Yaml::Absent)
    }

    /// With other names.
    #[must_use]
    pub(crate) const fn or(mut self, aliases: &'static [&'static str]) -> Keyword<T> {
        self.aliases = aliases;
        self.mark = MANY_NAMES;
        self
    }

    /// With another stance.
    #[must_use]
    pub(crate) const fn but(mut self, stance: Stance) -> Keyword<T> {
        self.stance = stance;
        self
    }

    /// With another spelling in YAML.
    #[must_use]
    pub(crate) const fn yaml(mut self, yaml: Yaml) -> Keyword<T> {
        self.yaml = yaml;
        self
    }

    /// With a block that YAML may have instead of words, of the table named.
    #[must_use]
    pub(crate) const fn yaml_block(mut self, table: &'static str, read: ReadBlock<T>) -> Keyword<T> {
        self.yaml_block = Some((table, read));
        self
    }

    /// Its names in a language, the first of which is shown.
    pub(crate) fn names(&self, language: Language) -> impl Iterator<Item = &'static str> + use<T> {
        let (own, others): (Option<&str>, &[&str]) = match (language, self.yaml) {
            (Language::Keepalived, Yaml::Only) | (Language::Yaml, Yaml::Instead(_) | Yaml::Absent) => {
                (None, &[])
            }
            (Language::Yaml, Yaml::Same) => (Some(self.name), &[]),
            (Language::Yaml, Yaml::As(names)) => (None, names),
            (Language::Keepalived, _) | (Language::Yaml, Yaml::Only) => (Some(self.name), self.aliases),
        };
        own.into_iter().chain(others.iter().copied())
    }

    /// Whether a word is one of its names in a language; as [`Keyword::names`], and quicker.
    fn is_named(&self, word: &str, language: Language) -> bool {
        match (language, self.yaml) {
            (Language::Keepalived, Yaml::Only) | (Language::Yaml, Yaml::Instead(_) | Yaml::Absent) => false,
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
            Kind::Block { what: "", .. } | Kind::Lines { .. } => "{ ... }".to_owned(),
            Kind::Block { what, .. } => format!("{what} {{ ... }}"),
            Kind::Form(form) => form.takes(),
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

    fn shape(&self) -> Shape {
        if let Some((table, _)) = self.yaml_block {
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
            Kind::Block { .. } | Kind::Form(_) | Kind::Unread => Shape::Any,
        }
    }
}

/// No word's [`mark`].
const MANY_NAMES: u32 = 0;

/// What tells most words apart, in one number.
const fn mark(word: &str) -> u32 {
    let [first, second, last] = match word.as_bytes() {
        [] => [0; 3],
        [only] => [*only, 0, 0],
        [first, last] => [*first, 0, *last],
        [first, second, .., last] => [*first, *second, *last],
    };
    u32::from_le_bytes([(word.len() & 0xff) as u8, first, second, last])
}

/// How many marks are told apart at once.
const BUCKETS: usize = 256;

const fn bucket(mark: u32) -> usize {
    // By the golden ratio: the high bits depend on all of the mark's.
    (mark.wrapping_mul(0x9e37_79b1) >> 24) as usize
}

pub(super) fn seconds(duration: Duration) -> String {
    let micros = duration.as_micros();
    let text = format!("{}.{:06}", micros / 1_000_000, micros % 1_000_000);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// The keywords of a block, maybe shared with other blocks.
pub(crate) struct Table<T: 'static> {
    /// The block's name in messages.
    pub block: &'static str,
    /// What YAML calls such a block, in messages.
    pub yaml: &'static str,
    keywords: &'static [&'static [Keyword<T>]],
    /// For each [`bucket`], the keyword of keepalived.conf to look at first: 1 is the first one, 0 none.
    first: [u8; BUCKETS],
}

impl<T> Table<T> {
    /// All keywords, in the order of declaration.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &'static Keyword<T>> + use<T> {
        self.keywords.iter().flat_map(|group| group.iter())
    }

    /// The table of a block with keywords of its own and those it shares.
    pub(crate) const fn of(
        block: &'static str,
        yaml: &'static str,
        keywords: &'static [&'static [Keyword<T>]],
    ) -> Table<T> {
        let mut first = [0; BUCKETS];
        let mut number = 0u8;
        let mut groups = keywords;
        while let [group, more @ ..] = groups {
            groups = more;
            let mut rest = *group;
            while let [keyword, more @ ..] = rest {
                rest = more;
                // Those beyond are found without.
                number = number.saturating_add(1);
                if let Some(first) = first.split_at_mut(bucket(keyword.mark)).1.first_mut()
                    && *first == 0
                    && keyword.mark != MANY_NAMES
                    && number < u8::MAX
                {
                    *first = number;
                }
            }
        }
        Table { block, yaml, keywords, first }
    }

    pub(super) fn find(&self, word: &str, language: Language) -> Option<&'static Keyword<T>> {
        if language == Language::Yaml {
            return self.iter().find(|k| k.is_named(word, language));
        }
        let mark = mark(word);
        if let Some(first) = self.first(mark)
            && first.mark == mark
            && first.is_named(word, language)
        {
            return Some(first);
        }
        self.marked(mark, word).or_else(|| self.marked(MANY_NAMES, word))
    }

    /// The first keyword in the bucket of a mark.
    fn first(&self, mark: u32) -> Option<&'static Keyword<T>> {
        let mut at = usize::from(*self.first.get(bucket(mark))?).checked_sub(1)?;
        for group in self.keywords {
            match group.get(at) {
                Some(keyword) => return Some(keyword),
                None => at -= group.len(),
            }
        }
        None
    }

    /// The keyword of keepalived.conf with a mark and a name.
    fn marked(&self, mark: u32, word: &str) -> Option<&'static Keyword<T>> {
        for group in self.keywords {
            for keyword in *group {
                if keyword.mark == mark && keyword.is_named(word, Language::Keepalived) {
                    return Some(keyword);
                }
            }
        }
        None
    }

    pub(super) fn nearest(&self, word: &str, language: Language) -> Option<&'static str> {
        nearest(word, self.iter().flat_map(|k| k.names(language)))
    }

    /// The block's name in messages.
    pub(crate) fn called(&self, language: Language) -> &'static str {
        match language {
            Language::Keepalived => self.block,
            Language::Yaml => self.yaml,
        }
    }

    /// Its lines of the listing, of a block that is not built: none of its words does anything, whatever they
    /// do in other blocks.
    pub(crate) fn listing_not_yet(&self, why: &'static str) -> Vec<Listed> {
        let stance = Stance::NotYet(why);
        self.listing().into_iter().map(|l| Listed { stance, yaml: Vec::new(), ..l }).collect()
    }

    /// Its lines of the listing.
    pub(crate) fn listing(&self) -> Vec<Listed> {
        self.iter()
            .map(|k| Listed {
                block: self.block,
                yaml_block: self.yaml,
                names: k.names(Language::Keepalived).collect(),
                yaml: k.names(Language::Yaml).collect(),
                takes: k.takes(),
                shape: k.shape(),
                stance: k.stance,
                doc: k.doc,
            })
            .collect()
    }
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

/// A keyword in the listing of all keywords.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Listed {
    /// The block it belongs to.
    pub block: &'static str,
    /// What YAML calls that block.
    pub yaml_block: &'static str,
    /// Its names in keepalived.conf; none where it is YAML's alone.
    pub names: Vec<&'static str>,
    /// Its names in YAML; none where YAML says it in another way.
    pub yaml: Vec<&'static str>,
    /// What it takes, in words.
    pub takes: String,
    /// What it takes, for programs.
    pub shape: Shape,
    /// What lvsd does with it.
    pub stance: Stance,
    /// What it means.
    pub doc: &'static str,
}

/// The word most like `word`, if one is alike enough to be what was meant.
pub(crate) fn nearest<'a>(word: &str, words: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    // Longer words than any keyword would only cost time.
    if word.len() > 64 {
        return None;
    }
    let length = word.chars().count();
    let limit = 1 + length / 4;
    let lower = word.to_ascii_lowercase();
    words
        .filter(|candidate| candidate.len().abs_diff(length) <= limit)
        .map(|candidate| (strsim::damerau_levenshtein(&lower, &candidate.to_ascii_lowercase()), candidate))
        .filter(|(distance, candidate)| *distance <= limit && *distance < candidate.chars().count())
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}
