//! `keepalived -t` and `lvsd check --offline` read the same files: whole ones, written by an odd hand, and plain ones with one
//! fault: a word dropped, doubled, misspelt or strange, a brace lost or surplus, a line lost or doubled.
//!
//! What keepalived goes on with and lvsd refuses is a kind of [`REFUSED`], which are rows of docs/differences.md; and one
//! fault is one error.
#![allow(clippy::indexing_slicing)] // by numbers drawn below the length

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};

use super::text::{Files, HERE, oddly, plainly};
use super::words::configuration;
use super::{SCHEDULERS, seeds, write};
use crate::lab::daemon::lvsd_binary;
use crate::lab::{Verdict, claim};

/// Faults put into each file, one at a time.
const FAULTS: usize = 12;

/// Parts of the messages of all errors that keepalived goes on without, each a row of docs/differences.md.
const REFUSED: &[&str] = &[
    // A brace is missing or surplus.
    "closes nothing",
    "is never closed", // a quote, too
    "needs a block",
    "has no block",
    "without a keyword before it",
    "needs a name",
    "blocks nest deeper",
    // A word that no keepalived ever had.
    "is not a keyword of",
    "is not a word of",
    "is not an entry of",
    // A keyword without its value, or with one that cannot be read.
    "needs a value",
    ": `` is not ",
    "is not the path of a FIFO",
    "is not an address",
    "takes",
    "is empty",
    "the kernel refuses it",
    "mixes IPv and IPv",
    // What a block cannot be without.
    "needs a gateway or an interface",
    " has no ``",
    "has no password",
    "needs a ``",
    "is on no interface",
    "names no",
    // A name that nothing has, or two things.
    "there is no ",
    "twice",
    "has the same",
    " already",
    // A path that scripts cannot have.
    "is no command",
];

/// Parts of the messages of errors of which one fault may make several.
const SEVERAL: &[&str] = &[
    // A block without its name is read, and what names it does not find it.
    "needs a name ; : there is no ",
    // An option that swallows the next one leaves that one's value behind.
    "is not an IPv address, + or - ; : `` is not a keyword of address",
    "a next hop needs a gateway or an interface ; :",
    // A range of addresses twice is as many virtual servers twice.
    "is defined twice ; : virtual server",
    // A word in the place of the one that is wanted: that it lacks, and that this one is unknown.
    "has no password ; : `` is not a keyword of authentication",
    "is on no interface",
    "needs a `` ; : `` without a keyword before it",
    // The lines of a block whose own line is lost; the rest of a line that lost its first word.
    "is not a keyword of global_defs ; : `` closes nothing",
    " `` ; : `` is not a keyword of track",
];

pub(crate) fn run() -> Verdict {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("differential");
    let mut keepalived = Judge::start(&folder)?;
    let mut found = Found::default();
    for seed in seeds()? {
        let mut rng = fastrand::Rng::with_seed(seed);
        let statements = configuration(&mut rng, &SCHEDULERS, 3);
        let files = oddly(&mut rng, &statements);
        found.judge(&folder, &mut keepalived, &format!("seed {seed}"), &files)?;
        let plain = plainly(&statements);
        for _ in 0..FAULTS {
            let (what, main) = fault(&mut rng, &plain);
            let files = Files { main, included: Vec::new() };
            found.judge(&folder, &mut keepalived, &format!("seed {seed}, {what}"), &files)?;
        }
    }
    found.told(&folder)
}

/// A shell that runs `keepalived -t` for each path it reads, in a network of its own with the interfaces that the files
/// name. keepalived loops for ever over some broken files, hence the limit.
struct Judge {
    shell: Child,
    answers: BufReader<ChildStdout>,
    said: PathBuf,
}

