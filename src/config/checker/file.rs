//! FILE_CHECK.

use std::net::IpAddr;

use super::{Ask, CheckerBlock, CheckerForm, Inherited, yaml_type};
use crate::check::spec::Question;
use crate::check::spec::file::FileQuestion;
use crate::config::options::options;
use crate::config::vrrp::track::{Factor, read_factor};
use crate::config::vrrp::verify::is_there;
use crate::syntax::diagnostic::Diagnostic;
use crate::syntax::keyword::{Reader, Slot, Spanned, Table, get};
use crate::syntax::tree::{Node, Word};

options! {
    /// FILE_CHECK as it was written.
    pub(in crate::config) struct FileCheck {
        /// The track_file whose number counts.
        file: Slot<Word> = word(=> file; "track_file", "NAME").yaml(&["file"]);
        /// What its number is multiplied with before it is added to the real server's weight; 0: another number than 0 is a failure. Without it the weight of the track_file.
        weight: Slot<Factor> = words(=> weight; "weight", WEIGHT, 1, 2);
        /// It counts the other way round.
        is_reversed: Slot<bool> = flag("reverse").only_yaml();
        /// Nothing.
        _ = unread("dynamic", Support::Ignored("keepalived's manual has the word and keepalived does not: the number counts by `weight` in any case")).not_yaml();
    }
}

const WEIGHT: &str = "a whole number from -2147483647 to 2147483647 [reverse|noreverse]";

impl CheckerForm for FileCheck {
    const KEYWORD: &'static str = "FILE_CHECK";
    const TYPE: &'static str = "file";
    const EXAMPLE: &'static str = "`check: {type: file, file: NAME}`";
    const DOC: &'static str = "Weight, or up and down, from the number in a file.";
    const TABLE: Table<CheckerBlock<FileCheck>> =
        Table::of("FILE_CHECK", "a check of type file", &[FileCheck::keywords(), &[yaml_type()]]);

    fn verify(node: &Node, reader: &mut Reader<'_>) {
        let words = FileCheck::keywords::<FileCheck>();
        let word = reader.spelling(words, "track_file");
        if !node.statements().iter().any(|s| &*s.keyword.text == word) {
            let example = reader.example(words, "track_file", "NAME");
            let text = format!("this check needs a `{word}`");
            let help = format!("write `{example}`, the name of a track_file");
            reader.diagnostics.push(Diagnostic::error(node.keyword.span, text).help(help));
        }
    }
}

fn file(slot: &mut Slot<Word>, node: &Node, reader: &mut Reader<'_>) {
    if let Some(word) = node.values.first() {
        reader.store(slot, node, word.clone());
    }
}

fn weight(slot: &mut Slot<Factor>, node: &Node, reader: &mut Reader<'_>) {
    if let Some(factor) = read_factor(node, i32::MAX, reader) {
        reader.store(slot, node, factor);
    }
}

impl Ask for FileCheck {
    fn needs_port(&self) -> bool {
        false
    }

    fn no_track(&self) -> Option<&'static str> {
        Some("the number in a file is tracked by `track_file` in the instance")
    }

    fn is_verdict(&self) -> bool {
        true
    }

    fn question(&self, _: IpAddr, from: &Inherited<'_>, reader: &mut Reader<'_>) -> Option<Question> {
        let Spanned { value: name, .. } = self.file.as_ref()?;
        let defined = from.files.iter().map(|f| (&*f.name.text, f.name.span)).collect();
        if !is_there("track_file", name, &defined, reader) {
            return None;
        }
        let usual = from.files.iter().find(|f| f.name == *name)?.usual_weight();
        let own = get(&self.weight);
        let is_reversed = get(&self.is_reversed).or(own.and_then(|w| w.is_reversed)).or(usual.is_reversed);
        Some(Question::File(Box::new(FileQuestion {
            file: name.text.to_string().into(),
            weight: own.map_or(i32::from(usual.weight), |w| w.weight),
            is_reversed: is_reversed.unwrap_or(false),
        })))
    }
}
