//! How a configuration is written down: blanks, comments, braces, quotes, definitions, repetitions, conditions and
//! includes, as years of hands leave them. What it says is [`super::words`]' business, and is the same however it is written.
#![allow(clippy::indexing_slicing)] // by numbers drawn below the length

use std::fmt::Write as _;

/// What `@` lines of a generated file compare with: what both programs are given as their `--config-id`.
pub(super) const HERE: &str = "here";

/// A statement: its words, and its block if it has one.
#[derive(Clone, Debug)]
pub(super) struct Statement {
    pub words: Vec<String>,
    pub block: Option<Vec<Statement>>,
}

/// A statement without a block.
pub(super) fn line(words: impl AsRef<str>) -> Statement {
    let words = words.as_ref();
    let quoted = words.find('"').unwrap_or(words.len());
    let (plain, quoted) = words.split_at(quoted);
    let mut words: Vec<String> = plain.split_whitespace().map(str::to_owned).collect();
    words.extend((!quoted.is_empty()).then(|| quoted.to_owned()));
    Statement { words, block: None }
}

/// A statement with a block.
pub(super) fn block(words: impl AsRef<str>, block: Vec<Statement>) -> Statement {
    Statement { block: Some(block), ..line(words) }
}

/// A configuration: its main file, and what that includes, by their names.
#[derive(Clone, Debug, Default)]
pub(super) struct Files {
    pub main: String,
    pub included: Vec<(String, String)>,
}

/// Writes statements plainly, one a line: what a fault is put into.
pub(super) fn plainly(statements: &[Statement]) -> String {
    fn into(statements: &[Statement], depth: usize, text: &mut String) {
        let indent = "    ".repeat(depth);
        for statement in statements {
            let _ = write!(text, "{indent}{}", statement.words.join(" "));
            match &statement.block {
                None => text.push('\n'),
                Some(block) => {
                    text.push_str(" {\n");
                    into(block, depth + 1, text);
                    let _ = writeln!(text, "{indent}}}");
                }
            }
        }
    }
    let mut text = String::new();
    into(statements, 0, &mut text);
    text
}

/// Writes statements by a hand of its own.
pub(super) fn oddly(rng: &mut fastrand::Rng, statements: &[Statement]) -> Files {
    let mut hand = Hand { rng, definitions: String::new(), defined: 0, files: Files::default() };
    let mut text = String::new();
    hand.all(statements, 0, &mut text);
    hand.files.main = format!("! {} \"written\" by no one's {{ hand\n{}{text}", HERE, hand.definitions);
    hand.files
}

struct Hand<'a> {
    rng: &'a mut fastrand::Rng,
    /// Lines that define what the others use.
    definitions: String,
    defined: usize,
    files: Files,
}

impl Hand<'_> {
    fn one_in(&mut self, n: u32) -> bool {
        self.rng.u32(0..n) == 0
    }

    fn indent(&mut self, depth: usize) -> String {
        match self.rng.u8(0..8) {
            0 => String::new(),
            1 => "\t".repeat(depth),
            2 => " ".repeat(self.rng.usize(0..9)),
            _ => "    ".repeat(depth),
        }
    }

    fn all(&mut self, statements: &[Statement], depth: usize, text: &mut String) {
        let mut rest = statements;
        while !rest.is_empty() {
            let run = self.rng.usize(1..4).min(rest.len());
            let (now, later) = rest.split_at(run);
            rest = later;
            match self.rng.u8(0..16) {
                0 if depth < 2 => self.include(now, depth, text),
                1 if depth > 0 => self.define(now, text),
                2 => self.decoy(now, text),
                _ => {
                    for statement in now {
                        self.one(statement, depth, text);
                    }
                }
            }
        }
    }

    /// Statements of a file of their own.
    fn include(&mut self, statements: &[Statement], depth: usize, text: &mut String) {
        let number = self.files.included.len();
        let mut part = String::new();
        // Its place is taken before its own includes take theirs.
        self.files.included.push((String::new(), String::new()));
        self.all(statements, depth, &mut part);
        let is_pattern = self.rng.bool();
        let name = format!("part-{number}-{}.conf", if is_pattern { "one" } else { "all" });
        if let Some(place) = self.files.included.get_mut(number) {
            *place = (name.clone(), part);
        }
        let name = if is_pattern { format!("part-{number}-*.conf") } else { name };
        let _ = writeln!(text, "include {name}");
    }

    /// Statements that are the lines of a definition.
    fn define(&mut self, statements: &[Statement], text: &mut String) {
        self.defined += 1;
        let name = format!("BLOCK_{}", self.defined);
        let body = plainly(statements);
        let lines: Vec<&str> = body.lines().collect();
        let _ = writeln!(self.definitions, "${name}={}", lines.join(" \\\n"));
        let _ = writeln!(text, "${name}");
    }

    /// Statements of another host before those of this one.
    fn decoy(&mut self, statements: &[Statement], text: &mut String) {
        let body = plainly(statements);
        let condition = if self.rng.bool() { "@there".to_owned() } else { format!("@^{HERE}") };
        for line in body.lines() {
            let _ = writeln!(text, "{condition} {}", line.trim_start());
        }
        let condition = if self.rng.bool() { format!("@{HERE}") } else { "@^there".to_owned() };
        for line in body.lines() {
            let _ = writeln!(text, "{condition} {}", line.trim_start());
        }
    }

    fn one(&mut self, statement: &Statement, depth: usize, text: &mut String) {
        if self.one_in(12) {
            text.push_str(
                ["\n", "  \t\n", "# a { comment\n", "! it's \"one\n", "   # }\n"][self.rng.usize(0..5)],
            );
        }
        let indent = self.indent(depth);
        text.push_str(&indent);
        let words = self.words(&statement.words);
        text.push_str(&words);
        let Some(block) = &statement.block else {
            self.end_of_line(text);
            return;
        };
        match self.rng.u8(0..6) {
            0 => text.push_str("\n{"),
            1 => text.push_str("  # opens\n\n\t{ "),
            _ => text.push_str(" {"),
        }
        if block.len() == 1 && block[0].block.is_none() && self.one_in(3) {
            let words = self.words(&block[0].words);
            let _ = writeln!(text, " {words} }}");
            return;
        }
        self.end_of_line(text);
        self.all(block, depth + 1, text);
        let indent = self.indent(depth);
        let _ = write!(text, "{indent}}}");
        self.end_of_line(text);
    }

    fn end_of_line(&mut self, text: &mut String) {
        text.push_str(match self.rng.u8(0..24) {
            0 => " # and { more",
            1 => "   ! \"",
            2 => " ",
            3 => "\t\t",
            4 => "\r",
            _ => "",
        });
        text.push('\n');
    }

    fn words(&mut self, words: &[String]) -> String {
        let mut text = String::new();
        for (at, word) in words.iter().enumerate() {
            if at > 0 {
                text.push_str(["  ", "\t", " ", " ", " ", " "][self.rng.usize(0..6)]);
            }
            let is_plain = at > 0 && !word.contains(['"', '$', '\\', '@', '~']);
            if is_plain && self.one_in(20) {
                self.defined += 1;
                let name = format!("WORD{}", self.defined);
                let _ = writeln!(self.definitions, "${name}={word}");
                if self.rng.bool() {
                    let _ = write!(text, "${{{name}}}");
                } else {
                    let _ = write!(text, "${name}");
                }
            } else {
                text.push_str(word);
            }
        }
        text
    }
}
