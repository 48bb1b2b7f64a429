//! A tree as text that reads back as the same tree: how tests compare trees.

use std::fmt::{self, Write};

use super::tree::{Node, Word};

/// A tree as text that reads back as the same tree.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Print<'a>(pub &'a [Node]);

impl fmt::Display for Print<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        print(self.0, 0, f)
    }
}

fn print(nodes: &[Node], depth: usize, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    for node in nodes {
        write!(f, "{:1$}", "", depth * 4)?;
        // At the beginning of a line these would be definitions, conditions, repetitions, includes.
        let begins_other = node.keyword.starts_with(['$', '@', '~']) || node.keyword.starts_with("include");
        if begins_other && !node.keyword.is_quoted {
            write!(f, "\"{}\"", node.keyword.text)?;
        } else {
            print_word(&node.keyword, f)?;
        }
        for value in &node.values {
            f.write_char(' ')?;
            print_word(value, f)?;
        }
        if let Some(block) = &node.block {
            f.write_str(" {\n")?;
            print(block, depth + 1, f)?;
            write!(f, "{:1$}}}", "", depth * 4)?;
        }
        f.write_char('\n')?;
    }
    Ok(())
}

fn print_word(word: &Word, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    if word.is_quoted {
        return write!(f, "\"{}\"", word.text);
    }
    for c in word.text.chars() {
        if matches!(c, '#' | '!') {
            f.write_char('\\')?;
        }
        f.write_char(c)?;
    }
    Ok(())
}
