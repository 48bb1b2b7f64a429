//! Commands: `COMMAND [USER [GROUP]]`, the command's words split as a shell would.

use std::path::Path;

use super::shell::{self, Sign};
use crate::syntax::diagnostic::Diagnostic;
use crate::syntax::files::Files;
use crate::syntax::keyword::{Keyword, Read, Reader, Slot, words};
use crate::syntax::source::Span;
use crate::syntax::tree::{Node, Word};
use crate::vrrp::settings::Command;

/// The user keepalived runs scripts as, where there is such a user.
const USUAL_USER: &str = "keepalived_script";
/// Where users are.
const USERS: &str = "/etc/passwd";
const MAX_USERS: usize = 1 << 20;
/// Where programs are looked for that are written without a path, as systemd starts the daemon.
const FOLDERS: [&str; 6] = ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"];
/// Every host has it.
pub(crate) const SHELL: &str = "/bin/sh";
/// Most words of a command.
const MAX_WORDS: usize = 256;

/// A command as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CommandOptions {
    /// The program and its arguments.
    pub(crate) words: Vec<String>,
    /// What in it only a shell would understand; rare, and the options of a real server have two commands.
    pub(crate) sign: Option<Box<Sign>>,
    /// Where it is.
    pub(crate) span: Span,
    /// `USER [GROUP]`.
    pub(crate) user: UserOptions,
}

/// `USER [GROUP]`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct UserOptions {
    /// User.
    pub(crate) user: Option<String>,
    /// Group.
    pub(crate) group: Option<String>,
}

impl UserOptions {
    /// From the words behind a command; `user:group` is both.
    pub(crate) fn new(words: &[Word]) -> UserOptions {
        let (first, second) = (words.first().map(|w| &*w.text), words.get(1).map(|w| w.text.to_string()));
        match first.and_then(|f| f.split_once(':')) {
            Some((user, group)) => UserOptions { user: Some(user.to_owned()), group: Some(group.to_owned()) },
            None => UserOptions { user: first.map(str::to_owned), group: second },
        }
    }
}

/// A keyword that takes a command.
pub(crate) const fn command<T>(read: Read<T>, name: &'static str) -> Keyword<T> {
    words(read, name, COMMAND, 1, 3)
}

pub(crate) const COMMAND: &str = "COMMAND [USER [GROUP]], a command of several words in quotes";

/// Reads the command of a statement.
pub(crate) fn read(slot: &mut Slot<CommandOptions>, node: &Node, reader: &mut Reader<'_>) {
    let Some((first, user)) = node.values.split_first() else { return };
    if let Some(words) = words_of(first, &node.keyword, reader) {
        let user = UserOptions::new(user);
        let sign = shell::sign(first).map(Box::new);
        reader.store_first(slot, node, CommandOptions { words, sign, span: node.span(), user });
    }
}

/// Reads `USER [GROUP]`.
pub(crate) fn read_user(slot: &mut Slot<UserOptions>, node: &Node, reader: &mut Reader<'_>) {
    reader.store(slot, node, UserOptions::new(&node.values));
}

/// The words of a command. None after saying what is wrong.
fn words_of(word: &Word, keyword: &Word, reader: &mut Reader<'_>) -> Option<Vec<String>> {
    let problem = match split(word) {
        Ok(words) if words.is_empty() => "the command is empty".to_owned(),
        Ok(words) if words.len() > MAX_WORDS => format!("the command has more than {MAX_WORDS} words"),
        Ok(words) => return Some(words),
        Err(quote) => format!("a quote {quote} is not closed"),
    };
    reader.error(word.span, format!("`{}`: {problem}", keyword.text));
    None
}

/// Splits at blanks outside quotes; within double quotes and without quotes a backslash takes the next character as it
/// is. What is wrong is a quote without end.
fn split(text: &str) -> Result<Vec<String>, char> {
    let mut words: Vec<String> = Vec::new();
    let mut word: Option<String> = None;
    let mut quote: Option<char> = None;
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (None, '\'' | '"') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None, c) if c.is_whitespace() => words.extend(word.take()),
            (None | Some('"'), '\\') => word.get_or_insert_default().extend(chars.next()),
            (_, c) => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    quote.map_or(Ok(words), Err)
}

/// The user of commands that name none.
pub(crate) fn usual_user(script_user: Option<UserOptions>, files: &dyn Files) -> UserOptions {
    script_user.unwrap_or_else(|| {
        let users = files.read(Path::new(USERS), MAX_USERS).unwrap_or_default();
        let is_there =
            String::from_utf8_lossy(&users).lines().any(|line| line.split(':').next() == Some(USUAL_USER));
        UserOptions { user: is_there.then(|| USUAL_USER.to_owned()), group: None }
    })
}

/// A command with the user it runs as.
pub(crate) fn resolve(options: &CommandOptions, usual: &UserOptions) -> Command {
    let UserOptions { user, group } =
        if options.user.user.is_some() { options.user.clone() } else { usual.clone() };
    Command { words: options.words.clone(), user, group }
}

/// Says that the program of a command is not there: it will fail, where keepalived goes on as if it had not; and what in
/// it no shell will see.
pub(crate) fn verify(
    options: &CommandOptions,
    what: &str,
    then: &str,
    files: &dyn Files,
    reader: &mut Reader<'_>,
) {
    if let Some(sign) = &options.sign {
        return reader.diagnostics.push(unseen(options, sign, what, then));
    }
    let program = match &options.words[..] {
        [sign, path] if sign == "<" => path,
        [program, ..] => program,
        [] => return,
    };
    if program.starts_with('/') && !files.exists(Path::new(program)) {
        let problem = Diagnostic::warning(options.span, format!("{what}: {program}: there is no such file"));
        reader.diagnostics.push(problem.of_this_host().help(then));
    }
    let is_anywhere = || FOLDERS.iter().any(|folder| files.exists(&Path::new(folder).join(program)));
    // A host that shows no shell shows none of its programs.
    if !program.contains('/') && files.exists(Path::new(SHELL)) && !is_anywhere() {
        let text = format!("{what}: {program}: there is no such program in {}", FOLDERS.join(", "));
        let problem = Diagnostic::warning(options.span, text);
        reader.diagnostics.push(problem.of_this_host().help(format!("write its whole path; {then}")));
    }
}

/// A sign that no shell will see.
fn unseen(options: &CommandOptions, sign: &Sign, what: &str, then: &str) -> Diagnostic {
    let Sign { word, is_program, fixed } = sign;
    let program = options.words.first().map_or("", String::as_str);
    let becomes = if *is_program {
        format!("`{word}` is looked for as a program")
    } else {
        format!("`{word}` is an argument of {program}")
    };
    let text = format!("{what}: no shell reads this command: {becomes}");
    let next = match fixed {
        Some(fixed) => format!("write `{fixed}`, or put it into a script"),
        None => "put it into a script, and write the script's path".to_owned(),
    };
    let help = if *is_program {
        format!("{next}; {then}")
    } else {
        format!("{next}; keepalived starts none either")
    };
    Diagnostic::warning(options.span, text).help(help)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_split_as_a_shell_would() {
        let words = |text| split(text).unwrap();
        assert_eq!(words("/bin/a  b\tc"), ["/bin/a", "b", "c"]);
        assert_eq!(words(r#"/bin/a "b c" 'd "e' f\ g """#), ["/bin/a", "b c", "d \"e", "f g", ""]);
        assert_eq!(words(r#"a"b\"c"'d\'"#), ["ab\"cd\\"]);
        assert!(words("  ").is_empty());
        assert_eq!(split("a 'b"), Err('\''));
    }
}
