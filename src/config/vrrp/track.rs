//! What instances and groups follow (`track_interface` and the like), and whom they tell.

use crate::syntax::diagnostic::Diagnostic;
use crate::syntax::keyword::{Form, Keyword, Kind, Reader, nearest};
use crate::syntax::tree::{Node, Word};
use crate::syntax::value::Wrong;

use super::{COMMAND, VRRP, list, word};

/// What is followed, by name.
#[derive(Clone, Debug, Default)]
pub struct Tracked {
    /// `track_interface`.
    pub interfaces: Vec<Word>,
    /// `track_script`.
    pub scripts: Vec<Word>,
}

/// A block that follows and tells.
pub trait HasTracked: Sized + 'static {
    /// What it follows.
    fn tracked(&mut self) -> &mut Tracked;

    /// Their keywords.
    const TRACKING: &'static [Keyword<Self>] = &[
        list(
            "track_interface",
            VRRP,
            |o: &mut Self, n, r| o.tracked().interfaces.extend(names(n, r)),
            "Interfaces that change the priority, or put it in Fault.",
        ),
        list(
            "track_script",
            VRRP,
            |o: &mut Self, n, r| o.tracked().scripts.extend(names(n, r)),
            "Scripts that change the priority, or put it in Fault.",
        ),
        list("track_file", VRRP, |_, n, r| drop(names(n, r)), "Files whose numbers change the priority."),
        list("track_process", VRRP, |_, n, r| drop(names(n, r)), "Processes that change the priority."),
        list("track_bfd", VRRP, |_, n, r| drop(names(n, r)), "BFD sessions that change the priority."),
        word("notify", COMMAND, "Script to run at any change of state."),
        word("notify_master", COMMAND, "Script to run on becoming Master."),
        word("notify_backup", COMMAND, "Script to run on becoming Backup."),
        word("notify_fault", COMMAND, "Script to run on a fault."),
        word("notify_stop", COMMAND, "Script to run at the end."),
        word("notify_priority_changes", Form::Flag, "Tell the FIFO about priorities, too."),
        word("smtp_alert", Form::Flag, "Send mails about changes of state."),
    ];
}

/// Reads a block of `NAME [weight N] [reverse]` lines.
fn names(node: &Node, reader: &mut Reader<'_>) -> Vec<Word> {
    for line in node.statements() {
        match line.values.split_first() {
            None => {}
            Some((first, rest)) if &*first.text == "weight" => weight_words(first, rest, reader),
            Some((first, _)) => {
                let text = format!("`{}`: `{}` is not `weight`", node.keyword.text, first.text);
                let help = match nearest(first, ["weight"].into_iter()) {
                    Some(likely) => format!("did you mean `{likely}`?"),
                    None => "one name a line; a comment begins with `#`".to_owned(),
                };
                reader.diagnostics.push(Diagnostic::error(first.span, text).help(help));
            }
        }
        if line.block.is_some() {
            let text = format!("`{}` in `{}` has no block", line.keyword.text, node.keyword.text);
            let problem = Diagnostic::error(line.keyword.span, text);
            reader.diagnostics.push(problem.help("look for a missing or surplus brace above"));
        }
    }
    node.statements().iter().map(|line| line.keyword.clone()).collect()
}

/// `weight N [reverse|noreverse]`, as a keyword of a block.
pub const fn weight<T>() -> Kind<T> {
    Kind::Words {
        what: WEIGHT,
        min: 1,
        max: 2,
        read: |_, node, reader| weight_words(&node.keyword, &node.values, reader),
    }
}

const WEIGHT: &str = "a whole number from -254 to 254 [reverse|noreverse]";

fn weight_words(keyword: &Word, words: &[Word], reader: &mut Reader<'_>) {
    let Some(number) = words.first() else {
        let problem = Diagnostic::error(keyword.span, "`weight` needs a value");
        return reader.diagnostics.push(problem.help(format!("write {WEIGHT}")));
    };
    match number.parse::<i32>() {
        Ok(-254..=254) => {}
        Ok(_) => reader.wrong("weight", number, "a whole number from -254 to 254", Wrong::OutOfRange),
        Err(_) => reader.wrong("weight", number, "a whole number from -254 to 254", Wrong::Malformed(None)),
    }
    if let Some(word) = words.get(1).filter(|w| !matches!(&*w.text, "reverse" | "noreverse")) {
        let likely = nearest(word, ["reverse", "noreverse"].into_iter());
        let hint = likely.map(|l| format!("did you mean `{l}`?"));
        reader.wrong("weight", word, "`reverse` or `noreverse`", Wrong::Malformed(hint));
    }
}
