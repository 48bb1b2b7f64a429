//! Reads blocks by tables of keywords, and collects what is wrong with them.
//!
//! It knows no particular keyword and no syntax: it sees words, values and blocks of a tree, and the language of the file,
//! because YAML turns into errors what keepalived only corrects. The file is long because every form of value reads
//! through the same cursor and reports its mistakes in the same words.

use std::net::IpAddr;

use super::diagnostic::{Certainty, Class, Code, Diagnostic, Diagnostics, Edit, Suggestion};
use super::keyword::{Keyword, Kind, Language, Slot, Spanned, Support, Table, Yaml, seconds};
use super::source::Span;
use super::tree::{Node, Word};
use super::value::{self, Wrong};

/// What an unknown word may have been meant to be.
enum Meant {
    /// A keyword of this block: which words are wrong, what to write, and the change that does it.
    Here(Span, String, Option<(Certainty, Vec<Edit>)>),
    /// A keyword of the block named.
    Elsewhere(&'static str),
    Unknown,
}

/// Reads blocks, and collects what is wrong with them.
pub(crate) struct Reader<'a> {
    /// What is wrong.
    pub diagnostics: &'a mut Diagnostics,
    /// In which block a word is a keyword, for words that stand in the wrong one.
    pub belongs: &'a dyn Fn(&str) -> Option<&'static str>,
    /// The language of the text.
    pub language: Language,
    /// Unknown words are warnings, and what belongs to them is skipped.
    pub is_lenient: bool,
    /// The last unknown block that was skipped; taken by the reader of the block around it.
    pub skipped: Option<Word>,
    /// Statements refused because their keyword is not known: what seems to lack may be one of them.
    pub unknown: usize,
}