impl Judge {
    fn start(folder: &Path) -> Result<Judge, String> {
        fs::create_dir_all(folder).map_err(|e| format!("{}: {e}", folder.display()))?;
        let said = folder.join("said");
        let script = format!(
            "ip link add eth0 type veth peer name eth1; ip link add eth2 type veth peer name eth3\n\
             for i in 0 1 2; do ip link set eth$i up; ip addr add 10.$((i * 2 + 1)).0.11/16 dev eth$i; done\n\
             ip addr add fd00:1::11/64 dev eth0 nodad\n\
             while read file; do timeout 3 keepalived -t -i {HERE} -f $file >{} 2>&1; echo $?; done",
            said.display()
        );
        let mut command = Command::new("unshare");
        command.args(["-r", "-n", "sh", "-c", &script]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut shell = command.spawn().map_err(|e| format!("unshare: {e}"))?;
        let answers = BufReader::new(shell.stdout.take().ok_or("no output")?);
        Ok(Judge { shell, answers, said })
    }

    /// The exit status, and what was said.
    fn judge(&mut self, path: &Path) -> Result<(i32, String), String> {
        let stdin = self.shell.stdin.as_mut().ok_or("no input")?;
        writeln!(stdin, "{}", path.display()).map_err(|e| format!("unshare: {e}"))?;
        let mut answer = String::new();
        self.answers.read_line(&mut answer).map_err(|e| format!("unshare: {e}"))?;
        let code = answer.trim().parse().map_err(|e| format!("keepalived's exit status, {answer:?}: {e}"))?;
        let said = fs::read(&self.said).map_err(|e| e.to_string())?;
        Ok((code, String::from_utf8_lossy(&said).into_owned()))
    }
}

impl Drop for Judge {
    fn drop(&mut self) {
        drop(self.shell.stdin.take());
        let _ = self.shell.wait();
    }
}

/// What was found, by kind: the messages without what differs from place to place.
#[derive(Default)]
struct Found {
    files: usize,
    /// keepalived goes on, lvsd refuses.
    refused: BTreeMap<String, Vec<String>>,
    /// keepalived reports, lvsd says nothing.
    unsaid: BTreeMap<String, Vec<String>>,
    /// One fault, several errors.
    several: BTreeMap<String, Vec<String>>,
}

impl Found {
    fn judge(&mut self, folder: &Path, keepalived: &mut Judge, what: &str, files: &Files) -> Verdict {
        self.files += 1;
        let path = write(folder, "d1", files)?;
        let mut command = Command::new(lvsd_binary());
        command.args(["check", "--offline", "--json", "--config-id", HERE]).arg(&path);
        let checked = command.output().map_err(|e| format!("lvsd check: {e}"))?;
        let report: serde_json::Value = serde_json::from_slice(&checked.stdout)
            .map_err(|e| format!("{what}: lvsd check: {e}: {checked:?}"))?;
        let said = |class: &str| -> Vec<String> {
            let all = report["diagnostics"].as_array().into_iter().flatten();
            let all = all.filter(|d| d["class"] == class);
            all.map(|d| {
                let at = format!("{}:{}", d["line"], d["column"]);
                format!("{at} {}", d["message"].as_str().unwrap_or_default())
            })
            .collect()
        };
        let (errors, warnings) = (said("error"), said("warning"));
        let (code, theirs) = keepalived.judge(&path)?;
        let goes_on = matches!(code, 0 | 5);
        let example = |lines: &[String]| {
            format!("{what}: {} | {}", lines.join(" ; "), theirs.lines().next().unwrap_or_default())
        };
        if goes_on && let Some(first) = errors.first() {
            self.refused.entry(kind(first)).or_default().push(example(&errors));
        }
        if !theirs.is_empty() && errors.is_empty() && warnings.is_empty() {
            let first = theirs.lines().next().unwrap_or_default();
            self.unsaid.entry(kind(first)).or_default().push(example(&[]));
        }
        if errors.len() > 1 {
            self.several
                .entry(errors.iter().map(|e| kind(e)).collect::<Vec<_>>().join(" ; "))
                .or_default()
                .push(example(&errors));
        }
        Ok(())
    }

    fn told(&self, folder: &Path) -> Verdict {
        let mut text = String::new();
        for (title, kinds) in
            [("REFUSED", &self.refused), ("UNSAID", &self.unsaid), ("SEVERAL", &self.several)]
        {
            for (kind, examples) in kinds {
                text.push_str(&format!(
                    "{title} {} x {kind}\n    {}\n",
                    examples.len(),
                    examples.iter().take(2).cloned().collect::<Vec<_>>().join("\n    ")
                ));
            }
        }
        let path = folder.join("found.txt");
        fs::write(&path, &text).map_err(|e| format!("{}: {e}", path.display()))?;
        println!("{} files", self.files);
        let known = |kinds: &BTreeMap<String, Vec<String>>, known: &[&str]| {
            kinds.keys().all(|kind| known.iter().any(|part| kind.contains(part)))
        };
        claim(known(&self.refused, REFUSED) && known(&self.several, SEVERAL), || text.clone())
    }
}

/// A message without its place, names and numbers.
fn kind(message: &str) -> String {
    let mut text = String::new();
    let mut quoted = false;
    for c in message.chars() {
        if c == '`' || c == '\'' {
            quoted = !quoted;
            text.push(c);
        } else if !quoted && !c.is_ascii_digit() {
            text.push(c);
        }
    }
    text
}

/// A text with one fault, and what it is.
fn fault(rng: &mut fastrand::Rng, plain: &str) -> (String, String) {
    let mut lines: Vec<String> = plain.lines().map(str::to_owned).collect();
    let at = rng.usize(0..lines.len());
    let line = lines[at].clone();
    let words: Vec<&str> = line.split_whitespace().collect();
    let word = rng.usize(0..words.len());
    let with = |new: Vec<String>| new.join(" ");
    let mut changed: Vec<String> = words.iter().map(|w| (*w).to_owned()).collect();
    let what = match rng.u8(0..8) {
        0 => {
            changed.remove(word);
            lines[at] = with(changed);
            "a word less"
        }
        1 => {
            changed.insert(word, words[word].to_owned());
            lines[at] = with(changed);
            "a word twice"
        }
        2 | 3 => {
            let place = rng.usize(0..words[word].len());
            if words[word].is_char_boundary(place) {
                changed[word].remove(place);
            }
            lines[at] = with(changed);
            "a letter less"
        }
        4 => {
            changed[word] = ["0", "-1", "99999999999", "abc", "10.1.2", "3x", "", "\"two words\""]
                [rng.usize(0..8)]
            .to_owned();
            lines[at] = with(changed);
            "another word"
        }
        5 => {
            lines.remove(at);
            "a line less"
        }
        6 => {
            lines.insert(at, line.clone());
            "a line twice"
        }
        _ => {
            let braces: Vec<usize> =
                lines.iter().enumerate().filter(|(_, l)| l.contains(['{', '}'])).map(|(n, _)| n).collect();
            let at = braces[rng.usize(0..braces.len())];
            if rng.bool() {
                lines[at] = lines[at].replace(['{', '}'], "");
                "a brace less"
            } else {
                let brace = if lines[at].contains('{') { "{" } else { "}" };
                lines[at].push_str(&format!("\n{brace}"));
                "a brace more"
            }
        }
    };
    (format!("{what} in line {}: {}", at + 1, line.trim()), lines.join("\n") + "\n")
}
