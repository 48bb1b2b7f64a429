//! README.md and docs/: the commands they show can be typed, the configurations load, the links lead somewhere.

use std::path::{Path, PathBuf};

use clap::Parser as _;

use crate::cli::Arguments;
use crate::config::Strictness;
use crate::config::load::load_from;
use crate::syntax::files::MemoryFiles;

/// A page of the documentation.
struct Page {
    path: PathBuf,
    text: String,
}

/// A fenced block: the word behind its fence, and its lines.
struct Block<'a> {
    language: &'a str,
    lines: Vec<&'a str>,
}

fn pages() -> Vec<Page> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let entries = std::fs::read_dir(root.join("docs")).unwrap();
    let docs =
        entries.map(|entry| entry.unwrap().path()).filter(|p| p.extension().is_some_and(|e| e == "md"));
    let pages = docs.chain([root.join("README.md")]);
    pages.map(|path| Page { text: std::fs::read_to_string(&path).unwrap(), path }).collect()
}

impl Page {
    fn blocks(&self) -> Vec<Block<'_>> {
        let mut blocks: Vec<Block<'_>> = Vec::new();
        let mut is_open = false;
        for line in self.text.lines() {
            match (line.strip_prefix("```"), is_open) {
                (Some(language), false) => {
                    blocks.push(Block { language, lines: Vec::new() });
                    is_open = true;
                }
                (Some(_), true) => is_open = false,
                (None, true) => blocks.last_mut().unwrap().lines.push(line),
                (None, false) => {}
            }
        }
        assert!(!is_open, "{}: a block without end", self.path.display());
        blocks
    }

    /// The commands of lvsd in it: lines of blocks, and what stands between backticks.
    fn commands(&self) -> Vec<&str> {
        let lines = self.blocks().into_iter().filter(|block| block.language.is_empty()).flat_map(|b| b.lines);
        let quoted =
            self.text.lines().filter(|l| !l.starts_with("```")).flat_map(|l| l.split('`').skip(1).step_by(2));
        lines
            .chain(quoted)
            .filter_map(|line| {
                let command = line.split('#').next().unwrap_or_default().trim();
                let command = command.trim_start_matches("$ ").trim_start_matches("sudo ");
                (command == "lvsd" || command.starts_with("lvsd ")).then_some(command)
            })
            .filter(|command| !command.starts_with("lvsd 0."))
            .collect()
    }
}

#[test]
fn commands_of_the_documentation_can_be_typed() {
    let mut tried = 0;
    for page in pages() {
        for command in page.commands() {
            // `reload`, said of the command as such, needs no more; a placeholder stands for a value.
            let words = command.split_whitespace().map(|word| match word {
                "ADDR" => "192.0.2.1",
                "ADDR:PORT" => "127.0.0.1:7112",
                other => other,
            });
            tried += 1;
            if let Err(error) = Arguments::try_parse_from(words) {
                let is_help = matches!(
                    error.kind(),
                    clap::error::ErrorKind::DisplayHelp
                        | clap::error::ErrorKind::DisplayVersion
                        | clap::error::ErrorKind::MissingRequiredArgument
                        | clap::error::ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand
                );
                assert!(is_help, "{}: `{command}`: {error}", page.path.display());
            }
        }
    }
    assert!(tried >= 30, "{tried} commands");
}

#[test]
fn configurations_of_the_documentation_load_without_errors() {
    let mut tried = 0;
    for page in pages() {
        for block in page.blocks().iter().filter(|block| matches!(block.language, "conf" | "yaml")) {
            let name = format!("/etc/lvsd/page.{}", block.language);
            let files = MemoryFiles::new(&[(&name, &block.lines.join("\n"))]);
            let loaded = load_from(&files, Path::new(&name), Strictness::Strict);
            assert!(loaded.config.is_some(), "{}: {:?}", page.path.display(), loaded.diagnostics);
            tried += 1;
        }
    }
    assert!(tried >= 2, "{tried} configurations");
}

#[test]
fn links_of_the_documentation_lead_somewhere() {
    for page in pages() {
        for target in page.text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if target.contains("://") {
                continue;
            }
            let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
            let path =
                if file.is_empty() { page.path.clone() } else { page.path.parent().unwrap().join(file) };
            assert!(path.exists(), "{}: {target}", page.path.display());
            if !anchor.is_empty() {
                let text = std::fs::read_to_string(&path).unwrap();
                let mut headings = text.lines().filter(|line| line.starts_with('#')).map(slug);
                assert!(headings.any(|slug| slug == anchor), "{}: {target}", page.path.display());
            }
        }
    }
}

/// A heading as links name it.
fn slug(heading: &str) -> String {
    let words = heading.trim_start_matches('#').trim().to_lowercase();
    let kept = words.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}