impl Reader<'_> {
    /// Reads the statements of a block into its options.
    pub(crate) fn block<T>(&mut self, table: &Table<T>, nodes: &[Node], into: &mut T) {
        for node in nodes {
            match table.find(&node.keyword, self.language) {
                Some(keyword) => self.statement(table, keyword, node, into),
                None => self.unknown(table, node),
            }
        }
    }

    /// Reads the options of a line, up to the first that is wrong: how many words belong to that one is not known.
    pub(crate) fn options<T>(&mut self, table: &Table<T>, nodes: &[Node], into: &mut T) {
        let before = self.diagnostics.errors();
        for node in nodes.chunks(1) {
            self.block(table, node, into);
            if self.diagnostics.errors() > before && !self.is_yaml() {
                break;
            }
        }
    }

    /// Adds an error.
    pub(crate) fn error(&mut self, span: Span, message: impl Into<String>) {
        self.diagnostics.push(Diagnostic::error(span, message));
    }

    /// Adds what keepalived goes on with: in keepalived.conf a warning that says what it does then, in YAML an
    /// error.
    pub(crate) fn compat_warning(&mut self, span: Span, problem: impl Into<String>, then: &str) {
        let problem = self.compat_diagnostic(span, problem, then);
        self.diagnostics.push(problem);
    }

    /// As [`Reader::compat_warning`], of a statement that has no effect then.
    pub(crate) fn compat_unheeded(&mut self, span: Span, problem: impl Into<String>, then: &str) {
        let problem = self.compat_diagnostic(span, problem, then).code(Code::Unheeded(span));
        self.diagnostics.push(problem);
    }

    /// As [`Reader::compat_warning`], to be added to.
    pub(crate) fn compat_diagnostic(&self, span: Span, problem: impl Into<String>, then: &str) -> Diagnostic {
        match self.language {
            Language::Keepalived => Diagnostic::warning(span, format!("{}{then}", problem.into())),
            Language::Yaml => Diagnostic::error(span, problem),
        }
    }

    /// How the language spells a keyword of keepalived.conf.
    pub(crate) fn spelling<T>(&self, keywords: &'static [Keyword<T>], name: &'static str) -> &'static str {
        let keyword = keywords.iter().find(|keyword| keyword.name == name);
        keyword.and_then(|keyword| keyword.names(self.language).next()).unwrap_or(name)
    }

    /// A keyword of keepalived.conf with a value, as the language writes them; a flag has none.
    pub(crate) fn example<T>(
        &self,
        keywords: &'static [Keyword<T>],
        name: &'static str,
        value: &str,
    ) -> String {
        if self.language == Language::Keepalived {
            return format!("{name} {value}").trim_end().to_owned();
        }
        let yaml = keywords.iter().find(|keyword| keyword.name == name).map(|keyword| keyword.yaml);
        let value = if value.is_empty() { "true" } else { value };
        match yaml {
            Some(Yaml::In(block, name)) => format!("{block}: {{{name}: {value}}}"),
            Some(Yaml::Member(list)) => format!("{list}: [{name}]"),
            _ => format!("{}: {value}", self.spelling(keywords, name)),
        }
    }

    /// Of two forms of the same, the one in the language of the file: for the help of a diagnostic, where the forms differ
    /// by more than the keyword ([`Reader::example`] knows that).
    pub(crate) fn by_language<W>(&self, keepalived: W, yaml: W) -> W {
        match self.language {
            Language::Keepalived => keepalived,
            Language::Yaml => yaml,
        }
    }

    /// A fixed word of keepalived.conf, as the language writes it: YAML in small letters.
    pub(crate) fn fixed(&self, word: &str) -> String {
        if self.is_yaml() { word.to_ascii_lowercase() } else { word.to_owned() }
    }

    /// Whether a word is this fixed word of keepalived.conf; in YAML the letters' case does not matter.
    pub(crate) fn is_fixed(&self, word: &str, fixed: &str) -> bool {
        word == fixed || (self.is_yaml() && word.eq_ignore_ascii_case(fixed))
    }

    /// What fixed words there are: `A, B or C`.
    pub(crate) fn any_of(&self, words: &[&str]) -> String {
        any_of(&words.iter().map(|word| self.fixed(word)).collect::<Vec<_>>())
    }

    /// Whether the text is YAML.
    pub(crate) fn is_yaml(&self) -> bool {
        self.language == Language::Yaml
    }

    /// Adds a warning.
    pub(crate) fn warning(&mut self, span: Span, message: impl Into<String>) {
        self.diagnostics.push(Diagnostic::warning(span, message));
    }

    /// Stores an option; the last one written counts.
    pub(crate) fn store<V>(&mut self, slot: &mut Slot<V>, node: &Node, value: V) {
        if let Some(first) = slot.replace(Spanned { value, span: node.span() }) {
            self.twice(node, first.span, first.span, ": the last one counts");
        }
    }

    /// Stores an option of which keepalived takes the first one, and ignores those that follow.
    pub(crate) fn store_first<V>(&mut self, slot: &mut Slot<V>, node: &Node, value: V) {
        match slot {
            Some(first) => self.twice(node, first.span, node.span(), ": the first one counts"),
            None => *slot = Some(Spanned { value, span: node.span() }),
        }
    }

    fn twice(&mut self, node: &Node, first: Span, lost: Span, then: &str) {
        let text = format!("`{}` is given twice", &*node.keyword);
        let problem = self.compat_diagnostic(node.keyword.span, text, then);
        self.diagnostics.push(problem.at(first, "the first one is here").code(Code::Unheeded(lost)));
    }

    /// Says that a word is not the value wanted. A value out of range is a warning, as keepalived goes on with
    /// its default; anything else has no meaning.
    pub(crate) fn wrong(&mut self, keyword: &str, word: &Word, wanted: &str, wrong: Wrong) {
        let (text, span) = (&*word.text, word.span);
        self.diagnostics.push(match wrong {
            Wrong::OutOfRange if self.is_yaml() => {
                Diagnostic::error(span, format!("`{keyword}`: `{text}` is not {wanted}"))
            }
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

    /// An address that has no prefix length; keepalived goes on without one that is written. None after saying what is
    /// wrong.
    pub(crate) fn address(&mut self, keyword: &str, word: &Word) -> Option<IpAddr> {
        match (value::address(word), value::without_prefix(word)) {
            (Ok(address), _) => Some(address),
            (Err(_), Some((address, length))) if !self.is_yaml() => {
                let text = format!("`{keyword}`: `/{length}` is ignored: {address} is the address of a host");
                let problem = Diagnostic::warning(word.span, text);
                self.diagnostics.push(problem.help(format!("write `{address}`")));
                Some(address)
            }
            (Err(wrong), _) => {
                self.wrong(keyword, word, "an IP address", wrong);
                None
            }
        }
    }

    /// A word that says yes or no in the language that is read.
    pub(crate) fn boolean(&self, word: &str) -> Option<bool> {
        if self.is_yaml() { value::yaml_boolean(word) } else { value::boolean(word) }
    }

    fn wanted<T>(&self, keyword: &Keyword<T>) -> String {
        if self.is_yaml() { keyword.takes_in_yaml() } else { keyword.takes() }
    }

    fn unknown<T>(&mut self, table: &Table<T>, node: &Node) {
        let word = &node.keyword;
        if self.diagnostics.errors() >= Diagnostics::MAX_KEPT {
            // It is only counted: looking for what was meant would be in vain, and costs.
            return self.error(word.span, "");
        }
        let language = self.language;
        let message = format!("`{}` is not a keyword of {}", word.text, table.called(language));
        let meant = self.meant(table, node);
        let is_foreign = matches!(meant, Meant::Unknown);
        let problem = match meant {
            Meant::Here(span, help, change) => {
                let suggestion = change.map(|(certainty, edits)| Box::new(Suggestion { edits, certainty }));
                Diagnostic { suggestion, ..Diagnostic::error(span, message).help(help) }
            }
            // A block where no such block can be is more than a leftover.
            Meant::Elsewhere(block) if node.block.is_some() => {
                let where_to_look = match language {
                    Language::Keepalived => "look for a missing or surplus brace above",
                    Language::Yaml => "look at the indentation",
                };
                let help = format!("it belongs in {block}: {where_to_look}");
                let problem = Diagnostic::error(word.span, message).help(help);
                let is_yaml = self.is_yaml();
                return self.diagnostics.push(if is_yaml { problem } else { problem.code(Code::Brace) });
            }
            Meant::Elsewhere(block) => {
                let problem = self.compat_diagnostic(word.span, message, ", and ignored here");
                return self.diagnostics.push(problem.help(format!("it belongs in {block}")));
            }
            Meant::Unknown if !word.is_ascii() => Diagnostic::error(word.span, message).help(format!(
                "keywords are ASCII; a comment needs a `#` before it: `# {}`",
                word.text
            )),
            Meant::Unknown => Diagnostic::error(word.span, message)
                .help(match (&node.block, node.values.first()) {
                (_, Some(next))
                    if table.find(next, language).is_some() && word.starts_with(|c: char| c.is_ascii_alphabetic()) =>
                {
                    format!(
                        "`{}` may begin a statement: remove `{}` before it, or make all of it a comment with `#`",
                        next.text, word.text
                    )
                }
                (Some(_), _) => {
                    "what it means is not known: write the word that was meant, or remove it and its block"
                        .to_owned()
                }
                _ => "remove it, or make it a comment with `#`: what it means is not known".to_owned(),
            }),
        };
        let problem = if self.is_comment(table, node) {
            let edit = Edit::Comment { span: node.span(), word: word.text.to_string() };
            problem.suggest(Certainty::Certain, vec![edit])
        } else {
            problem
        };
        if self.is_lenient {
            let skipped = if node.block.is_some() { ": its block is skipped" } else { ", and is skipped" };
            self.skipped = node.block.as_ref().map(|_| word.clone()).or(self.skipped.take());
            let message = format!("{}{skipped}", problem.message);
            self.diagnostics.push(Diagnostic { class: Class::Warning, message, ..problem });
        } else {
            self.unknown += 1;
            let code = match (&node.block, &problem.suggestion, is_foreign) {
                (Some(_), ..) => Some(Code::LostBlock),
                (None, None, true) => Some(Code::Stray),
                _ => None,
            };
            self.diagnostics.push(Diagnostic { code, ..problem });
        }
    }

    /// What an unknown word may have been meant to be.
    fn meant<T>(&self, table: &Table<T>, node: &Node) -> Meant {
        let (word, language) = (&node.keyword, self.language);
        if self.is_yaml()
            && let Some(keyword) = table.find(word, Language::Keepalived)
        {
            let help = match (keyword.yaml, keyword.support, keyword.names(Language::Yaml).next()) {
                (Yaml::Instead(instead), _, _) => {
                    format!("that is keepalived.conf's word; here write {instead}")
                }
                (Yaml::Member(list), _, _) => {
                    format!("that is keepalived.conf's word; here write `{list}: [{}]`", keyword.name)
                }
                (Yaml::In(block, name), _, _) => {
                    format!("that is keepalived.conf's word; here write it below `{block}`, as `{name}`")
                }
                (_, _, Some(name)) => format!("that is keepalived.conf's word; here write `{name}`"),
                (_, Support::Supported, None) => "that is keepalived.conf's word: remove it".to_owned(),
                (_, Support::Deprecated(why) | Support::Ignored(why) | Support::Refused(why), None) => {
                    format!("that is keepalived.conf's word, and not one of YAML: {why}")
                }
            };
            return Meant::Here(word.span, help, None);
        }
        if let Some(block) = (self.belongs)(word) {
            return Meant::Elsewhere(block);
        }
        if let (Some(second), Language::Keepalived) = (node.values.first(), language) {
            let glued = format!("{}{}", word.text, second.text);
            if table.find(&glued, language).is_some() {
                let help = format!("did you mean `{glued}`?");
                let edits = vec![
                    replace(word.span, word, &glued),
                    replace(Span { start: word.span.end, ..second.span }, second, ""),
                ];
                let change = (!word.is_quoted && !second.is_quoted).then_some((Certainty::Certain, edits));
                return Meant::Here(word.span.to(second.span), help, change);
            }
        }
        if language == Language::Keepalived
            && !word.is_quoted
            && let Some((head, tail)) = word.split_once([':', '=', '：', '＝'])
            && table.find(head, language).is_some()
        {
            let statement = format!("{head} {tail}");
            let statement = statement.trim_end();
            let help = match tail {
                "" => format!("write `{head}`, and its value behind a blank"),
                _ => format!("write `{statement}`"),
            };
            let edit = replace(word.span, word, statement);
            return Meant::Here(word.span, help, Some((Certainty::Certain, vec![edit])));
        }
        match table.nearest(word, language) {
            Some(likely) => {
                let is_slip = !word.is_quoted && table.is_slip(word, likely, language);
                let certainty = if is_slip { Certainty::IfClean } else { Certainty::Likely };
                let edit = replace(word.span, word, likely);
                let help = format!("did you mean `{likely}`?");
                Meant::Here(word.span, help, Some((certainty, vec![edit])))
            }
            None => Meant::Unknown,
        }
    }

    /// Whether an unknown statement can only be a comment that lacks its sign: it has no block, none of its words is a
    /// keyword or nearly one of this block, and it begins with a word that is not ASCII, or is a sentence: at least
    /// three words of letters only.
    fn is_comment<T>(&self, table: &Table<T>, node: &Node) -> bool {
        let is_prose = |word: &Word| {
            let word = word.trim_end_matches(['.', ',', ';', ':', '?', ')']).trim_start_matches('(');
            !word.is_empty() && word.chars().all(|c| c.is_alphabetic() || matches!(c, '-' | '\''))
        };
        let is_keyword = |word: &Word| {
            word.is_quoted || table.find(word, self.language).is_some() || (self.belongs)(word).is_some()
        };
        let mut words = std::iter::once(&node.keyword).chain(&node.values);
        // `dont track primary` is a keyword that lacks its underscores.
        let is_keyword_in_blanks = || {
            (2..=4).any(|count| {
                let words: Vec<&str> = words.clone().take(count).map(|word| &**word).collect();
                let joined = words.join("_");
                table.nearest(&joined, self.language).is_some() || (self.belongs)(&joined).is_some()
            })
        };
        let begins_foreign = node.keyword.chars().any(|c| !c.is_ascii() && c.is_alphabetic());
        self.language == Language::Keepalived
            && node.block.is_none()
            && table.nearest(&node.keyword, self.language).is_none()
            && (begins_foreign || node.values.len() >= 2 && words.clone().all(is_prose))
            && !is_keyword_in_blanks()
            && !words.any(is_keyword)
    }

    /// Warns of typographic quotes around a value, which keepalived takes for letters.
    fn typographic_quotes(&mut self, node: &Node) {
        let is_odd = |word: &&Word| !word.is_quoted && !word.is_ascii();
        let words = node.values.iter().filter(is_odd);
        let opens = |word: &&Word| word.starts_with(TYPOGRAPHIC_QUOTES);
        let Some(first) = words.clone().find(opens) else { return };
        let mut behind = words.skip_while(|word| word.span != first.span);
        let closes = |word: &&Word| {
            let is_one = word.span == first.span;
            word.ends_with(TYPOGRAPHIC_QUOTES) && (!is_one || word.chars().count() > 2)
        };
        let Some(last) = behind.find(closes) else { return };
        let (Some(open), Some(close)) = (first.chars().next(), last.chars().next_back()) else { return };
        let length = |sign: char| u32::try_from(sign.len_utf8()).unwrap_or(0);
        let begin = Span { end: first.span.start + length(open), ..first.span };
        let end = Span { start: last.span.end.saturating_sub(length(close)), ..last.span };
        let text = format!("`{open}` and `{close}` are typographic quotes, which are letters of the value");
        let problem = Diagnostic::warning(first.span.to(last.span), text)
            .help("write `\"` instead; in a secret, on all routers that share it");
        let edits = vec![
            replace(begin, open.encode_utf8(&mut [0; 4]), "\""),
            replace(end, close.encode_utf8(&mut [0; 4]), "\""),
        ];
        self.diagnostics.push(problem.suggest(Certainty::Certain, edits));
    }

    fn statement<T>(&mut self, table: &Table<T>, keyword: &Keyword<T>, node: &Node, into: &mut T) {
        let (name, at) = (&*node.keyword.text, node.keyword.span);
        if self.language == Language::Keepalived {
            self.typographic_quotes(node);
        }
        let is_unread = matches!(keyword.support, Support::Ignored(_) | Support::Refused(_))
            || matches!(keyword.kind, Kind::Unread);
        if is_unread
            && node.block.is_some()
            && let Some(next) = self.glued(table, node, 0)
        {
            // Ignored with its statement it would be lost without a word.
            let problem = Diagnostic::error(next.span, format!("`{}` stands behind `{name}`", next.text));
            self.diagnostics.push(problem.help(new_line_before(next)));
        }
        match keyword.support {
            Support::Supported => {}
            Support::Deprecated(instead) => {
                let problem = self.compat_diagnostic(at, format!("`{name}` is deprecated"), "");
                self.diagnostics.push(problem.help(instead));
            }
            Support::Ignored(_) | Support::Refused(_) => return self.say(keyword.support, node),
        }
        self.values(table, keyword, node, into);
    }

    fn values<T>(&mut self, table: &Table<T>, keyword: &Keyword<T>, node: &Node, into: &mut T) {
        let name = &*node.keyword.text;
        if let (Language::Yaml, Some(_), Some(_)) = (self.language, &node.block, keyword.yaml_block)
            && let Kind::Words { read, .. } | Kind::Block { read, .. } | Kind::Lines { read, .. } =
                &keyword.kind
        {
            return read(into, node, self);
        }
        if !self.has_form(table, keyword, node) {
            return;
        }
        match &keyword.kind {
            Kind::Flag(slot) => {
                let Some(word) = node.values.first() else { return self.store(slot(into), node, true) };
                let wanted = self.by_language("`on` or `off`", "`true` or `false`");
                match (self.boolean(word), self.glued(table, node, 0)) {
                    (Some(value), _) => {
                        if keyword.is_bare && !value && !self.is_yaml() {
                            let text = format!(
                                "`{name} {}` is off here: keepalived reads no word behind `{name}`, and has it on",
                                word.text
                            );
                            let problem = Diagnostic::warning(word.span, text);
                            self.diagnostics.push(problem.help("remove the line, or the word"));
                        }
                        self.store(slot(into), node, value);
                    }
                    (None, Some(next)) => {
                        self.wrong(name, word, wanted, Wrong::Malformed(Some(new_line_before(next))));
                    }
                    (None, None) if self.is_yaml() => {
                        self.wrong(name, word, wanted, Wrong::Malformed(None));
                    }
                    (None, None) if keyword.is_bare => {
                        let text =
                            format!("`{name}`: `{}` is not {wanted}, and is ignored: it is on", word.text);
                        let problem = Diagnostic::warning(word.span, text);
                        self.diagnostics.push(problem.help(format!("write `{name}` alone")));
                        self.store(slot(into), node, true);
                    }
                    (None, None) => {
                        let text = format!(
                            "`{name}` is ignored, as keepalived ignores it: `{}` is not {wanted}",
                            word.text
                        );
                        let problem = Diagnostic::warning(word.span, text);
                        self.diagnostics.push(problem.help(format!("write `{name} on` or `{name} off`")));
                    }
                }
            }
            Kind::Number { min, max, bare, slot } => match (node.values.first(), bare) {
                (Some(word), _) => match value::number(word, *min, *max) {
                    Ok(value) => self.store(slot(into), node, value),
                    Err(wrong) => self.wrong(name, word, &self.wanted(keyword), wrong),
                },
                (None, Some(bare)) => self.store(slot(into), node, *bare),
                (None, None) => {}
            },
            Kind::Time { min, max, slot } => {
                let Some(word) = node.values.first() else { return };
                match value::time(word) {
                    Ok(time) if time.duration < *min || time.duration > *max => {
                        self.wrong(name, word, &self.wanted(keyword), Wrong::OutOfRange);
                    }
                    Ok(time) => {
                        self.explain_time(word, time);
                        self.store(slot(into), node, time.duration);
                    }
                    Err(wrong) => self.wrong(name, word, &self.wanted(keyword), wrong),
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
                if let Some(value) = self.address(name, word) {
                    self.store(slot(into), node, value);
                }
            }
            Kind::Words { read, .. } | Kind::Block { read, .. } | Kind::Lines { read, .. } => {
                read(into, node, self);
            }
            Kind::Unread => {}
        }
    }

    /// Says what becomes of a statement that does not do what it says.
    fn say(&mut self, support: Support, node: &Node) {
        let (name, at) = (&*node.keyword.text, node.keyword.span);
        // A block is told by its name, too: `vrrp_instance VI_1`.
        let (named, whole) = match (&node.block, node.values.first()) {
            (Some(_), Some(first)) => (format!("{name} {}", first.text), at.to(first.span)),
            _ => (name.to_owned(), at),
        };
        match support {
            Support::Supported | Support::Deprecated(_) => {}
            Support::Ignored(why) => self.warning(whole, format!("`{named}` is ignored: {why}")),
            Support::Refused(why) => self.error(whole, format!("`{named}` is refused: {why}")),
        }
    }

    fn explain_time(&mut self, word: &Word, time: value::Time) {
        if time.has_unit && !self.is_yaml() {
            let text = format!("`{}` is {} seconds", word.text, seconds(time.duration));
            self.diagnostics.push(Diagnostic::warning(word.span, text).help(format!(
                "write `{}`: keepalived knows no units and misreads it",
                seconds(time.duration)
            )));
        }
        if time.is_rounded && self.is_yaml() {
            self.error(
                word.span,
                format!("`{}` has more than six decimals: times count in microseconds", word.text),
            );
        } else if time.is_rounded {
            let text = format!(
                "`{}` is rounded to {} seconds: six decimals count",
                word.text,
                seconds(time.duration)
            );
            self.warning(word.span, text);
        }
    }

    /// Whether a statement has the words and the block its keyword wants; complains otherwise.
    fn has_form<T>(&mut self, table: &Table<T>, keyword: &Keyword<T>, node: &Node) -> bool {
        // In YAML nothing behind a key is no value.
        let alone = usize::from(self.is_yaml());
        let (min, max, wants_block) = match &keyword.kind {
            Kind::Flag(_) => (alone, 1, false),
            Kind::Number { bare, .. } => (alone.max(usize::from(bare.is_none())), 1, false),
            Kind::Time { .. } | Kind::Text { .. } | Kind::Address(_) => (1, 1, false),
            Kind::Words { min, max, .. } => (alone.max(*min), *max, false),
            Kind::Block { max, .. } => (0, *max, true),
            Kind::Lines { .. } if self.is_yaml() && (node.block.is_some() || !node.values.is_empty()) => {
                return true;
            }
            Kind::Lines { takes_line: true, .. } if node.block.is_none() && !node.values.is_empty() => {
                return true;
            }
            Kind::Lines { .. } => (alone, 0, !self.is_yaml()),
            Kind::Unread => return true,
        };
        let (name, at) = (&*node.keyword.text, node.keyword.span);
        if wants_block && node.block.is_none() {
            let problem = Diagnostic::error(at, format!("`{name}` needs a block"));
            let help = self.by_language(
                format!("write `{name} {}`", self.wanted(keyword)),
                format!("write `key: value` lines below `{name}:`, each indented"),
            );
            let problem = problem.help(help);
            self.diagnostics.push(if self.is_yaml() { problem } else { problem.code(Code::Brace) });
            return false;
        }
        if !wants_block && node.block.is_some() {
            let is_one_of_ours = |inner: &Node| table.find(&inner.keyword, self.language).is_some();
            let ours = node.statements().iter().find(|inner| is_one_of_ours(inner));
            let help = match (self.glued(table, node, min), ours) {
                _ if self.is_yaml() => format!("write `{name}: VALUE`, VALUE being {}", self.wanted(keyword)),
                // An operator who only removes the block would lose its content.
                (Some(next), _) => new_line_before(next),
                (None, Some(inner)) => {
                    format!(
                        "remove the braces, and leave what is in them: `{}` belongs here",
                        inner.keyword.text
                    )
                }
                (None, None) if node.statements().is_empty() => "remove the braces".to_owned(),
                (None, None) => {
                    "remove the braces and what is in them, which belongs to something else".to_owned()
                }
            };
            let problem = Diagnostic::error(at, format!("`{name}` has no block")).help(help);
            self.diagnostics.push(if self.is_yaml() { problem } else { problem.code(Code::Surplus) });
            return false;
        }
        if node.values.len() < min {
            let wanted = self.wanted(keyword);
            let help = self.by_language(
                format!("write `{name}` and {wanted}"),
                format!("write `{name}: VALUE`, VALUE being {wanted}"),
            );
            self.diagnostics.push(Diagnostic::error(at, format!("`{name}` needs a value")).help(help));
            return false;
        }
        if let (Some(first), Some(last)) = (node.values.get(max), node.values.last()) {
            let next = self.glued(table, node, min);
            self.surplus(name, first.span.to(last.span), node.values.len() == max + 1, next);
        }
        true
    }

    /// The first word behind so many values that begins a statement: it was meant to stand on a line of its own.
    fn glued<'n, T>(&self, table: &Table<T>, node: &'n Node, values: usize) -> Option<&'n Word> {
        let words = node.values.iter().skip(values).filter(|word| !word.is_quoted);
        let mut words = words.filter(|_| self.language == Language::Keepalived);
        let ours = words.clone().find(|word| table.find(word, self.language).is_some());
        // A sentence that lacks its `#` may have a word that is a keyword somewhere.
        let elsewhere = || words.find(|word| node.block.is_some() && (self.belongs)(word).is_some());
        ours.or_else(elsewhere)
    }

    fn surplus(&mut self, name: &str, span: Span, is_one: bool, next: Option<&Word>) {
        if self.is_yaml() {
            let problem = Diagnostic::error(span, format!("`{name}` takes fewer values"));
            return self.diagnostics.push(problem.help("remove these"));
        }
        let (verb, what) = match is_one {
            true => ("is", "a surplus word, which is ignored"),
            false => ("are", "surplus words, which are ignored"),
        };
        let problem =
            Diagnostic::warning(span, format!("behind `{name}` there {verb} {what}")).help(match next {
                Some(next) => new_line_before(next),
                None => "one statement a line; a comment begins with `#`".to_owned(),
            });
        self.diagnostics.push(problem);
    }
}

/// `a, b or c`.
pub(crate) fn any_of<W: std::borrow::Borrow<str>>(words: &[W]) -> String {
    match words.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} or {}", rest.join(", "), last.borrow()),
        _ => words.concat(),
    }
}

/// Quotes of other scripts than programs': none of them is one to keepalived.
const TYPOGRAPHIC_QUOTES: [char; 7] =
    ['\u{201c}', '\u{201d}', '\u{201e}', '\u{201f}', '\u{ab}', '\u{bb}', '\u{ff02}'];

fn replace(span: Span, old: &str, new: &str) -> Edit {
    Edit::Replace { span, old: old.to_owned(), new: new.to_owned() }
}

/// What to do about a word that begins a statement behind another one.
fn new_line_before(word: &Word) -> String {
    format!("start a new line before `{}`", word.text)
}
