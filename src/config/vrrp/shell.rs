//! What in a command only a shell would understand. No shell reads it, here as in keepalived: the program is started
//! with the words as they are, so `>` writes no file and `&&` runs nothing. It refuses to know who runs the command.

/// Words a shell carries out itself, where a program's name should be.
const SHELL_WORDS: &[&str] = &[
    "!", "(", ".", "[[", "alias", "case", "cd", "eval", "exec", "exit", "export", "for", "function", "if",
    "return", "set", "source", "trap", "ulimit", "umask", "unset", "until", "while", "{",
];

/// A sign that no shell will see.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sign {
    /// The word it is in.
    pub word: String,
    /// Whether it stands where the program's name should be.
    pub is_program: bool,
    /// The command with a shell around it, where that can be written without quotes in quotes.
    pub fixed: Option<String>,
}

/// The first sign of a command as it was written.
pub(crate) fn sign(text: &str) -> Option<Sign> {
    let tokens = tokens(text);
    let (at, token) = tokens.iter().enumerate().find(|(at, token)| token.is_shells(*at == 0))?;
    let fits = !text.contains(['\'', '\\']);
    Some(Sign {
        word: token.raw.clone(),
        is_program: at == 0,
        fixed: fits.then(|| format!("/bin/sh -c '{}'", text.trim())),
    })
}

/// A word with what of it stood outside quotes, and what a shell would expand.
#[derive(Debug, Default)]
struct Token {
    raw: String,
    bare: String,
    /// Outside single quotes.
    expanded: String,
}

impl Token {
    fn is_shells(&self, is_first: bool) -> bool {
        let bare = self.bare.as_str();
        let is_operator = matches!(bare, "&" | "|" | "||" | "&&" | ";" | ";;" | "|&")
            || bare.ends_with(';')
            || bare.ends_with("&&")
            || bare.starts_with('|')
            || bare.ends_with('|');
        let behind_number = bare.trim_start_matches(|c: char| c.is_ascii_digit() || c == '&');
        let is_redirection = behind_number.starts_with(['>', '<']);
        let is_glob = (bare.starts_with('/') || bare.starts_with("./")) && bare.contains('*');
        let is_home = bare == "~" || bare.starts_with("~/");
        let is_word = is_first && (SHELL_WORDS.contains(&bare) || is_assignment(bare));
        is_operator || is_redirection || is_glob || is_home || is_word || self.is_substituted()
    }

    /// `$NAME`, `${...}`, `$(...)`, `$?`, and commands in backquotes.
    fn is_substituted(&self) -> bool {
        let begins = |c: char| c.is_ascii_alphabetic() || "_{(?#@*".contains(c);
        let is_variable = self.expanded.split('$').skip(1).any(|rest| rest.starts_with(begins));
        is_variable || self.expanded.contains('`')
    }
}

/// `NAME=value` before a program.
fn is_assignment(word: &str) -> bool {
    let Some((name, _)) = word.split_once('=') else { return false };
    let is_of_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    !name.is_empty() && name.chars().all(is_of_name) && !name.starts_with(|c: char| c.is_ascii_digit())
}

/// Words as a shell splits them, with their quotes.
fn tokens(text: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut token: Option<Token> = None;
    let mut quote = None;
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if quote.is_none() && c.is_whitespace() {
            tokens.extend(token.take());
            continue;
        }
        let token = token.get_or_insert_default();
        token.raw.push(c);
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (None, '\'' | '"') => quote = Some(c),
            // What it takes away the meaning of is no sign.
            (None | Some('"'), '\\') => token.raw.extend(chars.next()),
            (None, c) => {
                token.bare.push(c);
                token.expanded.push(c);
            }
            (Some('"'), c) => token.expanded.push(c),
            (Some(_), _) => {}
        }
    }
    tokens.extend(token);
    tokens
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_only_a_shell_would_understand_is_found() {
        for (text, word) in [
            ("/bin/echo a > /tmp/a", ">"),
            ("/bin/echo a >>/tmp/a", ">>/tmp/a"),
            ("/bin/check 2>/dev/null", "2>/dev/null"),
            ("/bin/check 2>&1", "2>&1"),
            ("/bin/check &>/dev/null", "&>/dev/null"),
            ("/usr/bin/wc -l </etc/hosts", "</etc/hosts"),
            ("/usr/bin/test -e /a && /bin/true", "&&"),
            ("/bin/false || exit 1", "||"),
            ("/bin/ps aux| grep nginx", "aux|"),
            ("/bin/ps aux |grep nginx", "|grep"),
            ("/bin/false; /bin/true", "/bin/false;"),
            ("/bin/check &", "&"),
            ("kill -0 `cat /run/haproxy.pid`", "`cat"),
            ("kill -0 $(cat /run/haproxy.pid)", "$(cat"),
            ("/bin/ls $HOME", "$HOME"),
            ("/bin/ls \"${HOME}\"", "\"${HOME}\""),
            ("/bin/ls /run/*.pid", "/run/*.pid"),
            ("~/check.sh", "~/check.sh"),
            ("if true; then false; fi", "if"),
            ("! /bin/true", "!"),
            ("cd /tmp", "cd"),
            ("LANG=C /bin/check", "LANG=C"),
            ("/bin/sh -c echo a > /tmp/a", ">"),
        ] {
            let found = sign(text).map(|sign| sign.word);
            assert_eq!(found.as_deref(), Some(word), "{text}");
        }
    }

    #[test]
    fn what_is_quoted_or_means_the_same_without_a_shell_is_no_sign() {
        for text in [
            "/bin/sh -c 'echo a > /tmp/a && ls $HOME/*'",
            "/bin/bash -c \"test -e /a; true\"",
            "/usr/bin/curl -fsS http://127.0.0.1/?a=1&b=2",
            "/usr/bin/grep -E 'a|b' /etc/hosts",
            "/usr/bin/grep -E a|b /etc/hosts",
            "/usr/bin/awk '{print $1}' /proc/loadavg",
            "/usr/bin/awk {print$1} /proc/loadavg",
            "[ -e /etc/passwd ]",
            "test -e /etc/passwd",
            "killall -0 haproxy",
            "/bin/check a\\>b --at=12:00 *",
            "/bin/check costs 5$",
            "",
        ] {
            assert_eq!(sign(text), None, "{text}");
        }
    }

    #[test]
    fn the_fix_is_shown_where_it_can_be_written() {
        let fixed = |text| sign(text).and_then(|sign| sign.fixed);
        assert_eq!(fixed("/bin/a && /bin/b").as_deref(), Some("/bin/sh -c '/bin/a && /bin/b'"));
        assert_eq!(fixed("/bin/a 'b c' && /bin/b"), None);
    }
}
