//! BFD_CHECK.

use std::net::IpAddr;

use super::{Ask, CheckerBlock, CheckerForm, Inherited, yaml_type};
use crate::check::spec::Question;
use crate::config::options::options;
use crate::config::vrrp::session::{self, Follower};
use crate::config::vrrp::verify::is_there;
use crate::syntax::diagnostic::Diagnostic;
use crate::syntax::keyword::{Keyword, Reader, Slot, Spanned, Table, flag};
use crate::syntax::tree::{Node, Word};

options! {
    /// BFD_CHECK as it was written.
    pub(in crate::config) struct BfdCheck {
        /// The `bfd_instance` whose state is the verdict.
        session: Slot<Word> = word(=> session; "name", "NAME").yaml(&["session"]);
    }
}

const fn alpha() -> Keyword<CheckerBlock<BfdCheck>> {
    flag(|o: &mut CheckerBlock<BfdCheck>| &mut o.timing.alpha, "alpha")
        .yaml(&["check_before_add"])
        .doc("Down until the session is up.")
}

impl CheckerForm for BfdCheck {
    const KEYWORD: &'static str = "BFD_CHECK";
    const TYPE: &'static str = "bfd";
    const EXAMPLE: &'static str = "`check: {type: bfd, session: NAME}`";
    const DOC: &'static str = "Up while a BFD session is.";
    const TABLE: Table<CheckerBlock<BfdCheck>> =
        Table::of("BFD_CHECK", "a check of type bfd", &[BfdCheck::keywords(), &[alpha(), yaml_type()]]);

    fn verify(node: &Node, reader: &mut Reader<'_>) {
        let words = BfdCheck::keywords::<BfdCheck>();
        let word = reader.spelling(words, "name");
        if !node.statements().iter().any(|s| &*s.keyword.text == word) {
            let example = reader.example(words, "name", "NAME");
            let text = format!("this check needs a `{word}`");
            let help = format!("write `{example}`, the name of a bfd_instance");
            reader.diagnostics.push(Diagnostic::error(node.keyword.span, text).help(help));
        }
    }
}

fn session(slot: &mut Slot<Word>, node: &Node, reader: &mut Reader<'_>) {
    if let Some(word) = node.values.first() {
        reader.store(slot, node, word.clone());
    }
}

impl Ask for BfdCheck {
    fn needs_port(&self) -> bool {
        false
    }

    fn no_track(&self) -> Option<&'static str> {
        Some("a session is tracked by `track_bfd`")
    }

    fn is_verdict(&self) -> bool {
        true
    }

    fn question(&self, _: IpAddr, from: &Inherited<'_>, reader: &mut Reader<'_>) -> Option<Question> {
        let Spanned { value: name, .. } = self.session.as_ref()?;
        let defined = from.sessions.iter().map(|s| (&*s.name.text, s.name.span)).collect();
        if !is_there("bfd_instance", name, &defined, reader) {
            return None;
        }
        session::may_follow(from.sessions, name, &Follower::Checker, reader)
            .then(|| Question::bfd(&name.text.to_string()))
    }
}
