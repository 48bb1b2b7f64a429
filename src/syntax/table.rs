//! The keywords of a block, and how they are found and listed.

use super::keyword::{Form, Keyword, Language, MANY_NAMES, Shape, Support, Yaml, mark};

/// How many marks are told apart at once.
const BUCKETS: usize = 256;

const fn bucket(mark: u32) -> usize {
    // By the golden ratio: the high bits depend on all of the mark's.
    (mark.wrapping_mul(0x9e37_79b1) >> 24) as usize
}

/// The keywords of a block, maybe shared with other blocks.
pub(crate) struct Table<T: 'static> {
    /// The block's name in messages.
    pub(crate) block: &'static str,
    /// What YAML calls such a block, in messages.
    pub(crate) yaml: &'static str,
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

    /// Whether a word is one slip away from `candidate`, and from no other keyword: another case, or one letter too
    /// many, too few, wrong or swapped, in a keyword of six letters or more.
    pub(super) fn is_slip(&self, word: &str, candidate: &str, language: Language) -> bool {
        let lower = word.to_ascii_lowercase();
        let distance = |name: &str| strsim::damerau_levenshtein(&lower, &name.to_ascii_lowercase());
        let limit = usize::from(candidate.len() >= 6);
        let mut others = self.iter().flat_map(|k| k.names(language)).filter(|name| *name != candidate);
        distance(candidate) <= limit && others.all(|name| distance(name) > limit + 1)
    }

    /// The block's name in messages.
    pub(crate) fn called(&self, language: Language) -> &'static str {
        match language {
            Language::Keepalived => self.block,
            Language::Yaml => self.yaml,
        }
    }

    /// Its lines of the listing.
    pub(crate) fn listing(&self) -> Vec<KeywordInfo> {
        self.iter()
            .map(|k| KeywordInfo {
                block: self.block,
                yaml_block: self.yaml,
                names: k.names(Language::Keepalived).collect(),
                yaml: k.names(Language::Yaml).collect(),
                takes: k.takes(),
                shape: k.shape(),
                form: k.form(),
                spelling: k.yaml,
                inner: k.inner(),
                support: k.support,
                doc: k.doc,
            })
            .collect()
    }
}

/// A keyword in the listing of all keywords.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct KeywordInfo {
    /// The block it belongs to.
    pub(crate) block: &'static str,
    /// What YAML calls that block.
    pub(crate) yaml_block: &'static str,
    /// Its names in keepalived.conf; none where it is YAML's alone.
    pub(crate) names: Vec<&'static str>,
    /// Its names in YAML; none where YAML says it in another way.
    pub(crate) yaml: Vec<&'static str>,
    /// What it takes, in words.
    pub(crate) takes: String,
    /// What it takes, for programs.
    pub(crate) shape: Shape,
    /// The form of its statement.
    pub(crate) form: Form,
    /// How YAML says it.
    pub(crate) spelling: Yaml,
    /// The table of its block, or of its lines, where it has a name.
    pub(crate) inner: Option<&'static str>,
    /// What lvsd does with it.
    pub(crate) support: Support,
    /// What it means.
    pub(crate) doc: &'static str,
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
